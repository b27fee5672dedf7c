"""The pod's volumes: each folder, named volume, config and secret once, under a name of its own."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from lapdev.cluster.compose.service import (
    ComposeService,
    ConfigGrant,
    MountKind,
    ServiceMount,
)
from lapdev.cluster.compose.sources import Reader
from lapdev.cluster.compose.values import Value, dns_label
from lapdev.cluster.manifests.known_fields import nearest

Object = dict[str, Any]
Note = Callable[[str], None]

_VOLUME_KEYS = ("driver", "driver_opts", "external", "labels", "name")
_CONFIG_KEYS = (
    *("file", "environment", "content", "external", "name", "labels", "driver", "driver_opts"),
    "template_driver",
)


class Volumes:
    """Collects what services mount, and makes the objects behind it."""

    def __init__(self, project: Value, reader: Reader, note: Note) -> None:
        """`project` is the merged document; `environment` of configs is looked up there."""
        self._project = project
        self._reader = reader
        self._note = note
        self._names: dict[tuple[str, str], str] = {}
        self._volumes: dict[str, Object] = {}
        self._objects: dict[tuple[str, str], Object] = {}

    @property
    def volumes(self) -> list[Object]:
        """Of the pod, in an order that who mounts them makes no difference to."""
        return [self._volumes[name] for name in sorted(self._volumes)]

    @property
    def objects(self) -> list[Object]:
        """Claims, ConfigMaps and Secrets."""
        return list(self._objects.values())

    def mounts(self, service: ComposeService, lookup: Callable[[str], str | None]) -> list[Object]:
        """The service's `volumeMounts`, outer folders before inner ones."""
        found = {mount.target: self._mount(mount, service) for mount in service.mounts}
        for kind, section in (("ConfigMap", service.configs), ("Secret", service.secrets)):
            for grant in section:
                found[grant.target] = self._grant(grant, kind, lookup)
        return [found[path] for path in sorted(found)]

    # Volumes

    def _mount(self, mount: ServiceMount, service: ComposeService) -> Object:
        match mount.kind:
            case MountKind.BIND:
                name = self._bind(mount.source, mount.make)
            case MountKind.VOLUME:
                name = self._named(mount)
            case MountKind.MEMORY | MountKind.ANONYMOUS:
                owner = mount.owner or service.name
                medium = {"medium": "Memory"} if mount.kind is MountKind.MEMORY else {}
                key = (mount.kind, f"{owner}:{mount.target}")
                name = self._add(key, f"{owner}-{mount.target}", {"emptyDir": medium})
        return {
            "name": name,
            "mountPath": mount.target,
            **({"readOnly": True} if mount.read_only else {}),
            **({"subPath": mount.sub_path} if mount.sub_path else {}),
        }

    def _bind(self, source: str, make: bool) -> str:
        kind = "DirectoryOrCreate" if make and not self._reader.exists(source) else ""
        path = {"path": source, **({"type": kind} if kind else {})}
        return self._add(("bind", source), source.rpartition("/")[2] or "root", {"hostPath": path})

    def _named(self, mount: ServiceMount) -> str:
        volumes = self._project.child("volumes")
        if not volumes or mount.source not in dict(volumes.members()):
            names = [name for name, _ in volumes.members()]
            close = nearest(mount.source, names)
            mount.at.fail(
                f"there is no volume {mount.source!r}",
                f"did you mean {close!r}?"
                if close
                else f"add it under the top-level volumes, or write ./{mount.source} for a folder",
            )
        volume = volumes.child(mount.source)
        volume.only(_VOLUME_KEYS)
        options = volume.child("driver_opts")
        device = options.child("device").text("")
        if "bind" in options.child("o").text("").split(",") and device.startswith("/"):
            return self._bind(device, True)
        if options.child("type").text("") == "tmpfs":
            return self._add(
                ("tmpfs", mount.source), mount.source, {"emptyDir": {"medium": "Memory"}}
            )
        if device or volume.child("driver").text("local") != "local":
            self._note(f"{volume.where}: its driver is ignored: it is a folder of this machine")
        name = volume.child("name").text("") or mount.source
        claim = self._object("PersistentVolumeClaim", mount.source, name, volume)
        if "spec" not in claim:
            storage = {"requests": {"storage": "1Gi"}}
            claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": storage}
        source = {"claimName": claim["metadata"]["name"]}
        return self._add(("volume", mount.source), mount.source, {"persistentVolumeClaim": source})

    def _add(self, key: tuple[str, str], wanted: str, source: Object) -> str:
        if key not in self._names:
            name = self._free_name(wanted)
            self._names[key] = name
            self._volumes[name] = {"name": name, **source}
        return self._names[key]

    def _free_name(self, wanted: str) -> str:
        stem = dns_label(wanted)[:50].strip("-") or "folder"
        name, number = stem, 1
        while name in self._volumes:
            number += 1
            name = f"{stem}-{number}"
        return name

    # Configs and secrets

    def _grant(self, grant: ConfigGrant, kind: str, lookup: Callable[[str], str | None]) -> Object:
        section = "configs" if kind == "ConfigMap" else "secrets"
        word = section.removesuffix("s")
        listed = self._project.child(section)
        names = [name for name, _ in listed.members()]
        if grant.name not in names:
            close = nearest(grant.name, names)
            grant.at.fail(
                f"there is no {word} {grant.name!r}",
                f"did you mean {close!r}?" if close else f"add it under the top-level {section}",
            )
        value = listed.child(grant.name)
        value.only(_CONFIG_KEYS)
        found = self._object(kind, grant.name, grant.name, value)
        if len(found) == 3:
            content = self._content(value, lookup)
            found |= _data(kind, content)
        name = found["metadata"]["name"]
        mode = {} if grant.mode is None else {"defaultMode": grant.mode}
        reference = {"name": name} if kind == "ConfigMap" else {"secretName": name}
        source = {"configMap" if kind == "ConfigMap" else "secret": reference | mode}
        volume = self._add((kind, f"{grant.name}:{grant.mode}"), f"{word}-{grant.name}", source)
        return {
            "name": volume,
            "mountPath": grant.target,
            "subPath": "content",
            "readOnly": True,
        }

    def _content(self, value: Value, lookup: Callable[[str], str | None]) -> bytes:
        if value.child("external").boolean():
            return self._external(value, lookup)
        given = [key for key in ("file", "environment", "content") if value.child(key)]
        if len(given) != 1:
            value.fail(
                "its content is elsewhere" if not given else f"has {' and '.join(given)}",
                "give it one of file, environment and content",
            )
        source = value.child(given[0])
        match given[0]:
            case "file":
                path = source.text()
                if not self._reader.exists(path):
                    source.fail(f"there is no file {path}", "make it, or name another")
                return self._reader.content(path)
            case "environment":
                found = lookup(source.text())
                if found is None:
                    source.fail(
                        f"variable {source.text()} is not set", "set it in the environment or .env"
                    )
                return found.encode("utf-8", "surrogateescape")
            case _:
                return source.text().encode()

    def _external(self, value: Value, lookup: Callable[[str], str | None]) -> bytes:
        """What Docker or Uffizzi would keep is taken from the environment."""
        name = value.child("name").text(str(value.path[-1]))
        found = lookup(name)
        if found is None:
            value.fail(
                f"is external, and variable {name} is not set",
                f"set {name} in the environment or .env, or give it file or content",
            )
        return found.encode("utf-8", "surrogateescape")

    def _object(self, kind: str, key: str, wanted: str, at: Value) -> Object:
        """The object for that entry of the project, made when first asked for."""
        if (kind, key) in self._objects:
            return self._objects[kind, key]
        name = Value(wanted, at.path, at.places).label()
        for (other_kind, other), item in self._objects.items():
            if other_kind == kind and item["metadata"]["name"] == name:
                at.fail(f"{key!r} and {other!r} are both called {name} here", "rename one of them")
        self._objects[kind, key] = {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name},
        }
        return self._objects[kind, key]


def _data(kind: str, content: bytes) -> Object:
    encoded = base64.b64encode(content).decode()
    if kind == "Secret":
        return {"data": {"content": encoded}}
    try:
        return {"data": {"content": content.decode()}}
    except UnicodeDecodeError:
        return {"binaryData": {"content": encoded}}
