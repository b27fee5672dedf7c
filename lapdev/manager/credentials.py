"""Pod tokens: how a sidecar proves which pod it stands in. Held in memory, hashed, never logged."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import sha256

from lapdev.model import SidecarIdentity

TOKEN_BYTES = 32


class PodTokens:
    """The tokens of the pods that run now. Meets `cluster.driver.PodCredentials`."""

    def __init__(self) -> None:
        self._holders: dict[bytes, SidecarIdentity] = {}
        self._digests: dict[SidecarIdentity, list[bytes]] = {}
        self.on_revoked: Callable[[SidecarIdentity], None] | None = None

    def issue(self, identity: SidecarIdentity) -> str:
        """A fresh token for one pod. An earlier one of the same pod stays valid until `revoke`."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        digest = _digest(token)
        self._holders[digest] = identity
        self._digests.setdefault(identity, []).append(digest)
        return token

    def revoke(self, identity: SidecarIdentity) -> None:
        """No token of the pod is valid any more."""
        for digest in self._digests.pop(identity, ()):
            del self._holders[digest]
        if self.on_revoked is not None:
            self.on_revoked(identity)

    def holder(self, token: str) -> SidecarIdentity | None:
        """The pod a token was issued to, or None. Looked up by hash: its timing tells nothing."""
        return self._holders.get(_digest(token))


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
