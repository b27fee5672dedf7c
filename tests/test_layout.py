"""The budgets of the house: sizes, names, doors, owners of tasks, and a test file per module."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.needs import PROJECT

PACKAGE = PROJECT / "lapdev"
FILE_LINES = 500
COMPOSITION_LINES = 250
COMPOSITION_ROOTS = ("app.py", "edge.py")
MEDIAN_FILE_LINES = 150
FUNCTION_LINES = 80
MEDIAN_FUNCTION_LINES = 10
PARAMETERS = 6
UNTESTED_LINES = 40
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base"}

COVERED_BY = {
    # Contracts and plain values, exercised by everything that uses them.
    "lapdev/errors.py": "tests/test_layout.py",
    "lapdev/model.py": "tests/wire/test_control.py",
    "lapdev/setting_values.py": "tests/test_settings.py",
    "lapdev/cluster/driver.py": "tests/cluster",
    "lapdev/cluster/compose/service.py": "tests/cluster/compose/test_reading.py",
    "lapdev/cluster/controllers/choice.py": "tests/cluster/controllers",
    "lapdev/cluster/controllers/step.py": "tests/cluster/controllers",
    "lapdev/cluster/manifests/container.py": "tests/cluster/manifests/test_container_parts.py",
    "lapdev/cluster/manifests/workload.py": "tests/cluster/manifests/test_workload_parts.py",
    "lapdev/wire/http1/events.py": "tests/wire/http1",
    "lapdev/net/exchange.py": "tests/net/test_http_server.py",
    "lapdev/net/http_connection.py": "tests/net/test_http_server.py",
    "lapdev/net/http_client.py": "tests/net/test_proxy.py",
    "lapdev/cloud/app.py": "tests/cloud/test_edge.py",
    "lapdev/cloud/hub.py": "tests/cloud/test_edge.py",
    "lapdev/cloud/metrics.py": "tests/e2e/test_take_over.py",
    "lapdev/cloud/gate.py": "tests/cloud/test_devices.py",
    "lapdev/cloud/pairing.py": "tests/cloud/test_devices.py",
    "lapdev/cloud/upstreams.py": "tests/cloud/test_edge_tunnels.py",
    "lapdev/wire/mux/events.py": "tests/wire/mux",
    "lapdev/tunnel/handler.py": "tests/tunnel",
    "lapdev/devbox/outlet.py": "tests/devbox/test_session.py",
    "lapdev/demo/apps/page.py": "tests/demo/apps/test_web.py",
    "lapdev/demo/command.py": "tests/e2e/test_demo_json.py",
    "lapdev/demo/stage.py": "tests/e2e/test_demo_json.py",
    "lapdev/demo/checks/faults.py": "tests/e2e/test_demo_check.py",
    "lapdev/demo/checks/intercepts.py": "tests/e2e/test_demo_check.py",
    "lapdev/demo/checks/interleaving.py": "tests/e2e/test_demo_check.py",
    "lapdev/demo/checks/laptop.py": "tests/e2e/test_demo_check.py",
    "lapdev/demo/checks/scene.py": "tests/e2e/test_demo_check.py",
    "lapdev/demo/checks/streaming.py": "tests/e2e/test_demo_check.py",
    "lapdev/store/migrations/versions/v0001_first_tables.py": "tests/store/test_migrate.py",
    "lapdev/store/migrations/versions/v0002_kinds_of_previews.py": "tests/store/test_migrate.py",
}
"""Module → the test, or the folder of tests, that covers it in place of its own file."""


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if "__pycache__" not in p.parts)


def name_of(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines_of(path: Path) -> int:
    return path.read_text(encoding="utf-8").count("\n")


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, Function):
            yield node


def function_lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_no_file_is_too_long() -> None:
    long = {}
    for path in [*modules(), *(PROJECT / "tests").rglob("*.py")]:
        limit = COMPOSITION_LINES if path.name in COMPOSITION_ROOTS else FILE_LINES
        if lines_of(path) > limit:
            long[name_of(path)] = f"{lines_of(path)} lines, {limit} allowed"
    assert not long


def test_the_median_file_and_function_are_short() -> None:
    files = [lines_of(path) for path in modules() if path.name != "__init__.py"]
    bodies = [function_lines(f) for path in modules() for f in functions(path)]
    assert statistics.median(files) <= MEDIAN_FILE_LINES
    assert statistics.median(bodies) <= MEDIAN_FUNCTION_LINES


def test_no_function_is_too_long() -> None:
    long = [
        f"{name_of(path)}:{function.lineno} {function.name}: {function_lines(function)} lines"
        for path in modules()
        for function in functions(path)
        if function_lines(function) > FUNCTION_LINES
    ]
    assert not long


def is_command(function: Function) -> bool:
    """A click command: its parameters are its options."""
    names = [ast.unparse(decorator).partition("(")[0] for decorator in function.decorator_list]
    return any(name.endswith((".command", ".group", ".option", ".argument")) for name in names)


def parameters(function: Function) -> list[str]:
    given = function.args
    names = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return names[1:] if names and names[0] in ("self", "cls") else names


def test_no_function_takes_too_many_parameters() -> None:
    many = [
        f"{name_of(path)}:{function.lineno} {function.name}({', '.join(parameters(function))})"
        for path in modules()
        for function in functions(path)
        if len(parameters(function)) > PARAMETERS and not is_command(function)
    ]
    assert not many, "a missing dataclass"


def test_no_name_means_nothing() -> None:
    bad = [
        name_of(path)
        for path in modules()
        if BANNED_NAMES & {part.removesuffix(".py") for part in path.relative_to(PACKAGE).parts}
    ]
    bad += [
        f"{name_of(path)}:{node.lineno} class {node.name}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
        and (node.name.lower() in BANNED_NAMES or node.name == "Manager")
    ]
    assert not bad


def test_every_module_says_what_lives_in_it() -> None:
    silent = [name_of(path) for path in modules() if not ast.get_docstring(tree_of(path))]
    assert not silent


def test_a_room_is_entered_by_a_door_and_nothing_else() -> None:
    """An `__init__` holds a docstring, imports, and names: no code."""
    furnished = []
    for path in modules():
        if path.name != "__init__.py":
            continue
        for node in tree_of(path).body[1:]:
            constant = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in (
                "__all__",
                "__version__",
            )
            if not constant and not isinstance(node, (ast.Import, ast.ImportFrom)):
                furnished.append(f"{name_of(path)}:{node.lineno}")
    assert not furnished


def starts_task(call: ast.Call) -> bool:
    """`asyncio.create_task`, `loop.create_task` and their like; a TaskGroup owns its tasks."""
    if not isinstance(call.func, ast.Attribute):
        return isinstance(call.func, ast.Name) and call.func.id in ("create_task", "ensure_future")
    if call.func.attr not in ("create_task", "ensure_future"):
        return False
    receiver = ast.unparse(call.func.value).lower()
    return receiver == "asyncio" or "loop" in receiver


def test_tasks_are_started_in_one_place_only() -> None:
    elsewhere = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        if path != PACKAGE / "net" / "tasks.py"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and starts_task(node)
    ]
    assert not elsewhere


def test_no_exception_is_swallowed_by_a_bare_pass() -> None:
    swallowed = [
        f"{name_of(path)}:{node.lineno}"
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ExceptHandler)
        and all(isinstance(statement, ast.Pass) for statement in node.body)
    ]
    assert not swallowed


def test_every_module_has_its_tests() -> None:
    missing = []
    for path in modules():
        name = name_of(path)
        if path.name.startswith("__") or lines_of(path) < UNTESTED_LINES:
            continue
        own = PROJECT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.name}"
        if not own.exists() and not covered_elsewhere(name):
            missing.append(name)
    assert not missing


def covered_elsewhere(name: str) -> bool:
    return name in COVERED_BY and (PROJECT / COVERED_BY[name]).exists()


def test_every_test_folder_is_a_package() -> None:
    folders = {path.parent for path in (PROJECT / "tests").rglob("test_*.py")}
    assert not [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()]


@pytest.mark.parametrize("listed", sorted(COVERED_BY))
def test_what_is_listed_as_covered_elsewhere_exists(listed: str) -> None:
    assert (PROJECT / listed).exists()


def test_every_error_states_its_facts() -> None:
    from lapdev import errors

    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.LapdevError)
    ]
    for cls in classes:
        error = cls()
        assert error.detail == (cls.__doc__ or "").split("\n", 1)[0]
        assert 400 <= cls.status < 600
        assert cls.cause.replace("_", "").isalpha()
    causes = [cls.cause for cls in classes]
    inherited = {cls for cls in classes if "cause" not in vars(cls)}
    assert len(set(causes)) == len(classes) - len(inherited)
