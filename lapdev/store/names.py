"""How things are named: ids, namespaces, preview labels, and the rule for names users choose.

Nothing here touches the database; `random_text` is the only source of chance.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from lapdev.errors import ConfigError
from lapdev.model import EnvironmentKind

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

LABEL_OCTETS = 63
"""The longest DNS label (RFC 1035 §2.3.4)."""
ID_LENGTH = 16
SUFFIX_LENGTH = 12
_HASH_LENGTH = 6


def random_text(length: int) -> str:
    """`length` unguessable characters of a-z0-9 (5.17 bits each)."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def derived_text(secret: str, length: int) -> str:
    """`length` characters of a-z0-9 that follow from `secret`, and say nothing about it."""
    number = int.from_bytes(hashlib.sha256(b"lapdev label\0" + secret.encode()).digest())
    text = ""
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        text += _ALPHABET[digit]
    return text


def new_id() -> str:
    """A fresh id: 16 characters, 82 bits."""
    return random_text(ID_LENGTH)


def new_namespace(kind: EnvironmentKind) -> str:
    """A fresh namespace name, unguessable because it is part of host names."""
    return f"lapdev-{kind.value}-{random_text(SUFFIX_LENGTH)}"


def check_name(what: str, name: str) -> str:
    """`name`, when it is a DNS label.

    Raises:
        ConfigError: it is not; `what` ("environment name") says which name is wrong.
    """
    if len(name) <= LABEL_OCTETS and _DNS_LABEL.fullmatch(name):
        return name
    raise ConfigError(
        f"{what} {name!r:.80} is not a DNS label",
        hint="use a-z, 0-9 and '-', at most 63 characters, a letter or digit at both ends",
    )


def preview_label(port: int, service: str, suffix: str) -> str:
    """The host label of a service port's preview URL, at most 63 octets."""
    return f"{port}-{_cut(service, LABEL_OCTETS - len(f'{port}--{suffix}'))}-{suffix}"


def named_label(name: str, suffix: str) -> str:
    """The host label of a preview URL that has a name of its own, at most 63 octets."""
    return f"{_cut(name, LABEL_OCTETS - len(f'-{suffix}'))}-{suffix}"


def _cut(name: str, room: int) -> str:
    """The name, when there is room for it; else it is cut and gets a hash of the whole, so that two
    long names with the same beginning still read differently.
    """
    if len(name) <= room:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: room - _HASH_LENGTH - 1].rstrip('-')}-{digest}"
