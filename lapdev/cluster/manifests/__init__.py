"""Kubernetes objects as checked values: what a manifest says, and what it means for one pod.

Pure: a loaded document goes in, dataclasses come out, every mistake is a `ConfigError` that names
the object, the field and the remedy. Nothing here starts, reads or knows a process.
"""

from lapdev.cluster.manifests.command import is_idle, local_command
from lapdev.cluster.manifests.config import ConfigObject, Configs, Reference
from lapdev.cluster.manifests.container import (
    ConfigKey,
    Container,
    ContainerPort,
    EnvFrom,
    EnvVar,
    Handler,
    Mount,
    Probe,
    ResourceField,
    Resources,
    RestartPolicy,
)
from lapdev.cluster.manifests.environment import PodFacts, expand, pod_env
from lapdev.cluster.manifests.ingress import IngressHost
from lapdev.cluster.manifests.objects import Manifests, parse_objects
from lapdev.cluster.manifests.patch import merge_patch
from lapdev.cluster.manifests.pod import (
    Claim,
    ConfigFiles,
    DownwardFiles,
    EmptyDir,
    HostPath,
    PodTemplate,
    Projected,
    Volume,
    VolumeSource,
)
from lapdev.cluster.manifests.references import (
    check_configs,
    check_references,
    container_references,
    refers_to,
    volume_references,
)
from lapdev.cluster.manifests.template import WORKLOAD_KINDS, pod_template_of
from lapdev.cluster.manifests.workload import (
    JobPolicy,
    Schedule,
    Strategy,
    Workload,
    WorkloadKind,
)
from lapdev.cluster.manifests.workload_parts import parse_workload

__all__ = [
    "WORKLOAD_KINDS",
    "Claim",
    "ConfigFiles",
    "ConfigKey",
    "ConfigObject",
    "Configs",
    "Container",
    "ContainerPort",
    "DownwardFiles",
    "EmptyDir",
    "EnvFrom",
    "EnvVar",
    "Handler",
    "HostPath",
    "IngressHost",
    "JobPolicy",
    "Manifests",
    "Mount",
    "PodFacts",
    "PodTemplate",
    "Probe",
    "Projected",
    "Reference",
    "ResourceField",
    "Resources",
    "RestartPolicy",
    "Schedule",
    "Strategy",
    "Volume",
    "VolumeSource",
    "Workload",
    "WorkloadKind",
    "check_configs",
    "check_references",
    "container_references",
    "expand",
    "is_idle",
    "local_command",
    "merge_patch",
    "parse_objects",
    "parse_workload",
    "pod_env",
    "pod_template_of",
    "refers_to",
    "volume_references",
]
