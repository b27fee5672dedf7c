"""What may be stored of an environment is what one control message can carry to its manager.

A message that is too large could not be sent, and one that is nested too deeply would end the
tunnel at its other end: both are the sender's mistake, and told before anything is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack

from lapdev.cloud.json_body import depth_exceeds
from lapdev.errors import ConfigError

MAX_OBJECTS_BYTES = 983_040
"""Packed. A message has 1 MiB; the rest is for names and grants of intercepts."""

MAX_OBJECT_DEPTH = 24
"""A message has 32 levels, and an object in it begins at the fourth."""


def check_sendable(objects: Sequence[dict[str, Any]]) -> None:
    """The objects fit into one message.

    Raises:
        ConfigError: names the object that is nested too deeply, or says how large they are.
    """
    for item in objects:
        if depth_exceeds(item, MAX_OBJECT_DEPTH):
            raise ConfigError(
                f"{item.get('kind')}/{item['metadata']['name']}: is nested deeper than "
                f"{MAX_OBJECT_DEPTH} levels",
                hint="no Kubernetes object of a kind that runs here needs that: leave it out",
            )
    size = len(msgpack.packb(list(objects), use_bin_type=True))
    if size > MAX_OBJECTS_BYTES:
        raise ConfigError(
            f"the objects are {size} bytes together; an environment has at most "
            f"{MAX_OBJECTS_BYTES}",
            hint="keep large files out of ConfigMaps and Secrets, or make two environments",
        )
