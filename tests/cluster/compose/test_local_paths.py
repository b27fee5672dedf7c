"""Which texts of a document are paths of this machine."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.compose.documents import Document, Override
from lapdev.cluster.compose.local_paths import absolute_paths, is_local_path


def absolute(value: Any) -> Any:
    return absolute_paths(Document(value, {}), lambda path: f"/abs/{path}").value


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"build": {"context": "x"}}, {"build": {"context": "/abs/x"}}),
        ({"build": {"context": "https://git/x"}}, {"build": {"context": "https://git/x"}}),
        ({"build": {"target": "x"}}, {"build": {"target": "x"}}),
        ({"env_file": ["a", {"path": "b"}]}, {"env_file": ["/abs/a", {"path": "/abs/b"}]}),
        ({"volumes": ["./a:/a:ro"]}, {"volumes": ["/abs/./a:/a:ro"]}),
        ({"volumes": ["a:/a", "/a", 5]}, {"volumes": ["a:/a", "/a", 5]}),
        ({"volumes": Override(["./a:/a"])}, {"volumes": Override(["/abs/./a:/a"])}),
        (
            {"volumes": [{"type": "bind", "source": "a"}, {"type": "volume", "source": "a"}]},
            {"volumes": [{"type": "bind", "source": "/abs/a"}, {"type": "volume", "source": "a"}]},
        ),
        ({"volumes": "x", "build": 1, "env_file": 2}, {"volumes": "x", "build": 1, "env_file": 2}),
    ],
)
def test_paths_of_services(body: dict[str, Any], expected: dict[str, Any]) -> None:
    assert absolute({"services": {"web": body}}) == {"services": {"web": expected}}


def test_paths_of_configs_secrets_and_volumes() -> None:
    bound = {"driver_opts": {"type": "none", "o": "bind,ro", "device": "d"}}
    found = absolute(
        {
            "configs": {"a": {"file": "a"}, "b": None},
            "secrets": {"a": {"environment": "a"}},
            "volumes": {"a": bound, "b": None, "c": {"driver_opts": {"device": "d"}}},
        }
    )
    assert found["configs"] == {"a": {"file": "/abs/a"}, "b": None}
    assert found["secrets"] == {"a": {"environment": "a"}}
    assert found["volumes"]["a"]["driver_opts"]["device"] == "/abs/d"
    assert found["volumes"]["c"]["driver_opts"]["device"] == "d"


def test_what_is_no_project_stays_as_it_is() -> None:
    for value in ([], {"services": {"web": 1}, "volumes": 5}):
        assert absolute(value) == value


def test_a_name_is_no_path() -> None:
    assert [is_local_path(text) for text in ("./a", "/a", "~/a", ".", "a", "a/b")] == (
        [True, True, True, True, False, False]
    )
