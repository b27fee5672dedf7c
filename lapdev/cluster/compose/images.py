"""Well-known ports: of images whose server does not speak HTTP, and of such servers at large."""

from __future__ import annotations

_IMAGE_PORTS = {
    **dict.fromkeys(("postgres", "postgresql", "postgis", "pgvector", "timescaledb"), 5432),
    **dict.fromkeys(("mysql", "mariadb", "percona"), 3306),
    **dict.fromkeys(("redis", "valkey", "redis-stack-server"), 6379),
    "mongo": 27017,
    "mongodb": 27017,
    "memcached": 11211,
    "rabbitmq": 5672,
    "nats": 4222,
    "eclipse-mosquitto": 1883,
    "kafka": 9092,
    "zookeeper": 2181,
    "cassandra": 9042,
}

TCP_PORTS = frozenset(
    {22, 25, 465, 587, 1433, 1521, 1883, 2181, 3306, 4222, 5432, 5433, 5671, 5672, 6379, 6380}
    | {8883, 9042, 9092, 9093, 11211, 26257, 27017, 27018, 33060}
)
"""Ports whose servers do not speak HTTP."""


def image_port(image: str) -> int:
    """Where the server in this image listens; 0 when it is not known, or speaks HTTP."""
    name = image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]
    return _IMAGE_PORTS.get(name.lower(), 0)
