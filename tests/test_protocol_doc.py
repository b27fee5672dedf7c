"""docs/tunnel-protocol.md and the code say the same."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lapdev.model import EnvironmentId, ExposureId, InterceptId
from lapdev.wire.control import (
    MAX_LOG_LINES,
    ExposureTarget,
    InterceptTarget,
    LogsTarget,
    ServiceTarget,
    decode_message,
    decode_target,
    encode_target,
)
from lapdev.wire.mux.frames import (
    FURTHER,
    LAYOUT,
    MAX_DATA_BYTES,
    MAX_DATAGRAM_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_MISSING_RANGES,
    RESUME_ENTRIES,
    CloseCode,
    FrameType,
    decode,
    encode,
)
from lapdev.wire.mux.handshake import decode_hello, decode_welcome
from tests.support.needs import PROJECT

TEXT = (PROJECT / "docs" / "tunnel-protocol.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"(?ms)^```frame ([A-Z]+) ([0-9a-f ]+)\n(.*?)\n```$", TEXT)


def value_of(text: str) -> Any:
    """The example as written: JSON, with b"…" for bytes."""
    value = json.loads(re.sub(r'b"([^"]*)"', r'{"__bytes__": "\1"}', text))
    return _with_bytes(value)


def _with_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if isinstance(value, dict) and "__bytes__" in value:
        return value["__bytes__"].encode()
    return value


@pytest.mark.parametrize(("name", "hexadecimal", "text"), EXAMPLES)
def test_every_example_decodes_to_what_the_text_says_and_encodes_to_its_bytes(
    name: str, hexadecimal: str, text: str
) -> None:
    wire, value = bytes.fromhex(hexadecimal.replace(" ", "")), value_of(text)
    assert decode(wire) == [value]
    assert FrameType[name] == value[0]
    assert encode(FrameType[name], *value[1:]) == wire


def test_every_frame_type_has_an_example() -> None:
    assert {name for name, _, _ in EXAMPLES} == {kind.name for kind in FrameType}


def test_the_table_of_frames_is_the_codes_layout() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z]+) \| ([a-z_, ]+) \|$", TEXT, re.MULTILINE)
    written = {(int(number), name): fields.split(", ") for number, name, fields in rows}
    assert written == {
        (int(kind), kind.name): [field for field, _ in LAYOUT[kind]] for kind in FrameType
    }


def test_fields_that_may_follow_are_documented_after_the_others() -> None:
    for kind, further in FURTHER.items():
        fields = [FrameType(kind).name, *(name for name, _ in (*LAYOUT[kind], *further))]
        assert f"**{fields[0]}** `[{int(kind)}, {', '.join(fields[1:])}]`" in TEXT


def test_the_handshakes_examples_are_valid_and_their_keys_are_documented() -> None:
    for name, hexadecimal, text in EXAMPLES:
        wire = bytes.fromhex(hexadecimal.replace(" ", ""))
        if name == "HELLO":
            decode_hello(wire)
        elif name == "WELCOME":
            decode_welcome(wire)
        else:
            continue
        section = TEXT[TEXT.index(f"**{name}** (") : TEXT.index(f"```frame {name}")]
        keys = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        assert keys == set(value_of(text)[1])


def test_the_examples_of_open_and_call_are_real_messages() -> None:
    values = {name: value_of(text) for name, _, text in EXAMPLES}
    decode_target(values["OPEN"][2])
    decode_message(values["CALL"][2], values["CALL"][3])
    answer = values["REPLY"][3]
    decode_message(answer["name"], answer["body"])


def test_every_kind_of_target_is_documented_with_its_keys() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`.*?) \| ", TEXT, re.MULTILINE)
    written = {kind: set(re.findall(r"`(\w+)`", keys)) for kind, keys in rows}
    for example in (
        ServiceTarget("ns", "api", 80, "udp"),
        InterceptTarget(InterceptId("i1"), 80),
        LogsTarget(EnvironmentId("e1"), "api", "", 100, follow=True),
        ExposureTarget(ExposureId("x1")),
    ):
        target = encode_target(example)
        assert written[target.pop("kind")] == set(target)
    assert f"{MAX_LOG_LINES:,}" in TEXT


def test_every_close_code_and_limit_is_documented() -> None:
    for code in CloseCode:
        assert re.search(rf"^\| {int(code)} \| ", TEXT, re.MULTILINE), code
    for number in (
        MAX_MESSAGE_BYTES,
        MAX_DATAGRAM_BYTES,
        MAX_DATA_BYTES,
        RESUME_ENTRIES,
        MAX_MISSING_RANGES,
    ):
        assert f"{number:,}" in TEXT
