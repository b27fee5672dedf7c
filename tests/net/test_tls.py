"""Certificates from files: served, renewed, refused by name; and what a dialling end believes."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from lapdev.errors import ConfigError, ConnectFailed
from lapdev.net import tls
from lapdev.net.address import TcpAddress
from lapdev.net.listener import dial, listen
from lapdev.net.tls import ServerCertificate, certificate_of, client_context
from lapdev.net.way_out import WayOut
from tests.support.certificates import Certificate, make_authority, make_certificate


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Certificate, tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(authority, tmp_path_factory.mktemp("server"), "server")


class Echo(asyncio.Protocol):
    """What comes goes back; the first message says who is served."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.data = b""
        self.got = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.got.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


class Server(Echo):
    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@asynccontextmanager
async def serving(pair: Certificate) -> AsyncIterator[tuple[int, ServerCertificate]]:
    """The port of an echo behind TLS."""
    certificate = ServerCertificate(str(pair.cert), str(pair.key))
    listener = await listen("127.0.0.1:0", Server, tls=certificate.context)
    assert isinstance(listener.address, TcpAddress)
    try:
        yield listener.address.port, certificate
    finally:
        await listener.aclose()


async def subject(port: int, ca: Path, host: str = "localhost") -> str:
    """Whose certificate is served, after an echo over the connection."""
    transport, echo = await dial(TcpAddress(host, port, tls=True), Echo, WayOut(str(ca)))
    transport.write(b"hello")
    await echo.got.wait()
    assert echo.data == b"hello"
    found = transport.get_extra_info("ssl_object").getpeercert()
    version = transport.get_extra_info("ssl_object").version()
    assert version == "TLSv1.3"
    transport.close()
    await echo.lost.wait()
    return str(found["subject"][0][0][1])


async def test_a_certificate_from_files_is_served_and_believed_with_its_authority(
    authority: Certificate, certificate: Certificate
) -> None:
    async with serving(certificate) as (port, _):
        assert await subject(port, authority.cert) == "server"
        assert await subject(port, authority.cert, "127.0.0.1") == "server"


async def test_an_unknown_authority_is_refused_and_the_setting_is_named(
    certificate: Certificate,
) -> None:
    async with serving(certificate) as (port, _):
        with pytest.raises(ConnectFailed, match="certificate is refused") as caught:
            await dial(TcpAddress("localhost", port, tls=True), Echo)
        assert "--ca-file" in caught.value.hint


async def test_a_certificate_for_another_name_is_refused(
    authority: Certificate, tmp_path: Path
) -> None:
    other = make_certificate(authority, tmp_path, "other", "DNS:elsewhere.example")
    async with serving(other) as (port, _):
        with pytest.raises(ConnectFailed) as caught:
            await dial(TcpAddress("localhost", port, tls=True), Echo, WayOut(str(authority.cert)))
        assert "a name that the certificate is for" in caught.value.hint


async def test_a_server_without_tls_is_named_as_such(authority: Certificate) -> None:
    class Plain(Server):
        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.transport.close()

    listener = await listen("127.0.0.1:0", Plain)
    assert isinstance(listener.address, TcpAddress)
    with pytest.raises(ConnectFailed, match="no TLS there"):
        await dial(TcpAddress("127.0.0.1", listener.address.port, tls=True), Echo)
    await listener.aclose()


async def test_tls_1_2_is_the_oldest_version_spoken(
    authority: Certificate, certificate: Certificate
) -> None:
    async with serving(certificate) as (port, served):
        assert served.context.minimum_version is ssl.TLSVersion.TLSv1_2
        context = client_context(str(authority.cert))
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        loop = asyncio.get_running_loop()
        transport, echo = await loop.create_connection(Echo, "localhost", port, ssl=context)
        assert transport.get_extra_info("ssl_object").version() == "TLSv1.2"
        transport.close()
        await echo.lost.wait()


def replace(pair: Certificate, by: Certificate) -> None:
    """As a renewing program does: two files, one after the other, each in one step."""
    for old, new in ((pair.cert, by.cert), (pair.key, by.key)):
        shutil.copy(new, f"{old}.new")
        Path(f"{old}.new").replace(old)


async def test_a_renewed_certificate_is_served_at_the_next_handshake(
    authority: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_INTERVAL", 0.0)
    pair = make_certificate(authority, tmp_path, "old")
    async with serving(pair) as (port, _):
        assert await subject(port, authority.cert) == "old"
        replace(pair, make_certificate(authority, tmp_path, "new"))
        assert await subject(port, authority.cert) == "new"


async def test_a_pair_that_does_not_fit_is_not_used_until_it_does(
    authority: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_INTERVAL", 0.0)
    pair = make_certificate(authority, tmp_path, "old")
    new = make_certificate(authority, tmp_path, "new")
    async with serving(pair) as (port, _):
        shutil.copy(new.cert, pair.cert)
        assert await subject(port, authority.cert) == "old"
        pair.key.unlink()
        assert await subject(port, authority.cert) == "old"
        shutil.copy(new.key, pair.key)
        assert await subject(port, authority.cert) == "new"


def bad_pairs(folder: Path, good: Certificate, other: Certificate) -> dict[str, Certificate]:
    text = folder / "text"
    text.write_text("no certificate")
    locked = folder / "locked.key"
    locked.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    broken = folder / "broken.crt"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return {
        "tls_cert .*gone: No such file": Certificate(folder / "gone", good.key),
        "tls_key .*gone: No such file": Certificate(good.cert, folder / "gone"),
        "tls_cert .*text holds no certificate": Certificate(text, good.key),
        "tls_key .*text holds no private key": Certificate(good.cert, text),
        "tls_key .* is not the key of tls_cert": Certificate(good.cert, other.key),
        "tls_key .*locked.key is encrypted": Certificate(good.cert, locked),
        "tls_cert .*broken.crt and": Certificate(broken, good.key),
    }


def test_what_is_wrong_with_the_files_is_named(
    authority: Certificate, certificate: Certificate, tmp_path: Path
) -> None:
    for problem, pair in bad_pairs(tmp_path, certificate, authority).items():
        with pytest.raises(ConfigError, match=problem) as caught:
            ServerCertificate(str(pair.cert), str(pair.key))
        assert caught.value.hint


def test_a_certificate_and_its_key_are_named_together(certificate: Certificate) -> None:
    assert certificate_of("", "") is None
    assert certificate_of(str(certificate.cert), str(certificate.key)) is not None
    for setting, pair in (
        ("tls_key", (str(certificate.cert), "")),
        ("tls_cert", ("", str(certificate.key))),
    ):
        with pytest.raises(ConfigError, match=f"{setting} is not set"):
            certificate_of(*pair)


def test_a_ca_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("hello")
    for name, problem in (("ca", "holds no certificate"), ("gone", "No such file")):
        with pytest.raises(ConfigError, match=problem):
            client_context(str(tmp_path / name))


async def test_a_client_that_never_shakes_hands_costs_only_its_own_connection(
    authority: Certificate, certificate: Certificate
) -> None:
    async with serving(certificate) as (port, _):
        with socket.create_connection(("127.0.0.1", port)) as silent:
            silent.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert await subject(port, authority.cert) == "server"
