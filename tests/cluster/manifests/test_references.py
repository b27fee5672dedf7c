"""What objects say about each other."""

from __future__ import annotations

import pytest

from lapdev.cluster.manifests import (
    ConfigFiles,
    ConfigKey,
    ConfigObject,
    Container,
    ContainerPort,
    EnvFrom,
    EnvVar,
    IngressHost,
    Manifests,
    PodTemplate,
    Projected,
    Volume,
    Workload,
    check_references,
    refers_to,
)
from lapdev.errors import ConfigError
from lapdev.model import PathRoute, Service, ServicePort

WHERE = 'Deployment/api: spec.template.spec.containers[0] "web"'
CONF = ConfigObject("ConfigMap", "conf", {"a": b"1", "b": b"2"})
API = Service("api", {"app": "api"}, (ServicePort(80, "http"),))


def workload(
    env: tuple[EnvVar, ...] = (),
    env_from: tuple[EnvFrom, ...] = (),
    files: tuple[ConfigFiles, ...] = (),
) -> Workload:
    ports = (ContainerPort(8080, "http"), ContainerPort(9090))
    web = Container("web", WHERE, env=env, env_from=env_from, ports=ports)
    volumes = (Volume("files", Projected(files)),) if files else ()
    return Workload("api", PodTemplate((web,), volumes=volumes, labels={"app": "api"}))


def key(name: str, entry: str, *, optional: bool = False) -> tuple[EnvVar, ...]:
    return (EnvVar("A", key=ConfigKey("ConfigMap", name, entry, optional)),)


def test_everything_a_pod_refers_to_is_known() -> None:
    pod = workload(
        key("conf", "a"), (EnvFrom("Secret", "keys"),), (ConfigFiles("ConfigMap", "files"),)
    ).pod
    assert refers_to(pod) == {("ConfigMap", "conf"), ("Secret", "keys"), ("ConfigMap", "files")}


@pytest.mark.parametrize(
    "fine",
    [
        workload(key("conf", "a"), (EnvFrom("ConfigMap", "conf"),)),
        workload(key("conf", "none", optional=True)),
        workload(key("none", "a", optional=True)),
        workload(env_from=(EnvFrom("Secret", "none", optional=True),)),
        workload(files=(ConfigFiles("ConfigMap", "conf", (("b", "b.txt", None),)),)),
        workload(files=(ConfigFiles("Secret", "none", optional=True),)),
    ],
)
def test_what_is_there_or_may_be_missing_is_fine(fine: Workload) -> None:
    check_references(Manifests((fine,), (API,), (CONF,)))


@pytest.mark.parametrize(
    ("wrong", "complaint", "hint"),
    [
        (
            workload(key("none", "a")),
            f"{WHERE}: A: refers to ConfigMap/none, which is not there",
            "(there are: conf)",
        ),
        (
            workload(key("conf", "c")),
            f"{WHERE}: A: ConfigMap/conf has no key 'c'",
            "keys are: a, b",
        ),
        (
            workload(env_from=(EnvFrom("Secret", "conf"),)),
            f"{WHERE}: envFrom: refers to Secret/conf",
            "mark the reference `optional: true`",
        ),
        (
            workload(files=(ConfigFiles("ConfigMap", "conf", (("x", "x", None),)),)),
            "Deployment/api: volume files: ConfigMap/conf has no key 'x'",
            "keys are: a, b",
        ),
    ],
)
def test_what_is_missing_is_named_with_who_needs_it(
    wrong: Workload, complaint: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_references(Manifests((wrong,), (), (CONF,)))
    assert caught.value.detail.startswith(complaint)
    assert hint in caught.value.hint


def test_a_target_port_by_name_is_a_containers() -> None:
    wrong = Service("api", {"app": "api"}, (ServicePort(80, "web"),))
    with pytest.raises(ConfigError, match=r"port 80 leads to 'web'.* of Deployment/api") as caught:
        check_references(Manifests((workload(),), (wrong,)))
    assert "one of: http" in caught.value.hint
    check_references(Manifests((), (wrong,)))


@pytest.mark.parametrize(
    ("route", "complaint"),
    [
        (PathRoute("/", "none", 80), "there is no Service none"),
        (PathRoute("/", "api", 81), "Service api has no port 81"),
        (PathRoute("/x", "far", 80), "path /x: Service far is an ExternalName"),
    ],
)
def test_an_ingress_leads_to_a_service_port(route: PathRoute, complaint: str) -> None:
    services = (API, Service("far", {}, (), external_name="example.com"))
    with pytest.raises(ConfigError, match=complaint):
        check_references(
            Manifests((workload(),), services, ingresses=(IngressHost("shop", (route,)),))
        )
    check_references(
        Manifests((), services, ingresses=(IngressHost("shop", (PathRoute("/", "api", 80),)),))
    )
