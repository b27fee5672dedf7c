"""What pods see empty, although they run as the machine's user: credentials, and other ways out.

Pods run programs of this user, so by file permissions they could read all that the user can. What
is listed here is covered in every pod. It is care, not a promise: nobody knows all the places where
programs keep tokens, and what a manifest mounts by hostPath is there.
"""

from __future__ import annotations

from collections.abc import Mapping

_IN_HOME = (
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".netrc",
    ".git-credentials",
    ".pypirc",
    ".vault-token",
    ".password-store",
)
_IN_CONFIG = ("gcloud", "gh", "hub", "glab-cli", "doctl", "op", "lapdev")
_IN_DATA = ("keyrings", "kwalletd", "lapdev")
_IN_STATE = ("lapdev",)

SOCKETS = (
    "/run/docker.sock",
    "/run/podman",
    "/run/containerd",
    "/run/dbus",
    "/run/nscd",
)
"""Daemons of the machine that would start, or look up, what a pod may not: by these a container
with the machine's network is one call away, and names are not the cluster's."""


def hidden_paths(env: Mapping[str, str], uid: int) -> tuple[str, ...]:
    """Files and folders to cover, whether or not they exist; for a user with that environment."""
    home = env.get("HOME", "").rstrip("/")
    found = list(SOCKETS)
    # Agents of keys and keyrings, the session's D-Bus, rootless containers.
    found += {env.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"} - {""}
    if home:
        found += (f"{home}/{name}" for name in _IN_HOME)
    for variable, default, names in (
        ("XDG_CONFIG_HOME", ".config", _IN_CONFIG),
        ("XDG_DATA_HOME", ".local/share", _IN_DATA),
        ("XDG_STATE_HOME", ".local/state", _IN_STATE),
    ):
        places = {env.get(variable, ""), f"{home}/{default}" if home else ""} - {""}
        found += (f"{place.rstrip('/')}/{name}" for place in sorted(places) for name in names)
    return tuple(path for path in found if path.startswith("/"))


def lapdevs_own(env: Mapping[str, str]) -> tuple[str, ...]:
    """Those that no manifest may ask for either: what lets a program act as this user's lapdev."""
    return tuple(path for path in hidden_paths(env, 0) if path.endswith("/lapdev"))
