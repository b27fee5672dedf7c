"""What the cloud may reach in a namespace, by the names users know. Pure."""

from __future__ import annotations

from lapdev.errors import NoRoute, NotReady
from lapdev.manager.plan import NamespacePlan, Place
from lapdev.model import EnvironmentId


def check_port(plan: NamespacePlan, service: str, port: int) -> None:
    """Returns if the base has such a service port.

    Raises:
        NoRoute: it has not; says what there is.
    """
    for known in plan.services:
        if known.name != service:
            continue
        if known.external_name:
            raise NoRoute(f"service {service} is another name for {known.external_name}")
        if any(declared.port == port for declared in known.ports):
            return
        ports = ", ".join(str(declared.port) for declared in known.ports)
        raise NoRoute(f"service {service} has no port {port}", hint=f"it has {ports}")
    raise NoRoute(f"namespace {plan.spec.name} has no service {service}")


def find_workload(
    plan: NamespacePlan, environment: EnvironmentId, workload: str, container: str
) -> str:
    """The spec's name for a workload that runs here.

    Raises:
        NotReady: nothing of the environment runs; says why, if something is wrong with it.
        NoRoute: there is no such workload, or container in it; says what there is.
    """
    if environment not in plan.names:
        problem = plan.problems.get(environment, "the environment is being started")
        raise NotReady(problem, hop="manager")
    place = Place(environment, workload)
    # A refusal travels without its hint: what there is, is said in its detail.
    if place not in plan.places:
        names = [known.workload for known in plan.places if known.environment == environment]
        raise NoRoute(
            f"environment {plan.names[environment]} runs no workload {workload}; it runs "
            f"{', '.join(names) or 'none'}",
            hop="manager",
        )
    containers = [known.name for known in plan.facts[place].pod.all_containers()]
    if container and container not in containers:
        raise NoRoute(
            f"workload {workload} has no container {container}; it has {', '.join(containers)}",
            hop="manager",
        )
    return plan.places[place]
