"""Well-known images, and the program on this machine that does what they do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# As the official image does: made at the first start, reachable from other pods.
_POSTGRES = (
    """sh -c 'D="${PGDATA:-/var/lib/postgresql/data}";"""
    """ PATH="$PATH:$(ls -d /usr/lib/postgresql/*/bin | tail -1)";"""
    """ test -s "$D/PG_VERSION" || { initdb -U "${POSTGRES_USER:-postgres}" -D "$D" &&"""
    """ echo "host all all all trust" >> "$D/pg_hba.conf"; };"""
    """ exec postgres -D "$D" -h 0.0.0.0 -k /tmp'"""
)
_MYSQL = (
    "sh -c 'test -d /var/lib/mysql/mysql || mysqld --initialize-insecure --datadir=/var/lib/mysql;"
    " exec mysqld --datadir=/var/lib/mysql'"
)
_MARIADB = (
    "sh -c 'test -d /var/lib/mysql/mysql || mariadb-install-db --datadir=/var/lib/mysql;"
    " exec mariadbd --datadir=/var/lib/mysql'"
)
# By the first of these words in the image's name.
_COMMANDS = {
    "redis": "redis-server",
    "valkey": "valkey-server",
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "postgis": _POSTGRES,
    "mysql": _MYSQL,
    "mariadb": _MARIADB,
    "memcached": "memcached",
    "nginx": "nginx -g 'daemon off;'",
    "mongo": "mongod --bind_ip_all",
    "mongodb": "mongod --bind_ip_all",
    "rabbitmq": "rabbitmq-server",
    "nats": "nats-server",
    "python": "python3 app.py",
    "node": "node index.js",
    "busybox": "sleep infinity",
}
# As the official images are built: others than localhost may ask. A file's name has to come first.
_LAST_WORDS = {"redis": " --protected-mode no", "valkey": " --protected-mode no"}
_INTERPRETERS = frozenset({"python", "node", "busybox"})
"""Their arguments are a command by themselves."""


def known_command(image: str, args: Sequence[str] = ()) -> str:
    """A shell line for a container of that image, empty when its program is not known."""
    name = image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    for word in re.split(r"[^a-z0-9]+", name):
        command = _COMMANDS.get(word)
        if command is None:
            continue
        last = _LAST_WORDS.get(word, "")
        if not args:
            return command + last
        if word in _INTERPRETERS or args[0] == command.split()[0]:
            return shlex.join(args) + last
        return command if command.startswith("sh -c") else f"{command} {shlex.join(args)}{last}"
    return ""
