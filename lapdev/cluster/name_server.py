"""A DNS server for the pods of one namespace: what the cluster knows by name, and nothing else.

Implements the part of RFC 1035 that a stub resolver needs, over UDP and TCP (RFC 7766), with the
size a client allows by EDNS(0) (RFC 6891). Answers come from a function; there is no zone, no cache
and nobody to forward to: a name that is not known does not exist, at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from lapdev.errors import ClusterError
from lapdev.log import get_logger

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage
    from dns.name import Name
    from dns.rrset import RRset

DNS_PORT = 53
TTL = 5
"""Seconds an answer may be kept: addresses of pods change, those of services do not."""
UDP_BYTES = 512
LARGEST_UDP_BYTES = 4096
ALIAS_DEPTH = 8
CONNECTIONS = 64
IDLE_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name stands for. Neither addresses nor alias: it exists and has no address now."""

    addresses: tuple[str, ...] = ()
    """IPv4."""
    alias: str = ""
    """Another name (CNAME), with or without a final dot; then `addresses` is empty."""


Resolve = Callable[[str], Answer | None]
"""Full name, lower case, without a final dot → what it stands for; None: there is no such name."""


def reply(query: bytes, resolve: Resolve, *, udp: bool) -> bytes:
    """The answer to one message; empty where none is due. Any input is fine."""
    # Slow to import: managers without pods do without.
    import dns.exception
    import dns.flags
    import dns.message
    import dns.opcode
    import dns.rcode

    try:
        asked = dns.message.from_wire(query, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError, NotImplementedError):
        return _format_error(query)
    # An answer to an answer would be answered in turn, forever.
    if asked.flags & dns.flags.QR:
        return b""
    answer = dns.message.make_response(cast("QueryMessage", asked), our_payload=LARGEST_UDP_BYTES)
    answer.flags |= dns.flags.AA
    if asked.opcode() != dns.opcode.QUERY:
        answer.set_rcode(dns.rcode.NOTIMP)
    elif len(asked.question) != 1:
        answer.set_rcode(dns.rcode.FORMERR)
    else:
        try:
            _answer_question(answer, asked.question[0], resolve)
        except Exception:
            # Whoever asks must not wait, and the next question is another one.
            get_logger().exception("name_failed", target=str(asked.question[0].name))
            answer.set_rcode(dns.rcode.SERVFAIL)
    return _to_wire(answer, min(max(asked.payload, UDP_BYTES), LARGEST_UDP_BYTES) if udp else 65535)


def _answer_question(answer: Message, question: RRset, resolve: Resolve) -> None:
    import dns.rcode
    import dns.rdataclass

    if question.rdclass not in (dns.rdataclass.IN, dns.rdataclass.ANY):
        answer.set_rcode(dns.rcode.REFUSED)
        return
    known = _follow(answer, question.name, question.rdtype, resolve)
    if not known and not answer.answer:
        answer.set_rcode(dns.rcode.NXDOMAIN)


def _follow(answer: Message, name: Name, asked: int, resolve: Resolve) -> bool:
    """The answer holds what the name and its aliases stand for. False: no such name here."""
    import dns.name
    import dns.rdatatype
    import dns.rrset

    for _ in range(ALIAS_DEPTH):
        found = resolve(name.to_text(omit_final_dot=True).lower())
        if found is None:
            return False
        if not found.alias:
            if found.addresses and asked in (dns.rdatatype.A, dns.rdatatype.ANY):
                answer.answer.append(dns.rrset.from_text(name, TTL, "IN", "A", *found.addresses))
            return True
        target = dns.name.from_text(found.alias)
        answer.answer.append(dns.rrset.from_text(name, TTL, "IN", "CNAME", target.to_text()))
        if asked == dns.rdatatype.CNAME:
            return True
        name = target
    return True


def _to_wire(answer: Message, size: int) -> bytes:
    """The message, or as much of it as fits, marked as cut short: the client asks again by TCP."""
    import dns.exception
    import dns.flags

    try:
        return answer.to_wire(max_size=size)
    except dns.exception.TooBig:
        answer.answer.clear()
        answer.flags |= dns.flags.TC
        return answer.to_wire(max_size=size)


