"""What the kernel's files say about memory, in trees made for the purpose."""

from __future__ import annotations

from pathlib import Path

from lapdev.net.memory_limit import memory_limit

MEMINFO = "MemTotal:        8000000 kB\nMemFree:         100 kB\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_a_control_group_it_is_the_machines_memory(tmp_path: Path) -> None:
    assert memory_limit(tree(tmp_path, {"proc/meminfo": MEMINFO})) == 8_000_000 * 1024


def test_where_nothing_is_known_it_is_zero(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == 0


def test_the_least_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/pods/one\n",
        "sys/fs/cgroup/pods/one/memory.max": "max\n",
        "sys/fs/cgroup/pods/memory.max": "268435456\n",
    }
    assert memory_limit(tree(tmp_path, files)) == 268_435_456


def test_a_container_sees_its_own_group_at_the_mounts_top(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "0::/kubepods/of/the/host\n",
        "sys/fs/cgroup/memory.max": "536870912\n",
    }
    assert memory_limit(tree(tmp_path, files)) == 536_870_912


def test_version_one_is_read_too_and_its_word_for_unlimited_known(tmp_path: Path) -> None:
    files = {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": "4:memory:/job\n1:cpu:/\n0::/\n",
        "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "134217728\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    assert memory_limit(tree(tmp_path, files)) == 134_217_728


def test_this_machine_has_a_limit() -> None:
    assert memory_limit() > 0
