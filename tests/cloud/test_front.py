"""Preview URLs are made from configuration, and from nothing a request says."""

from __future__ import annotations

from lapdev.cloud.front import PreviewUrls
from lapdev.net.address import InheritedAddress, TcpAddress


def test_the_port_is_the_one_listened_on() -> None:
    urls = PreviewUrls("lapdev.localhost", "")
    urls.served_at(TcpAddress("127.0.0.1", 8080))
    assert urls.of("80-web-x") == "http://80-web-x.lapdev.localhost:8080"


def test_a_configured_url_wins_over_the_listener() -> None:
    urls = PreviewUrls("preview.example.com", "http://lapdev.example.com:9000")
    urls.served_at(TcpAddress("0.0.0.0", 8080))
    assert urls.of("80-web-x") == "http://80-web-x.preview.example.com:9000"


def test_port_80_is_not_written() -> None:
    urls = PreviewUrls("lapdev.localhost", "")
    urls.served_at(InheritedAddress(3))
    assert urls.of("80-web-x") == "http://80-web-x.lapdev.localhost"