def _format_error(query: bytes) -> bytes:
    """FORMERR to what at least has a header and is a question; nothing to anything else."""
    if len(query) < 12 or query[2] & 0x80:
        return b""
    # RFC 1035 §4.1.1: the id, QR set with opcode and RD as asked, RCODE 1, four counts of zero.
    return query[:2] + bytes([0x80 | (query[2] & 0x79), 1]) + bytes(8)


def _load() -> None:
    """What `reply` imports is there: a tenth of a second that no question has to wait for."""
    import dns.message
    import dns.rrset  # noqa: F401


class NameServer:
    """Answers at one address, to those behind one interface."""

    def __init__(self, host: str, device: str, resolve: Resolve, port: int = DNS_PORT) -> None:
        self._host = host
        self._device = device
        """Only what enters by this interface is answered; empty: all."""
        self._resolve = resolve
        self._port = port
        self._datagrams: _Datagrams | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[_Client] = set()

    @property
    def port(self) -> int:
        return self._port

    async def open(self) -> None:
        """Raises ClusterError when the address cannot be bound; then nothing is left open."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, _load)
        try:
            stream = self._bound(socket.SOCK_STREAM)
        except OSError as exc:
            raise self._failed(exc) from exc
        self._port = stream.getsockname()[1]
        try:
            datagrams = self._bound(socket.SOCK_DGRAM)
        except OSError as exc:
            stream.close()
            raise self._failed(exc) from exc
        self._server = await loop.create_server(lambda: _Client(self), sock=stream)
        _, self._datagrams = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), sock=datagrams
        )

    async def aclose(self) -> None:
        """Nothing is answered any more. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._datagrams is not None:
            datagrams, self._datagrams = self._datagrams, None
            await datagrams.aclose()
        for client in tuple(self._clients):
            client.abort()

    def answer(self, query: bytes, *, udp: bool) -> bytes:
        return reply(query, self._resolve, udp=udp)

    def admit(self, client: _Client) -> bool:
        """There is room for one more connection."""
        if len(self._clients) >= CONNECTIONS:
            return False
        self._clients.add(client)
        return True

    def forget(self, client: _Client) -> None:
        self._clients.discard(client)

    def _bound(self, kind: socket.SocketKind) -> socket.socket:
        sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
        try:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if self._device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._device.encode())
            sock.bind((self._host, self._port))
        except OSError:
            sock.close()
            raise
        return sock

    def _failed(self, exc: OSError) -> ClusterError:
        return ClusterError(
            f"pods cannot resolve names at {self._host}:{self._port}: {exc.strerror}",
            hint="start the manager again; if it stays so, report it",
        )


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # uvloop's own class

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        answer = self._server.answer(data, udp=True)
        if answer:
            self._transport.sendto(answer, addr)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed.set()

    async def aclose(self) -> None:
        """The address can be bound again."""
        self._transport.close()
        await self._closed.wait()


class _Client(asyncio.Protocol):
    """One TCP connection: messages, each after its length (RFC 1035 §4.2.2)."""

    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._buffer = b""
        self._transport: asyncio.Transport
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class
        if self._server.admit(self):
            self._wait()
        else:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 2:
            end = 2 + int.from_bytes(self._buffer[:2], "big")
            if len(self._buffer) < end:
                break
            message, self._buffer = self._buffer[2:end], self._buffer[end:]
            answer = self._server.answer(message, udp=False)
            if answer:
                self._transport.write(len(answer).to_bytes(2, "big") + answer)
        self._wait()

    def pause_writing(self) -> None:
        # A client that asks and does not read: it is heard again when it has.
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._server.forget(self)

    def abort(self) -> None:
        self._transport.abort()

    def _wait(self) -> None:
        """It is heard for so long, and is gone if it then still says nothing."""
        if self._deadline is not None:
            self._deadline.cancel()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(IDLE_TIMEOUT, self._transport.abort)
