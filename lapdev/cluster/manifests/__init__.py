"""Kubernetes objects as checked values: what a manifest says, and what it means for one pod.

Pure: a loaded document goes in, dataclasses come out, every mistake is a `ConfigError` that names
the object, the field and the remedy. Nothing here starts, reads or knows a process.
"""

from lapdev.cluster.manifests.command import PodFacts, expand, local_command, pod_env
from lapdev.cluster.manifests.deployment import (
    Container,
    ContainerPort,
    Deployment,
    EnvVar,
    Probe,
    parse_deployment,
)
from lapdev.cluster.manifests.objects import Manifests, parse_objects
from lapdev.cluster.manifests.patch import merge_patch

__all__ = [
    "Container",
    "ContainerPort",
    "Deployment",
    "EnvVar",
    "Manifests",
    "PodFacts",
    "Probe",
    "expand",
    "local_command",
    "merge_patch",
    "parse_deployment",
    "parse_objects",
    "pod_env",
]
