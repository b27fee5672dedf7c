"""The store room: what survives a restart, and nothing else.

Law: one repository speaks SQL; everyone else speaks `lapdev.model`. Tokens are kept as SHA-256
only. What can be rebuilt from the cluster (status, ready counts, connections) is never stored.
A change and the revision that announces it are one transaction.
"""

from lapdev.store.environments import NewEnvironment, PutResult
from lapdev.store.previews import PreviewWish
from lapdev.store.repository import Store
from lapdev.store.rows import no_tcp_ports

__all__ = ["NewEnvironment", "PreviewWish", "PutResult", "Store", "no_tcp_ports"]
