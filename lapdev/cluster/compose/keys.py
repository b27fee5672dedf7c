"""Which keys a Compose project may have, and which of them mean nothing to processes in one pod."""

from __future__ import annotations

TOP_LEVEL = frozenset(
    {"name", "version", "services", "networks", "volumes", "configs", "secrets", "include"}
    | {"models"}
)

SERVICE = frozenset(
    {"build", "command", "configs", "container_name", "cpus", "depends_on", "deploy"}
    | {"entrypoint", "env_file", "environment", "expose", "extends", "extra_hosts", "healthcheck"}
    | {"hostname", "image", "labels", "links", "mem_limit", "mem_reservation", "networks"}
    | {"ports", "post_start", "pre_stop", "profiles", "restart", "scale", "secrets"}
    | {"stop_grace_period", "stop_signal", "tmpfs", "volumes", "volumes_from", "working_dir"}
)
"""Keys that something is made of."""

SILENT = frozenset(
    {"annotations", "attach", "develop", "init", "logging", "platform", "pull_policy"}
    | {"pull_refresh_after", "stdin_open", "tty", "dns_opt", "labels_file", "label_file"}
)
"""Keys that make no difference that anybody would miss here."""

IGNORED = frozenset(
    {"blkio_config", "cap_add", "cap_drop", "cgroup", "cgroup_parent", "cpu_count", "cpu_percent"}
    | {"cpu_shares", "cpu_quota", "cpu_period", "cpu_rt_period", "cpu_rt_runtime", "cpuset"}
    | {"credential_spec", "device_cgroup_rules", "devices", "dns", "dns_search", "domainname"}
    | {"external_links", "gpus", "group_add", "ipc", "isolation", "mac_address", "memswap_limit"}
    | {"mem_swappiness", "models", "network_mode", "oom_kill_disable", "oom_score_adj", "pid"}
    | {"pids_limit", "privileged", "provider", "read_only", "runtime", "security_opt", "shm_size"}
    | {"storage_opt", "sysctls", "ulimits", "use_api_socket", "user", "userns_mode", "uts"}
    | {"post_stop", "pre_start"}
)
"""Keys whose loss somebody may notice: they are said in a note."""

EXTENSION = ("command", "one-time", "http", "tcp", "path", "host")
"""Of a service's `x-lapdev`."""
