"""The fields that Kubernetes knows, where a misspelt one would be lost in silence.

Most mean nothing to processes of one machine and are left unread; one that is no field at all is a
mistake that `kubectl apply` refuses, too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lapdev.cluster.manifests.node import Node

_POD = (
    "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy"
    " enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers"
    " hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead"
    " preemptionPolicy priority priorityClassName readinessGates resourceClaims resources"
    " restartPolicy runtimeClassName schedulerName schedulingGates securityContext serviceAccount"
    " serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain"
    " terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes"
)
_CONTAINER = (
    "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports"
    " readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext"
    " startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty"
    " volumeDevices volumeMounts workingDir"
)
_PROBE = (
    "exec failureThreshold grpc httpGet initialDelaySeconds periodSeconds successThreshold"
    " tcpSocket terminationGracePeriodSeconds timeoutSeconds"
)


POD_FIELDS, CONTAINER_FIELDS, PROBE_FIELDS = (
    frozenset(words.split()) for words in (_POD, _CONTAINER, _PROBE)
)


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word most like this one, or nothing."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def refuse_unknown(node: Node, known: frozenset[str]) -> None:
    """Raises ConfigError when the mapping has a member that is none of `known`."""
    for name in node.mapping():
        if name not in known:
            near = nearest(name, sorted(known))
            hint = f"did you mean {near}?" if near else "Kubernetes has no such field: remove it"
            node.child(name).fail("is not known here", hint)
