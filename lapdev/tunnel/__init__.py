"""One authenticated link between two processes: streams and calls that survive its connections.

Law: no byte of a stream is lost, doubled or reordered while the session lives; when it is over,
every stream and every call hears why.
"""

from lapdev.tunnel.counters import tunnel_metrics
from lapdev.tunnel.datagrams import DatagramInlet, datagram_outlet
from lapdev.tunnel.dial import UplinkOptions, new_id
from lapdev.tunnel.forward import Inlet, outlet
from lapdev.tunnel.handler import TunnelHandler, TunnelKey
from lapdev.tunnel.options import TunnelOptions
from lapdev.tunnel.server import TunnelServer, TunnelServerOptions
from lapdev.tunnel.stream import Stream
from lapdev.tunnel.tunnel import Tunnel
from lapdev.tunnel.uplink import Uplink

__all__ = [
    "DatagramInlet",
    "Inlet",
    "Stream",
    "Tunnel",
    "TunnelHandler",
    "TunnelKey",
    "TunnelOptions",
    "TunnelServer",
    "TunnelServerOptions",
    "Uplink",
    "UplinkOptions",
    "datagram_outlet",
    "new_id",
    "outlet",
    "tunnel_metrics",
]
