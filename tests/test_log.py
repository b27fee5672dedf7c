from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lapdev import log
from lapdev.log import FIELDS, FLUSH_BYTES, FLUSH_LINES, AccessLine, AccessLog
from tests.support.needs import PROJECT


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    target = io.StringIO()
    log.configure("cloud", "info", target)
    yield target
    log.configure("test")


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json(stream: io.StringIO) -> None:
    log.get_logger().info("tunnel_opened", tunnel_id="t1", cluster="line\nbreak")
    (event,) = events(stream)
    assert event["time"].endswith("Z")
    del event["time"]
    assert event == {
        "event": "tunnel_opened",
        "level": "info",
        "role": "cloud",
        "tunnel_id": "t1",
        "cluster": "line\nbreak",
    }


def test_less_important_events_are_left_out(stream: io.StringIO) -> None:
    log.get_logger().debug("stream_opened")
    assert stream.getvalue() == ""


def test_a_failure_carries_its_traceback(stream: io.StringIO) -> None:
    try:
        raise ValueError("why")
    except ValueError as exc:
        log.get_logger().error("task_failed", exc_info=exc)
    assert "ValueError: why" in events(stream)[0]["traceback"]


@pytest.mark.parametrize(
    "key", ["authorization", "Set-Cookie", "api_token", "PASSWORD", "client_secret", "cookie"]
)
def test_secret_looking_keys_are_redacted(stream: io.StringIO, key: str) -> None:
    log.get_logger().info("request_refused", **{key: "s3cr3t", "headers": {key: "s3cr3t"}})
    assert "s3cr3t" not in stream.getvalue()
    assert events(stream)[0][key] == "[redacted]"


def test_a_token_file_is_a_path_and_no_secret(stream: io.StringIO) -> None:
    log.get_logger().info("settings_read", token_file="/run/token")
    assert events(stream)[0]["token_file"] == "/run/token"


def test_credentials_in_error_texts_are_redacted(stream: io.StringIO) -> None:
    log.get_logger().info("request_refused", error="bad header: Authorization: Bearer abc.DEF-123=")
    try:
        raise ValueError("sent 'basic dXNlcjpwYXNz'")
    except ValueError as exc:
        log.get_logger().error("task_failed", exc_info=exc)
    assert "abc.DEF" not in stream.getvalue()
    assert "dXNlcjpwYXNz" not in stream.getvalue()


def test_what_libraries_log_arrives_as_an_event(stream: io.StringIO) -> None:
    logging.getLogger("asyncio").error("lost %s", "it")
    logging.getLogger("asyncio").info("chatter")
    (event,) = events(stream)
    assert (event["event"], event["task"], event["error"]) == (
        "library_warned",
        "asyncio",
        "lost it",
    )


def test_a_terminal_gets_readable_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    log.configure("cloud", "info", stream)
    try:
        try:
            raise ValueError("why")
        except ValueError as exc:
            log.get_logger().error("task_failed", task="reader", exc_info=exc)
    finally:
        log.configure("test")
    assert "task_failed" in stream.getvalue()
    assert "ValueError: why" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_a_full_disk_and_a_closed_stream_raise_nothing() -> None:
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115 - its close must fail
    log.configure("cloud", "info", full)
    try:
        log.get_logger().info("tunnel_opened")
        with pytest.raises(OSError, match="No space left"):
            full.close()
        log.get_logger().info("tunnel_opened")
    finally:
        log.configure("test")
    assert full.closed


