"""Objects that a file may hold and that do nothing here: by their kind, by who made them, by when
they are meant to run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lapdev.cluster.manifests.node import Node, object_node

IGNORED_KINDS = frozenset(
    {"Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    | {"NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "PriorityClass"}
    | {"StorageClass", "PersistentVolume", "LimitRange", "ResourceQuota", "IngressClass"}
    | {"CustomResourceDefinition", "VerticalPodAutoscaler", "ControllerRevision"}
    | {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
    | {"ServiceMonitor", "PodMonitor", "PrometheusRule", "Certificate", "Issuer", "ClusterIssuer"}
)
"""Kinds about a cluster's rules and means, which pods on one machine run without."""

_JOB_RULES = ("podFailurePolicy", "successPolicy", "backoffLimitPerIndex", "maxFailedIndexes")
_HOOK = "helm.sh/hook"
# All others (test, pre-delete, …) run when somebody asks for them, and may undo the rest.
_RUN_AT_START = frozenset(
    {"pre-install", "post-install", "pre-upgrade", "post-upgrade", "crd-install"}
)


def left_out(kind: str, item: dict[str, Any], present: Collection[str]) -> str:
    """The object, and why it does nothing here; empty when it does something.

    `present` are all objects, as `Deployment/api`: what one of them has made, and
    `kubectl get -o yaml` lists as well, is made here by the same.

    Raises:
        ConfigError: its metadata are not as they should be.
    """
    root = object_node(item, kind)
    if kind in IGNORED_KINDS:
        return root.place
    metadata = root.child("metadata")
    if not isinstance(metadata.value, dict):
        return ""  # whoever reads the rest of it complains
    hooks = _words(metadata.child("annotations"), _HOOK)
    if hooks and _RUN_AT_START.isdisjoint(hooks):
        return f"{root.place} (Helm hook {', '.join(hooks)})"
    for owner in metadata.child("ownerReferences").items():
        made_by = f"{owner.child('kind').text('')}/{owner.child('name').text('')}"
        if owner.child("controller").value is True and made_by in present:
            return f"{root.place} (made by {made_by})"
    if kind == "Service" and metadata.child("labels").mapping().get("component") == "apiserver":
        return f"{root.place} (the cluster's own)"
    return ""


def unread(kind: str, item: dict[str, Any]) -> list[str]:
    """Parts of an object that an application may count on, and that do nothing here.

    `item` is one that has been parsed.
    """
    root = object_node(item, kind)
    spec = root.child("spec")
    if kind == "Service":
        found = [
            f"port {port.child('port').value}/{protocol}"
            for port in spec.child("ports").items()
            if (protocol := port.child("protocol").text("TCP")) != "TCP"
        ]
    else:
        job = spec.child("jobTemplate").child("spec") if kind == "CronJob" else spec
        read = job.mapping() if kind in ("Job", "CronJob") else {}
        found = [name for name in _JOB_RULES if name in read]
    return [f"{root.place} {part}" for part in found]


def _words(annotations: Node, name: str) -> list[str]:
    if name not in annotations.mapping():
        return []
    written = annotations.child(name).text("")
    return [word.strip() for word in written.split(",") if word.strip()]
