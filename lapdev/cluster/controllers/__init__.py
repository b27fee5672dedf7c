"""What each kind of workload does next: the pods there are go in, a step comes out.

Pure: no clock, no process, no task. A controller is asked again after every change and at the time
it named itself; between two questions it remembers only what its pods cannot tell any more, such
as how many runs of a Job are done.
"""

from lapdev.cluster.controllers.choice import Controller, controller_for
from lapdev.cluster.controllers.job import DoneJob, JobController
from lapdev.cluster.controllers.step import Moment, Outcome, Seen, Start, Step
from lapdev.cluster.controllers.template import (
    OWN_LABELS,
    check_runnable,
    has_fixed_name,
    pod_hostname,
    pod_name,
    pod_subdomain,
    pod_workload,
)

__all__ = [
    "OWN_LABELS",
    "Controller",
    "DoneJob",
    "JobController",
    "Moment",
    "Outcome",
    "Seen",
    "Start",
    "Step",
    "check_runnable",
    "controller_for",
    "has_fixed_name",
    "pod_hostname",
    "pod_name",
    "pod_subdomain",
    "pod_workload",
]
