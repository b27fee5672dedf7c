"""The error tree: every failure has its facts, and its default message."""

from __future__ import annotations

import pytest

from lapdev import errors
from lapdev.errors import LapdevError, RemoteProtocolError


def tree(cls: type[LapdevError] = LapdevError) -> list[type[LapdevError]]:
    """The class and everything below it that the module itself defines."""
    below = [sub for child in cls.__subclasses__() for sub in tree(child)]
    return [cls, *below] if cls.__module__ == errors.__name__ else below


@pytest.mark.parametrize("cls", tree())
def test_every_error_has_a_status_a_source_and_a_word_of_its_own(cls: type[LapdevError]) -> None:
    assert 400 <= cls.status < 600
    assert cls.source in ("downstream", "upstream", "internal")
    assert isinstance(cls.retryable, bool)
    assert cls.cause.replace("_", "").isalpha()
    assert cls.cause.islower()


def test_no_two_errors_share_a_word() -> None:
    words = [cls.cause for cls in tree() if "cause" in vars(cls)]
    assert len(words) == len(set(words))


def test_the_page_lists_every_error() -> None:
    assert errors.__doc__
    for cls in tree():
        assert cls.__name__ in errors.__doc__, cls


@pytest.mark.parametrize("cls", tree())
def test_the_docstring_is_the_default_message(cls: type[LapdevError]) -> None:
    error = cls()
    assert error.detail == str(error)
    assert cls.__doc__
    assert error.detail == cls.__doc__.partition("\n")[0]
    assert error.detail.endswith(".")


def test_an_error_carries_detail_hint_and_hop() -> None:
    error = errors.ConnectFailed("nothing listens on port 80", hint="start it", hop="sidecar")
    assert str(error) == error.detail == "nothing listens on port 80"
    assert (error.hint, error.hop) == ("start it", "sidecar")
    assert error.retryable


def test_a_remote_protocol_error_carries_the_status_it_is_answered_with() -> None:
    assert RemoteProtocolError("x").answer_status == 400
    error = RemoteProtocolError("x", status=431, hint="shorter", hop="edge")
    assert (error.answer_status, error.hint, error.hop) == (431, "shorter", "edge")
