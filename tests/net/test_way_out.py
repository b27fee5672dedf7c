"""Which proxy a connection goes through, as the environment's variables say."""

from __future__ import annotations

import pytest

from lapdev.errors import ConfigError
from lapdev.net.address import TcpAddress
from lapdev.net.way_out import WayOut

PROXY = {"HTTPS_PROXY": "http://proxy:3128"}


def chosen(environ: dict[str, str], host: str = "cloud.example", *, tls: bool = True) -> str:
    address = TcpAddress(host, 443 if tls else 80, tls)
    proxy = WayOut.from_environ(environ).proxy_for(address)
    return str(proxy) if proxy is not None else ""


@pytest.mark.parametrize(
    ("environ", "tls", "expected"),
    [
        ({}, True, ""),
        (PROXY, True, "proxy:3128"),
        (PROXY, False, ""),
        ({"HTTP_PROXY": "proxy:1"}, False, "proxy:1"),
        ({"HTTP_PROXY": "proxy:1"}, True, ""),
        ({"HTTP_PROXY": "proxy:1", "REQUEST_METHOD": "GET"}, False, ""),
        ({"http_proxy": "proxy:1", "REQUEST_METHOD": "GET"}, False, "proxy:1"),
        ({"https_proxy": "http://low", "HTTPS_PROXY": "http://high"}, True, "low:80"),
        ({"ALL_PROXY": "https://all"}, True, "all:443"),
        ({"ALL_PROXY": "http://all", "HTTPS_PROXY": "http://one"}, True, "one:80"),
        ({"HTTPS_PROXY": "http://[::1]:3128"}, True, "[::1]:3128"),
    ],
)
def test_the_variables_choose_a_proxy(environ: dict[str, str], tls: bool, expected: str) -> None:
    assert chosen(environ, tls=tls) == expected


@pytest.mark.parametrize(
    ("no_proxy", "host", "direct"),
    [
        ("*", "cloud.example", True),
        ("example", "cloud.example", True),
        (".example", "cloud.example", True),
        ("*.example", "cloud.example", True),
        ("other, CLOUD.example ", "cloud.example", True),
        ("cloud.example:443", "cloud.example", True),
        ("cloud.example:8443", "cloud.example", False),
        ("ample", "cloud.example", False),
        ("", "cloud.example", False),
        (",", "cloud.example", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "fd00::1", True),
        ("[fd00::1]:443", "fd00::1", True),
        ("[fd00::1]:80", "fd00::1", False),
        ("", "localhost", True),
        ("", "api.lapdev.localhost", True),
        ("", "127.0.0.5", True),
        ("", "::1", True),
    ],
)
def test_no_proxy_names_what_is_reached_directly(no_proxy: str, host: str, direct: bool) -> None:
    assert (chosen(PROXY | {"NO_PROXY": no_proxy}, host) == "") is direct


def test_name_and_password_become_basic_auth_and_are_never_shown() -> None:
    environ = {"HTTPS_PROXY": "http://me:p%40ss@proxy:3128"}
    way = WayOut.from_environ(environ)
    proxy = way.proxy_for(TcpAddress("cloud.example", 443, True))
    assert proxy is not None
    assert proxy.authorization == "Basic bWU6cEBzcw=="
    for text in (str(proxy), repr(proxy), repr(way)):
        assert "p%40ss" not in text
        assert "bWU6" not in text


@pytest.mark.parametrize(
    "url", ["socks5://me:secret@proxy:1080", "http://me:secret@proxy:x", "http://:80"]
)
def test_a_proxy_that_cannot_be_used_is_an_error_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        chosen({"HTTPS_PROXY": url})
    assert "secret" not in str(caught.value)
    assert "HTTPS_PROXY" in caught.value.hint
