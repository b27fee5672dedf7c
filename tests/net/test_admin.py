from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lapdev.net.admin import AdminServer, Metric, counter, exposition, gauge


@asynccontextmanager
async def serving(
    address: str = "127.0.0.1:0", ready: tuple[bool, str] = (True, "")
) -> AsyncIterator[AdminServer]:
    requests = Metric("lapdev_requests_total", "counter", "Requests.", [({"status": "200"}, 7)])
    server = AdminServer(address, lambda: [requests], lambda: ready)
    await server.start()
    try:
        yield server
    finally:
        await server.aclose()


async def get(server: AdminServer, target: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, head and body of one request."""
    if server.address.startswith("unix:"):
        reader, writer = await asyncio.open_unix_connection(server.address[5:])
    else:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    data = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = data.partition("\r\n\r\n")
    return int(head.split()[1]), head.lower(), body


async def test_livez_answers_as_long_as_the_loop_runs() -> None:
    async with serving(ready=(False, "no tunnel")) as server:
        status, _, body = await get(server, "/livez")
    assert (status, body) == (200, "ok\n")


@pytest.mark.parametrize(
    ("ready", "expected"),
    [((True, ""), (200, "ok\n")), ((False, "no tunnel"), (503, "no tunnel\n"))],
)
async def test_readyz_says_why_not(ready: tuple[bool, str], expected: tuple[int, str]) -> None:
    async with serving(ready=ready) as server:
        status, _, body = await get(server, "/readyz?verbose")
    assert (status, body) == expected


async def test_metrics_are_what_a_scraper_can_read() -> None:
    async with serving() as server:
        status, head, body = await get(server, "/metrics")
    assert status == 200
    assert "text/plain; version=0.0.4" in head
    families = {family.name: family for family in text_string_to_metric_families(body)}
    sample = families["lapdev_requests"].samples[0]
    assert (sample.labels, sample.value) == ({"status": "200"}, 7)
    assert families["process_resident_memory_bytes"].samples[0].value > 1_000_000


async def test_head_has_the_length_and_no_body() -> None:
    async with serving() as server:
        status, head, body = await get(server, "/livez", "HEAD")
    assert (status, body) == (200, "")
    assert "content-length: 3" in head


async def test_other_paths_do_not_exist() -> None:
    async with serving() as server:
        for target in ("/", "/livez/", "/metrics/x", "/debug"):
            assert (await get(server, target))[0] == 404


async def test_other_methods_are_not_allowed() -> None:
    async with serving() as server:
        status, head, _ = await get(server, "/livez", "DELETE")
    assert status == 405
    assert "allow: get, head" in head


async def test_a_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    async with serving(f"unix:{path}") as server:
        assert path.stat().st_mode & 0o777 == 0o600
        assert (await get(server, "/livez"))[0] == 200
    assert not path.exists()


async def test_an_empty_address_serves_nothing() -> None:
    async with serving("") as server:
        assert server.address == ""


def test_label_values_and_help_texts_survive_the_format() -> None:
    nasty = 'a"b\\c\nd'
    metrics = [
        Metric("lapdev_x", "gauge", "help \\ with\nlines", [({"who": nasty, "b": "é"}, 1.5)]),
        gauge("lapdev_inf", "Infinite.", float("inf")),
        gauge("lapdev_nan", "Nothing.", float("nan")),
        counter("lapdev_big_total", "Big.", 2**60),
    ]
    families = {f.name: f for f in text_string_to_metric_families(exposition(metrics).decode())}
    sample = families["lapdev_x"].samples[0]
    assert (sample.labels, sample.value) == ({"who": nasty, "b": "é"}, 1.5)
    assert families["lapdev_x"].documentation == "help \\ with\nlines"
    assert families["lapdev_inf"].samples[0].value == float("inf")
    assert families["lapdev_nan"].samples[0].value != families["lapdev_nan"].samples[0].value
    assert families["lapdev_big"].samples[0].value == 2**60


async def test_metrics_are_collected_at_the_scrape_and_not_before() -> None:
    calls: list[int] = []

    def collect() -> Iterator[Metric]:
        calls.append(1)
        yield gauge("lapdev_calls", "Scrapes.", len(calls))

    server = AdminServer("127.0.0.1:0", collect, lambda: (True, ""))
    await server.start()
    assert calls == []
    _, _, body = await get(server, "/metrics")
    await server.aclose()
    assert "lapdev_calls 1" in body
