"""Names as the kernel's and libc's resolvers ask for them, and what nobody should ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.asyncquery
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lapdev.cluster.name_server import CONNECTIONS, Answer, NameServer, reply
from lapdev.errors import ClusterError
from lapdev.net.tasks import Tasks
from tests.cluster.sandboxes import ground, run, sh
from tests.support.in_outer import in_outer

NAMES = {
    "api.shop.svc.cluster.local": Answer(("198.18.2.1",)),
    "db.shop.svc.cluster.local": Answer(("198.18.0.2", "198.18.0.3")),
    "idle.shop.svc.cluster.local": Answer(),
    "far.shop.svc.cluster.local": Answer(alias="elsewhere.example"),
    "near.shop.svc.cluster.local": Answer(alias="API.shop.svc.cluster.local."),
    "loop.shop.svc.cluster.local": Answer(alias="loop.shop.svc.cluster.local"),
    "many.shop.svc.cluster.local": Answer(tuple(f"198.18.1.{n}" for n in range(200))),
}


def ask(name: str, kind: str = "A", *, udp: bool = True) -> dns.message.Message:
    query = dns.message.make_query(name, kind)
    answer = dns.message.from_wire(reply(query.to_wire(), NAMES.get, udp=udp))
    assert query.is_response(answer)
    assert answer.flags & dns.flags.AA
    return answer


def found(answer: dns.message.Message) -> list[str]:
    # Addresses come in any order: clients take the first.
    return [text for rrset in answer.answer for text in sorted(item.to_text() for item in rrset)]


@pytest.mark.parametrize(
    ("name", "kind", "code", "records"),
    [
        ("api.shop.svc.cluster.local", "A", "NOERROR", ["198.18.2.1"]),
        ("API.Shop.svc.cluster.local", "A", "NOERROR", ["198.18.2.1"]),
        ("api.shop.svc.cluster.local", "ANY", "NOERROR", ["198.18.2.1"]),
        ("db.shop.svc.cluster.local", "A", "NOERROR", ["198.18.0.2", "198.18.0.3"]),
        ("api.shop.svc.cluster.local", "AAAA", "NOERROR", []),
        ("api.shop.svc.cluster.local", "SRV", "NOERROR", []),
        ("idle.shop.svc.cluster.local", "A", "NOERROR", []),
        ("far.shop.svc.cluster.local", "A", "NOERROR", ["elsewhere.example."]),
        ("far.shop.svc.cluster.local", "CNAME", "NOERROR", ["elsewhere.example."]),
        (
            "near.shop.svc.cluster.local",
            "A",
            "NOERROR",
            ["API.shop.svc.cluster.local.", "198.18.2.1"],
        ),
        ("near.shop.svc.cluster.local", "CNAME", "NOERROR", ["API.shop.svc.cluster.local."]),
        ("nowhere.example", "A", "NXDOMAIN", []),
        ("nowhere.example", "AAAA", "NXDOMAIN", []),
        (".", "NS", "NXDOMAIN", []),
    ],
)
def test_a_name_has_its_answer(name: str, kind: str, code: str, records: list[str]) -> None:
    answer = ask(name, kind)
    assert dns.rcode.to_text(answer.rcode()) == code
    assert found(answer) == records


def test_an_alias_of_itself_is_not_followed_for_ever() -> None:
    assert ask("loop.shop.svc.cluster.local").rcode() == dns.rcode.NOERROR


def test_what_does_not_fit_a_datagram_is_asked_for_again_by_tcp() -> None:
    short = ask("many.shop.svc.cluster.local")
    assert short.flags & dns.flags.TC
    assert found(short) == []
    whole = ask("many.shop.svc.cluster.local", udp=False)
    assert not whole.flags & dns.flags.TC
    assert len(found(whole)) == 200


def test_a_client_that_takes_larger_datagrams_gets_them() -> None:
    query = dns.message.make_query("many.shop.svc.cluster.local", "A", payload=4096)
    answer = dns.message.from_wire(reply(query.to_wire(), NAMES.get, udp=True))
    assert len(found(answer)) == 200


def test_other_classes_and_operations_are_refused() -> None:
    chaos = dns.message.make_query("version.bind", "TXT", "CH")
    assert dns.message.from_wire(reply(chaos.to_wire(), NAMES.get, udp=True)).rcode() == (
        dns.rcode.REFUSED
    )
    update = dns.update.UpdateMessage("cluster.local")
    update.add("api", 5, "A", "192.0.2.1")
    answer = reply(update.to_wire(), NAMES.get, udp=True)
    assert dns.message.from_wire(answer).rcode() == dns.rcode.NOTIMP


def test_an_answer_is_not_answered() -> None:
    answer = dns.message.make_response(dns.message.make_query("a.example", "A"))
    assert reply(answer.to_wire(), NAMES.get, udp=True) == b""


def test_half_a_question_is_a_format_error_and_less_is_nothing() -> None:
    query = dns.message.make_query("api.shop.svc.cluster.local", "A").to_wire()
    answer = dns.message.from_wire(reply(query[:-3], NAMES.get, udp=True))
    assert answer.rcode() == dns.rcode.FORMERR
    assert answer.id == int.from_bytes(query[:2], "big")
    assert reply(query[:11], NAMES.get, udp=True) == b""


def test_a_resolver_that_fails_is_a_server_failure() -> None:
    def broken(name: str) -> Answer | None:
        raise RuntimeError(name)

    query = dns.message.make_query("api.shop.svc.cluster.local", "A")
    answer = dns.message.from_wire(reply(query.to_wire(), broken, udp=True))
    assert answer.rcode() == dns.rcode.SERVFAIL


QUERY = dns.message.make_query("api.shop.svc.cluster.local", "A", use_edns=True).to_wire()


@given(st.binary(max_size=80), st.integers(0, len(QUERY)), st.booleans())
def test_any_bytes_have_an_answer_or_none(noise: bytes, kept: int, udp: bool) -> None:
    for query in (noise, QUERY[:kept] + noise, QUERY[:2] + noise + QUERY[2:]):
        answer = reply(query, NAMES.get, udp=udp)
        assert not answer or answer[:2] == query[:2]


@asynccontextmanager
async def serving() -> AsyncIterator[NameServer]:
    server = NameServer("127.0.0.1", "", NAMES.get, port=0)
    await server.open()
    try:
        yield server
    finally:
        await server.aclose()


async def test_it_answers_on_both_transports() -> None:
    query = dns.message.make_query("api.shop.svc.cluster.local", "A")
    async with serving() as server:
        for ask_by in (dns.asyncquery.udp, dns.asyncquery.tcp):
            answer = await ask_by(query, "127.0.0.1", port=server.port, timeout=10)
            assert found(answer) == ["198.18.2.1"]


async def test_a_connection_carries_many_questions_in_any_pieces() -> None:
    async with serving() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        framed = len(QUERY).to_bytes(2, "big") + QUERY
        for part in (framed + framed[:1], framed[1:20], framed[20:]):
            writer.write(part)
            await writer.drain()
        for _ in range(2):
            size = int.from_bytes(await reader.readexactly(2), "big")
            assert found(dns.message.from_wire(await reader.readexactly(size))) == ["198.18.2.1"]
        writer.close()
        await writer.wait_closed()


async def test_closing_ends_connections_and_there_is_a_limit_to_them() -> None:
    async with serving() as server:
        streams = [
            await asyncio.open_connection("127.0.0.1", server.port) for _ in range(CONNECTIONS + 1)
        ]
        async with Tasks() as tasks:
            reading = [tasks.spawn(reader.read(), "client") for reader, _ in streams]
            refused, kept = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            assert len(refused) == 1
            await server.aclose()
            await asyncio.wait(kept)
        for _, writer in streams:
            writer.close()


async def test_an_address_that_is_not_ours_is_a_cluster_error() -> None:
    with pytest.raises(ClusterError, match=r"pods cannot resolve names at 192.0.2.1:53"):
        await NameServer("192.0.2.1", "", NAMES.get).open()


@in_outer
async def test_pods_resolve_with_what_their_libc_has(folder: Path) -> None:
    async with ground(folder) as place:
        server = NameServer(place.subnet.gateway, place.bridge, NAMES.get)
        await server.open()
        pod = place.make()
        await pod.start()
        for name in ("api", "api.shop", "api.shop.svc", "api.shop.svc.cluster.local", "near"):
            assert (await sh(pod, f"getent ahostsv4 {name}")).split()[0] == "198.18.2.1", name
        assert len((await sh(pod, "getent ahostsv4 many | grep STREAM")).splitlines()) == 200
        for name in ("idle", "far", "nowhere.example", "api.other"):
            assert await run(pod, "getent", "hosts", name) == (2, ""), name
        await pod.kill()
        await server.aclose()
