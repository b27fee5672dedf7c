"""Which version answers this request: the one function every sidecar asks per request head."""

from __future__ import annotations

from lapdev.routing.table import DIVERTED, PLAIN, Decision, RouteTable


def decide(table: RouteTable, branch: str | None, diverted: bool, port: str) -> Decision:
    """The candidates for one request to `port` (`service:port`), in the order to try them.

    A request with a branch never reaches an intercept on the base unless that intercept includes
    branches, whether or not the branch has a row here: the developer asked for the base's traffic.
    """
    if diverted:
        return DIVERTED
    if branch is None or branch == table.environment:
        return table.plain.get(port, PLAIN)
    decision = table.branches.get((branch, port))
    if decision is None:
        decision = table.others.get(port, table.unknown)
    return decision
