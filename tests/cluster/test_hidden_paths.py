"""Where this user's credentials are."""

from __future__ import annotations

from lapdev.cluster.hidden_paths import SOCKETS, hidden_paths, lapdevs_own


def test_usual_places_are_hidden() -> None:
    found = hidden_paths({"HOME": "/home/me/"}, 1000)
    for name in (
        ".ssh",
        ".aws",
        ".gnupg",
        ".kube",
        ".docker",
        ".netrc",
        ".azure",
        ".config/gcloud",
        ".config/gh",
        ".config/lapdev",
        ".local/share/lapdev",
        ".local/share/keyrings",
        ".local/state/lapdev",
    ):
        assert f"/home/me/{name}" in found
    assert "/run/user/1000" in found
    assert {*SOCKETS} <= {*found}


def test_places_that_were_moved_are_hidden_and_the_usual_ones_too() -> None:
    env = {
        "HOME": "/home/me",
        "XDG_CONFIG_HOME": "/etc/me",
        "XDG_DATA_HOME": "/home/me/.local/share",
        "XDG_RUNTIME_DIR": "/run/me",
    }
    found = hidden_paths(env, 1000)
    assert {"/etc/me/gh", "/home/me/.config/gh", "/run/me", "/run/user/1000"} <= {*found}
    assert found.count("/home/me/.local/share/lapdev") == 1


def test_without_a_home_nothing_relative_is_hidden() -> None:
    assert all(path.startswith("/") for path in hidden_paths({"XDG_DATA_HOME": "rel"}, 0))
    assert lapdevs_own({}) == ()


def test_lapdevs_own_places_are_among_them() -> None:
    assert lapdevs_own({"HOME": "/h"}) == (
        "/h/.config/lapdev",
        "/h/.local/share/lapdev",
        "/h/.local/state/lapdev",
    )
