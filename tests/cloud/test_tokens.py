"""Secrets in files, and tokens derived from a key."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lapdev.cloud.tokens import InterceptTokens, load_or_create_secret, sha256_hex
from lapdev.errors import ConfigError
from lapdev.model import InterceptId


def test_a_hash_is_sha256_in_hex() -> None:
    assert sha256_hex("abc").startswith("ba7816bf")
    assert len(sha256_hex("\udcff")) == 64  # a header may hold any byte


def test_an_intercepts_token_is_the_same_each_time_and_its_own() -> None:
    one, other = InterceptId("a" * 16), InterceptId("b" * 16)
    tokens = InterceptTokens("key")
    assert tokens.token(one) == InterceptTokens("key").token(one)
    assert tokens.token(one) != tokens.token(other)
    assert tokens.token(one) != InterceptTokens("another key").token(one)
    assert len(tokens.token(one)) == 43
    assert one not in tokens.token(one)


def test_a_secret_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token-key"
    secret = load_or_create_secret(path)
    assert len(secret) == 43
    assert load_or_create_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_many_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(load_or_create_secret, [tmp_path / "token-key"] * 32))
    assert len(secrets) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_secret_written_by_hand_may_end_in_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    assert load_or_create_secret(path) == "s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_file_others_may_use_is_refused_without_its_content(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others") as caught:
        load_or_create_secret(path)
    assert "s3cret" not in caught.value.detail + caught.value.hint
    assert "chmod 600" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"is empty|is not text"):
        load_or_create_secret(path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere/token: No such file"):
        load_or_create_secret(tmp_path / "nowhere" / "token")
