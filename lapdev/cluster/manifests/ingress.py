"""Ingress objects: which paths of a host lead to which service port."""

from __future__ import annotations

from dataclasses import dataclass

from lapdev.model import PathRoute


@dataclass(frozen=True, slots=True)
class IngressHost:
    """One host of an Ingress, which becomes one preview URL."""

    name: str
    """What its preview URL begins with: the Ingress's name, or the host's first label."""
    routes: tuple[PathRoute, ...]
    """Longest prefix first; exact ones before prefixes of the same length."""