def test_what_structlog_only_may_use_is_not_imported_and_stays_importable() -> None:
    code = (
        "import sys, lapdev.log; print(*{'rich', 'greenlet'} & set(sys.modules));"
        "import greenlet, rich"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "\n"
    assert "None in sys.modules" not in done.stderr


# The vocabulary


def log_calls(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls like `log.info("event", …)` on something that is a logger by its name."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if node.func.attr in ("debug", "info", "warning", "error", "exception", "bind"):
            receiver = ast.unparse(node.func.value)
            if receiver.endswith(("log", "logger", "get_logger()")):
                yield node


def test_every_event_uses_the_vocabulary() -> None:
    strangers = []
    for path in sorted((PROJECT / "lapdev").rglob("*.py")):
        if "apps" in path.parts:
            continue  # the demo's services log as they please
        for call in log_calls(ast.parse(path.read_text(encoding="utf-8"))):
            place = f"{path.relative_to(PROJECT)}:{call.lineno}"
            name = call.args[0]
            if isinstance(name, ast.Constant) and not str(name.value).replace("_", "").islower():
                strangers.append(f"{place} event {name.value!r}")
            strangers += [
                f"{place} field {keyword.arg}"
                for keyword in call.keywords
                if keyword.arg and keyword.arg not in (*FIELDS, "exc_info")
            ]
    assert not strangers


def test_the_vocabulary_is_documented() -> None:
    text = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{name}`" for name in FIELDS) + "." in text


# The access line


def written(*entries: AccessLine) -> list[dict[str, Any]]:
    chunks: list[bytes] = []
    access = AccessLog(chunks.append, "edge", asyncio.get_running_loop())
    for entry in entries:
        access.line(entry)
    access.flush()
    return [json.loads(line) for line in b"".join(chunks).splitlines()]


async def test_an_exchange_is_one_line() -> None:
    entry = AccessLine(
        method="GET",
        path="/cart",
        status=200,
        host="8080-web-k3v9x0a1b2c3.lapdev.localhost",
        route="web",
        duration_ms=1.239,
        bytes_in=1,
        bytes_out=2,
        conn_id="c1",
        exchange_id="e1",
        environment="shop",
        workload="web",
        error="upstream_closed",
        trace_id="t1",
    )
    (line,) = written(entry)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "exchange_finished",
        "role": "edge",
        "method": "GET",
        "path": "/cart",
        "status": 200,
        "host": "8080-web-k3v9x0a1b2c3.lapdev.localhost",
        "route": "web",
        "duration_ms": 1.24,
        "bytes_in": 1,
        "bytes_out": 2,
        "conn_id": "c1",
        "exchange_id": "e1",
        "environment": "shop",
        "workload": "web",
        "error": "upstream_closed",
        "trace_id": "t1",
    }
    assert set(line) - {"level", "event"} <= set(FIELDS)


async def test_the_query_string_is_never_written() -> None:
    (line,) = written(AccessLine(method="GET", path="/login?token=s3cr3t"))
    assert line["path"] == "/login"


async def test_a_long_path_is_cut() -> None:
    (line,) = written(AccessLine(path="/" + "a" * 8000))
    assert len(line["path"]) == log.PATH_LIMIT + 1


@pytest.mark.parametrize(
    "nasty",
    [
        '"}\n{"level":"info","event":"forged',
        "\r\n\x00\x1b[31m\x7f",
        "back\\slash\\",
        "\u2028\u2029\x85é😀",
        b"\xff\xfe".decode("utf-8", "surrogateescape"),
    ],
)
async def test_a_peer_cannot_forge_or_break_a_line(nasty: str) -> None:
    fields = ("method", "path", "host", "error", "trace_id", "exchange_id")
    (line,) = written(AccessLine(**dict.fromkeys(fields, nasty)))  # type: ignore[arg-type]
    for name in fields:
        assert line[name] == nasty


async def test_the_line_is_ascii_whatever_comes_in() -> None:
    chunks: list[bytes] = []
    access = AccessLog(chunks.append, "edge")
    access.line(AccessLine(path="/é\x1b", host="\u202e"))
    access.flush()
    assert chunks[0].isascii()
    assert b"\x1b" not in chunks[0]
    assert chunks[0].count(b"\n") == 1


@pytest.mark.parametrize(("level", "lines"), [("debug", 1), ("info", 1), ("warning", 0)])
async def test_a_role_that_logs_less_than_info_writes_no_access_lines(
    level: str, lines: int
) -> None:
    chunks: list[bytes] = []
    access = AccessLog(chunks.append, "edge", level=level)
    access.line(AccessLine(path="/"))
    access.flush()
    assert len(chunks) == lines


async def test_lines_are_written_in_batches() -> None:
    chunks: list[bytes] = []
    access = AccessLog(chunks.append, "edge")
    for _ in range(FLUSH_LINES - 1):
        access.line(AccessLine(path="/"))
    assert chunks == []
    access.line(AccessLine(path="/"))
    assert len(chunks) == 1
    assert access.written_lines == FLUSH_LINES


async def test_large_lines_are_written_earlier() -> None:
    chunks: list[bytes] = []
    access = AccessLog(chunks.append, "edge")
    while not chunks:
        access.line(AccessLine(path="/" + "a" * 1000))
    assert FLUSH_BYTES <= len(chunks[0]) < FLUSH_BYTES + 2000


async def test_a_single_line_is_written_by_a_timer() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    access = AccessLog(done.set_result, "edge")
    started = loop.time()
    access.line(AccessLine(path="/"))
    async with asyncio.timeout(5):
        assert b'"path":"/"' in await done
    assert loop.time() - started >= log.FLUSH_INTERVAL - 0.01


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("closed")])
async def test_a_failing_target_never_reaches_the_data_path(error: Exception) -> None:
    def fail(_data: bytes) -> None:
        raise error

    access = AccessLog(fail, "edge")
    for _ in range(FLUSH_LINES):
        access.line(AccessLine(path="/"))
    assert (access.written_lines, access.dropped_lines) == (0, FLUSH_LINES)


def test_standard_error_gets_every_byte() -> None:
    code = "from lapdev.log import stderr_write; stderr_write(b'x' * 200_000)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b"x" * 200_000
