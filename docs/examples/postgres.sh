#!/bin/sh
# What the entry point of the `postgres` image does, with the PostgreSQL of this machine.
set -eu
PATH="$(ls -d /usr/lib/postgresql/*/bin | tail -1):$PATH"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --auth=trust --username=postgres --no-sync >/dev/null
  echo "host all all all trust" >>"$PGDATA/pg_hba.conf" # by the pod's address, too
  echo "made a new database in $PGDATA"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
