"""Bytes ⇄ events. Pure: nothing here opens a socket, reads a clock or logs.

Every machine speaks `receive_data`, `receive_eof` and either `send(event) -> bytes` (HTTP, which
never answers by itself) or `data_to_send()` (the multiplexer, which does). Time enters as an
argument `now` and leaves as `next_deadline()`.
"""
