"""A far end's refusal keeps its reason on the way to people."""

from __future__ import annotations

from lapdev.cloud.refusals import told
from lapdev.errors import NotFound, StreamRefused, TunnelClosed, UpstreamClosed


def test_a_reason_we_know_is_an_error_of_its_own() -> None:
    refused = StreamRefused("there is no pod", hint="wait", hop="manager")
    refused.cause = "not_found"
    error = told(refused)
    assert isinstance(error, NotFound)
    assert (error.status, error.detail, error.hint, error.hop) == (
        404,
        "there is no pod",
        "wait",
        "manager",
    )


def test_any_other_reason_is_told_as_it_came() -> None:
    refused = StreamRefused("no")
    refused.cause = "something_new"
    assert told(refused) is refused
    closed = TunnelClosed()
    assert told(closed) is closed


def test_an_error_of_no_name_is_a_lost_app() -> None:
    assert isinstance(told(ConnectionResetError("gone")), UpstreamClosed)
