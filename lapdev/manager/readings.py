"""What was read of each environment, kept while its objects stay the same. Pure.

A namespace is planned anew for every change of any of its environments; what did not change is not
parsed, checked and matched again.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from lapdev.cluster.manifests import check_references
from lapdev.manager.fronts import Fronts, find_fronts
from lapdev.manager.workloads import Objects, read_objects
from lapdev.model import Environment, EnvironmentId


@dataclass(slots=True)
class _Reading:
    written: tuple[dict[str, Any], ...]
    objects: Objects
    fronts: Fronts | None = None
    """Once its references were found to be there."""


class Readings:
    """The environments of one namespace, read."""

    def __init__(self) -> None:
        self._known: dict[EnvironmentId, _Reading] = {}

    def of(self, environment: Environment) -> Objects:
        """As `read_objects`; equal manifests give the very same object again."""
        return self._reading(environment).objects

    def fronts(self, base: Environment) -> Fronts:
        """As `find_fronts`, for objects that have everything they need of each other.

        Raises:
            ConfigError: they have not; as `check_references`.
        """
        reading = self._reading(base)
        if reading.fronts is None:
            objects = reading.objects
            check_references(objects.manifests)
            reading.fronts = find_fronts(objects.manifests.services, objects.workloads)
        return reading.fronts

    def keep(self, environments: Container[EnvironmentId]) -> None:
        """Only of these is anything remembered."""
        self._known = {key: item for key, item in self._known.items() if key in environments}

    def _reading(self, environment: Environment) -> _Reading:
        known = self._known.get(environment.id)
        if known is None or known.written != environment.manifests:
            known = _Reading(environment.manifests, read_objects(environment))
            self._known[environment.id] = known
        return known
