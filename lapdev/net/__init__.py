"""One hop: listeners, dialling, HTTP/1.1, websockets, relays, and the tasks they run in.

The room knows bytes, sockets and loops; it knows no environment, no branch and no setting. Its hot
path is `asyncio.Protocol` callbacks: no task, future or timer per request.
"""
