"""Volumes and their mounts, read from a pod's manifest."""

from __future__ import annotations

from collections.abc import Collection

from lapdev.cluster.manifests.config import ConfigKind
from lapdev.cluster.manifests.container import Mount
from lapdev.cluster.manifests.environment import known_field
from lapdev.cluster.manifests.node import Node, refuse_repeated
from lapdev.cluster.manifests.pod import (
    Claim,
    ConfigFiles,
    DownwardFiles,
    EmptyDir,
    HostPath,
    Projected,
    Volume,
    VolumeSource,
)
from lapdev.cluster.manifests.resources import memory_bytes

_SOURCES = (
    *("emptyDir", "configMap", "secret", "downwardAPI", "projected", "hostPath"),
    *("persistentVolumeClaim", "ephemeral"),
)
# Credentials of an API server and of certificate authorities, neither of which is here.
_LEFT_OUT = ("serviceAccountToken", "clusterTrustBundle", "podCertificate")
_HOST_PATH_TYPES = (
    *("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File"),
    *("Socket", "CharDevice", "BlockDevice"),
)


def parse_volumes(node: Node, claims: Node) -> tuple[Volume, ...]:
    """The pod's volumes, and those that a StatefulSet's claim templates make for each pod.

    A template takes the place of a volume of the same name, as in Kubernetes.
    """
    volumes = [(item, _volume(item)) for item in node.items()]
    refuse_repeated(((item.child("name"), volume.name) for item, volume in volumes), "name")
    templates = [
        (name, Volume(name.dns_label(), Claim(name.dns_label(), per_pod=True)))
        for item in claims.items()
        if (name := item.child("metadata").child("name"))
    ]
    refuse_repeated(((name, volume.name) for name, volume in templates), "name")
    found = {volume.name: volume for _, volume in (*volumes, *templates)}
    return tuple(found.values())


def _volume(node: Node) -> Volume:
    return Volume(node.child("name").dns_label(), _source(node))


def _source(node: Node) -> VolumeSource:
    kind = node.one_of(_SOURCES, "source")
    source = node.child(kind)
    match kind:
        case "emptyDir":
            return _empty_dir(source)
        case "configMap":
            return _files(source, _config_files(source, "ConfigMap", "name"))
        case "secret":
            return _files(source, _config_files(source, "Secret", "secretName"))
        case "downwardAPI":
            return _files(source, _downward_files(source))
        case "projected":
            found = [_projected(item) for item in source.child("sources").items()]
            return _files(source, *(item for item in found if item))
        case "hostPath":
            path = source.child("path").absolute_path()
            return HostPath(path, source.child("type").choice(_HOST_PATH_TYPES, ""))
        case "persistentVolumeClaim":
            return Claim(
                source.child("claimName").object_name(), read_only=source.child("readOnly").flag()
            )
        case "ephemeral":
            # A claim that goes with its pod: on one machine that is what an emptyDir is.
            return EmptyDir()
    others = [name for name in node.mapping() if name != "name" and node.child(name).present]
    if others:
        node.fail(
            f"{others[0]:.60} volumes are not supported",
            "use emptyDir, persistentVolumeClaim (a folder that outlives the pod), or hostPath",
        )
    return EmptyDir()  # Kubernetes' default


def _empty_dir(node: Node) -> EmptyDir:
    medium = node.child("medium").text("")
    limit = node.child("sizeLimit")
    return EmptyDir(medium == "Memory", memory_bytes(limit) if limit.present else None)


def _files(node: Node, *sources: ConfigFiles | DownwardFiles) -> Projected:
    mode = _mode(node.child("defaultMode"))
    return Projected(sources) if mode is None else Projected(sources, mode)


def _projected(node: Node) -> ConfigFiles | DownwardFiles | None:
    """None for a source that has nothing to offer here."""
    kind = node.one_of(("configMap", "secret", "downwardAPI", *_LEFT_OUT), "source")
    source = node.child(kind)
    match kind:
        case "configMap":
            return _config_files(source, "ConfigMap", "name")
        case "secret":
            return _config_files(source, "Secret", "name")
        case "downwardAPI":
            return _downward_files(source)
        case "":
            node.fail("names no source", "write configMap, secret or downwardAPI")
    return None


def _config_files(node: Node, kind: ConfigKind, name: str) -> ConfigFiles:
    return ConfigFiles(
        kind=kind,
        name=node.child(name).object_name(),
        items=tuple(
            (
                item.child("key").config_key(),
                _file(item.child("path")),
                _mode(item.child("mode")),
            )
            for item in node.child("items").items()
        ),
        optional=node.child("optional").flag(),
    )


def _downward_files(node: Node) -> DownwardFiles:
    return DownwardFiles(tuple(_downward_file(item) for item in node.child("items").items()))


def _downward_file(node: Node) -> tuple[str, str, int | None]:
    if node.child("resourceFieldRef").present:
        node.child("resourceFieldRef").fail(
            "is not supported in files", "hand it over in a variable: env.valueFrom"
        )
    field = node.child("fieldRef").child("fieldPath")
    if not known_field(field.text(), in_files=True):
        field.fail(
            f"{field.value!r:.80} is not supported",
            "use metadata.name, metadata.namespace, metadata.labels or metadata.annotations",
        )
    return field.value, _file(node.child("path")), _mode(node.child("mode"))


def _file(node: Node) -> str:
    path = node.relative_path()
    if not path:
        node.fail("is empty", "write the file's name in the volume")
    return path


def _mode(node: Node) -> int | None:
    return node.integer(0, 0o777) if node.present else None


# Mounts


def parse_mounts(node: Node, volumes: Collection[str]) -> tuple[Mount, ...]:
    """A container's `volumeMounts`, each of a volume the pod has, each at its own path."""
    found = [(item, _mount(item, volumes)) for item in node.items()]
    refuse_repeated(((item.child("mountPath"), mount.path) for item, mount in found), "path")
    return tuple(mount for _, mount in found)


def _mount(node: Node, volumes: Collection[str]) -> Mount:
    name = node.child("name").text()
    if name not in volumes:
        node.child("name").fail(
            f"the pod has no volume {name!r:.80}",
            f"add it to the pod's volumes, or name one of: {', '.join(volumes) or 'none'}",
        )
    path = node.child("mountPath").absolute_path()
    if path == "/":
        node.child("mountPath").fail("would hide everything", "mount it at a folder below /")
    written = node.one_of(("subPath", "subPathExpr"), "of the two")
    return Mount(
        volume=name,
        path=path,
        sub_path=node.child(written).relative_path() if written else "",
        expand=written == "subPathExpr",
        read_only=node.child("readOnly").flag(),
    )
