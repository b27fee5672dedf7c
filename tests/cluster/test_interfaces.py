"""Interfaces by ioctl; what they do to a real one is shown in `test_network`."""

from __future__ import annotations

import pytest

from lapdev.cluster import interfaces


def test_an_unknown_interface_is_an_os_error() -> None:
    with pytest.raises(OSError, match="No such device"):
        interfaces.bring_up("none")


def test_a_malformed_address_is_refused_before_the_kernel_sees_it() -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        interfaces.set_address("lo", "300.0.0.1", "255.0.0.0")
