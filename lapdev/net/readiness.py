"""Waiting for a socket that is read and written by our own system calls."""

from __future__ import annotations

import asyncio
import socket


async def wait_readable(sock: socket.socket) -> None:
    """Something can be received or accepted, or the other end is gone."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sock.fileno())


async def wait_writable(sock: socket.socket) -> None:
    """Something can be sent, or the other end is gone."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(sock.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(sock.fileno())
