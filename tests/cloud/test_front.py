"""Preview URLs are made from configuration, and from nothing a request says."""

from __future__ import annotations

import pytest

from lapdev.cloud.front import PreviewUrls
from lapdev.model import EnvironmentId, PreviewUrl
from lapdev.net.address import InheritedAddress, TcpAddress

WEB = PreviewUrl("80-web-x", EnvironmentId("e"), "web", 80)
DB = PreviewUrl("5432-db-x", EnvironmentId("e"), "db", 5432, tcp_port=20_000)


def test_the_port_is_the_one_listened_on() -> None:
    urls = PreviewUrls("lapdev.localhost", "")
    urls.served_at(TcpAddress("127.0.0.1", 8080))
    assert urls.of(WEB) == "http://80-web-x.lapdev.localhost:8080"


def test_a_configured_url_wins_over_the_listener() -> None:
    urls = PreviewUrls("preview.example.com", "http://lapdev.example.com:9000")
    urls.served_at(TcpAddress("0.0.0.0", 8080))
    assert urls.of(WEB) == "http://80-web-x.preview.example.com:9000"


def test_port_80_is_not_written() -> None:
    urls = PreviewUrls("lapdev.localhost", "")
    urls.served_at(InheritedAddress(3))
    assert urls.of(WEB) == "http://80-web-x.lapdev.localhost"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:20000"),
        ("::1", "tcp://[::1]:20000"),
        ("0.0.0.0", "tcp://lapdev.localhost:20000"),
        ("::", "tcp://lapdev.localhost:20000"),
    ],
)
def test_a_raw_tcp_preview_is_where_it_is_listened_for(host: str, url: str) -> None:
    assert PreviewUrls("lapdev.localhost", "", host).of(DB) == url
