"""API tokens."""

from __future__ import annotations

from lapdev.store import Store

ONE, TWO = "1" * 64, "2" * 64


async def test_only_a_known_token_is_valid(store: Store) -> None:
    await store.ensure_token(ONE, "bootstrap")
    await store.ensure_token(ONE, "bootstrap")
    assert await store.token_valid(ONE)
    assert not await store.token_valid(TWO)
    assert not await store.token_valid("")


async def test_a_new_token_under_a_name_ends_the_old_one(store: Store) -> None:
    await store.ensure_token(ONE, "bootstrap")
    await store.ensure_token(TWO, "bootstrap")
    assert await store.token_valid(TWO)
    assert not await store.token_valid(ONE)


async def test_tokens_of_other_names_stay(store: Store) -> None:
    await store.ensure_token(ONE, "bootstrap")
    await store.ensure_token(TWO, "ci")
    assert await store.token_valid(ONE)
    assert await store.token_valid(TWO)


async def test_one_token_under_two_names_counts_under_the_last(store: Store) -> None:
    await store.ensure_token(ONE, "bootstrap")
    await store.ensure_token(ONE, "ci")
    await store.ensure_token(TWO, "bootstrap")
    assert await store.token_valid(ONE)
