"""Pod tokens."""

from __future__ import annotations

import dataclasses

from lapdev.manager.credentials import PodTokens
from lapdev.model import EnvironmentId, SidecarIdentity

POD = SidecarIdentity("shop", EnvironmentId("e1"), "shop", "api", pod="api-1")
OTHER = dataclasses.replace(POD, pod="api-2")


def test_a_token_proves_the_pod_it_was_issued_to() -> None:
    tokens = PodTokens()
    mine, theirs = tokens.issue(POD), tokens.issue(OTHER)
    assert tokens.holder(mine) == POD
    assert tokens.holder(theirs) == OTHER
    assert mine != tokens.issue(POD)
    assert len(mine) >= 43, "32 random bytes, urlsafe"


def test_an_unknown_token_proves_nothing() -> None:
    tokens = PodTokens()
    tokens.issue(POD)
    assert tokens.holder("") is None
    assert tokens.holder("guess") is None
    assert tokens.holder("\u20ac") is None


def test_revoking_withdraws_every_token_of_the_pod_and_no_other() -> None:
    tokens = PodTokens()
    revoked: list[SidecarIdentity] = []
    tokens.on_revoked = revoked.append
    first, second, other = tokens.issue(POD), tokens.issue(POD), tokens.issue(OTHER)
    tokens.revoke(POD)
    assert [tokens.holder(token) for token in (first, second, other)] == [None, None, OTHER]
    assert revoked == [POD]
    tokens.revoke(POD)


def test_tokens_are_kept_as_hashes_only() -> None:
    tokens = PodTokens()
    token = tokens.issue(POD)
    assert token not in repr(vars(tokens))
    assert token.encode() not in repr(vars(tokens)).encode()
