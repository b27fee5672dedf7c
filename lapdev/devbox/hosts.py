"""Names of a session's services → what they resolve to. Pure.

A service of the active environment is known by the names Kubernetes has for it: `api`, `api.NS`,
`api.NS.svc` and `api.NS.svc.cluster.local`, in any letter case, with or without a final dot.
"""

from __future__ import annotations

from lapdev.errors import NoRoute
from lapdev.model import Service
from lapdev.wire.control import ServiceTarget, SessionState

_SUFFIXES = ("", ".svc", ".svc.cluster.local")


def names_of(service: str, namespace: str) -> tuple[str, ...]:
    """Every name a service answers to, the short one first."""
    return (service, *(f"{service}.{namespace}{suffix}" for suffix in _SUFFIXES))


def resolve(state: SessionState, host: str, port: int) -> ServiceTarget:
    """What `host:port` is in the session's environment.

    Raises:
        NoRoute: no such name or port there; says which there are.
    """
    wanted = host.lower().removesuffix(".")
    for service in state.services:
        if wanted in names_of(service.name, state.namespace):
            _check_port(service, port, state)
            return ServiceTarget(state.namespace, service.name, port)
    raise NoRoute(
        f"{host[:253]!r} is no service of environment {state.environment_name}",
        hint="known here: " + (", ".join(sorted(s.name for s in state.services)) or "none yet"),
    )


def _check_port(service: Service, port: int, state: SessionState) -> None:
    ports = [known.port for known in service.ports]
    if port not in ports:
        raise NoRoute(
            f"service {service.name} of environment {state.environment_name} has no port {port}",
            hint="its ports: " + ", ".join(map(str, ports)),
        )
