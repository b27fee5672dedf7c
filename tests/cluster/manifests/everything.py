"""Objects of every kind with every field that is read, all valid."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def web() -> Object:
    return {
        "name": "web",
        "image": "example/web:1",
        "command": ["web"],
        "args": ["-v"],
        "workingDir": "/srv",
        "ports": [
            {"containerPort": 80, "name": "http"},
            {"containerPort": 53, "name": "dns", "protocol": "UDP"},
        ],
        "env": [
            {"name": "PLAIN", "value": "$(POD)"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}},
            {
                "name": "SECRET",
                "valueFrom": {"secretKeyRef": {"name": "keys", "key": "no", "optional": True}},
            },
            {
                "name": "CPU",
                "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}},
            },
        ],
        "envFrom": [
            {"configMapRef": {"name": "conf"}, "prefix": "C_"},
            {"secretRef": {"name": "none", "optional": True}},
        ],
        "startupProbe": {"exec": {"command": ["true"]}, "failureThreshold": 30},
        "readinessProbe": {
            "httpGet": {
                "path": "/up",
                "port": "http",
                "httpHeaders": [{"name": "X", "value": "1"}],
                "host": "127.0.0.1",
            },
            "successThreshold": 2,
            "initialDelaySeconds": 1,
        },
        "livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 5, "timeoutSeconds": 2},
        "lifecycle": {
            "postStart": {"httpGet": {"port": 80, "path": "started"}},
            "preStop": {"sleep": {"seconds": 2}},
        },
        "volumeMounts": [
            {"name": "data", "mountPath": "/data", "subPathExpr": "$(POD)/x", "readOnly": True},
            {"name": "files", "mountPath": "/etc/web", "subPath": "a"},
        ],
        "resources": {"limits": {"cpu": "500m", "memory": "128Mi"}, "requests": {"cpu": 0.1}},
    }


def pod_spec(**fields: Any) -> Object:
    return {
        "initContainers": [
            {"name": "migrate", "command": ["true"]},
            {
                "name": "proxy",
                "command": ["proxy"],
                "restartPolicy": "Always",
                "readinessProbe": {"grpc": {"port": 9}},
                "ports": [{"containerPort": 9}],
            },
        ],
        "containers": [web(), {"name": "side", "command": ["side"], "restartPolicy": "OnFailure"}],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": True}},
            {
                "name": "files",
                "projected": {
                    "defaultMode": 256,
                    "sources": [
                        {
                            "configMap": {
                                "name": "conf",
                                "items": [{"key": "a", "path": "a", "mode": 256}],
                            }
                        },
                        {"secret": {"name": "none", "optional": True}},
                        {"serviceAccountToken": {"path": "token"}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}
                                ]
                            }
                        },
                    ],
                },
            },
            {"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"name": "host", "hostPath": {"path": "/srv//x/", "type": "Directory"}},
            {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"name": "secret", "secret": {"secretName": "keys"}},
        ],
        "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["db", "cache.local"]}],
        "hostname": "box",
        "subdomain": "pods",
        "terminationGracePeriodSeconds": 5,
        **fields,
    }


def template(**fields: Any) -> Object:
    metadata = {"labels": {"app": "web"}, "annotations": {"note": "n"}}
    return {"metadata": metadata, "spec": pod_spec(**fields)}


def item(kind: str, name: str, spec: Object) -> Object:
    return {"kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def objects() -> list[Object]:
    job = {
        "template": template(restartPolicy="Never"),
        "completions": 3,
        "parallelism": 2,
        "backoffLimit": 1,
        "activeDeadlineSeconds": 60,
        "ttlSecondsAfterFinished": 30,
        "completionMode": "Indexed",
        "suspend": True,
    }
    cron = {
        "schedule": "*/5 9-17 * * MON-FRI",
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "suspend": False,
        "startingDeadlineSeconds": 10,
        "successfulJobsHistoryLimit": 2,
        "failedJobsHistoryLimit": 0,
        "jobTemplate": {"spec": job},
    }
    stateful = {
        "replicas": 2,
        "serviceName": "pods",
        "podManagementPolicy": "Parallel",
        "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        "template": template(),
    }
    pod_metadata = {"name": "pod", "labels": {"app": "pod"}, "annotations": {"note": "n"}}
    pod = {"kind": "Pod", "metadata": pod_metadata}
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    ingress = {
        "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
        "rules": [
            {
                "host": "shop.example.com",
                "http": {"paths": [{"path": "/api", "pathType": "Prefix", "backend": backend}]},
            }
        ],
    }
    service = {
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": "http", "name": "http"}],
    }
    return [
        item("Deployment", "web", {"strategy": {"type": "Recreate"}, "template": template()}),
        item("StatefulSet", "db", stateful),
        item("DaemonSet", "agent", {"template": template()}),
        item("Job", "job", job),
        item("CronJob", "cron", cron),
        pod | {"spec": pod_spec(restartPolicy="OnFailure")},
        item("Service", "web", service),
        item("Service", "pods", service | {"clusterIP": "None", "publishNotReadyAddresses": True}),
        item("Service", "far", {"type": "ExternalName", "externalName": "db.example.com"}),
        item("Ingress", "shop", ingress),
        item("PersistentVolumeClaim", "data", {}),
        {"kind": "ConfigMap", "metadata": {"name": "conf"}, "data": {"a": "1"}}
        | {"binaryData": {"b": "/w=="}},
        {"kind": "Secret", "metadata": {"name": "keys"}, "data": {"k": "czNjcmV0"}}
        | {"stringData": {"s": "plain"}},
        {"kind": "List", "items": [{"kind": "Namespace", "metadata": {"name": "shop"}}]},
    ]
