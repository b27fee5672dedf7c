"""What runs in place of an image, and where."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.cluster.manifests import expand
from lapdev.errors import ConfigError
from tests.cluster.compose.projects import FOLDER, env_of, parsed_container, project, service

DOCKERFILE = """\
FROM x
WORKDIR /app
ENV PATH=/opt/bin:$PATH APP_HOME=/app PYTHONPATH=/app/lib
ENTRYPOINT ["./entry.sh"]
CMD ["python", "/app/main.py", "/app/gone"]
"""
FILES = {"src/Dockerfile": DOCKERFILE, "src/main.py": "", "src/lib/x": "", "Dockerfile": DOCKERFILE}


def words(text: str, **given: Any) -> list[str]:
    found: list[str] = service(text, files=FILES, **given)["command"]
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: serve --port 80", ["serve", "--port", "80"]),
        ("command: [serve, '80']", ["serve", "80"]),
        ("entrypoint: run\ncommand: [a]", ["run", "a"]),
        ("build: ./src", ["./entry.sh", "python", f"{FOLDER}/src/main.py", "/app/gone"]),
        ("build: ./src\ncommand: work", ["./entry.sh", "work"]),
        ("build: ./src\nentrypoint: run", ["run"]),
        ("build: ./src\nentrypoint: []\ncommand: run", ["run"]),
        ("build: ./src\nx-lapdev: {command: 'npm start'}", ["npm", "start"]),
        ("image: redis\ncommand: --save ''\nx-lapdev: {command: redis-server}", ["redis-server"]),
        ('build: {dockerfile_inline: "FROM x\\nCMD serve"}', ["/bin/sh", "-c", "serve"]),
        ("build: {context: 'https://x/y.git'}\ncommand: x", ["x"]),
    ],
)
def test_the_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_shell_entry_point_takes_no_arguments() -> None:
    found = service("build: .", files={"Dockerfile": "FROM x\nENTRYPOINT run\nCMD no"})
    assert found["command"] == ["/bin/sh", "-c", "run"]


def test_what_a_manifest_would_expand_stays_as_it_is() -> None:
    found = service("command: [sh, -c, 'echo $$(hostname) $$$$']\nenvironment: {A: $$(hostname)}")
    known = {"hostname": "no"}
    assert [expand(word, known) for word in found["command"]][-1] == "echo $(hostname) $$"
    assert expand(env_of(found)["A"], known) == "$(hostname)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("command: x", FOLDER),
        ("command: x\nworking_dir: sub", f"{FOLDER}/sub"),
        ("command: x\nworking_dir: /srv/x", "/srv/x"),
        ("command: x\nworking_dir: /app/sub\nvolumes: ['./code:/app']", f"{FOLDER}/code/sub"),
        ("command: x\nworking_dir: /data/x\nvolumes: ['data:/data']", "/data/x"),
        ("build: ./src", f"{FOLDER}/src"),
        ("build: ./src\nworking_dir: /app/lib", f"{FOLDER}/src/lib"),
        ("build: ./src\nworking_dir: /elsewhere", f"{FOLDER}/src"),
        ("build: ./src\nvolumes: ['./code:/app']", f"{FOLDER}/code"),
        ("build: ./src\nvolumes: ['data:/app']", f"{FOLDER}/src"),
    ],
)
def test_the_folder(text: str, expected: str) -> None:
    found = project(
        "services:\n  web:\n    " + text.replace("\n", "\n    ") + "\nvolumes: {data: }\n",
        files=FILES,
    )
    assert parsed_container(found, "web").working_dir == expected


def test_the_dockerfiles_variables_hide_nothing_of_this_machine() -> None:
    found = env_of(service("build: ./src\nenvironment: {APP_MODE: x}", files=FILES))
    assert found == {
        "APP_HOME": f"{FOLDER}/src",
        "PYTHONPATH": f"{FOLDER}/src/lib",
        "APP_MODE": "x",
    }


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        ("image: redis:7", "no command to run on this machine (image 'redis:7'", "redis-server"),
        ("image: acme/x", "no command to run", "x-lapdev: {command:"),
        ("build: ./nowhere", "no command to run", "x-lapdev: {command:"),
        ("image: redis\ncommand: --save x", "'--save' is an argument", "redis-server --save x"),
        ("command: ''", "no command", "x-lapdev"),
        ("x-lapdev: {command: ''}", "is empty", "what to run"),
    ],
)
def test_a_service_without_a_command_is_told_what_to_add(
    text: str, problem: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        words(text)
    assert problem in caught.value.detail
    assert hint in caught.value.hint


def test_a_dockerfile_that_is_not_there_is_told() -> None:
    found = project("services: {web: {build: ./nowhere, command: x}}")
    assert any("nowhere/Dockerfile" in note for note in found.notes)


def test_all_services_without_a_command_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        project("services: {db: {image: 'redis:7'}, web: {build: .}, api: {command: x}}")
    assert caught.value.detail == (
        "compose.yaml:1: services.db: services 'db', 'web' have no command to run on this machine"
        " (images are not run)"
    )
    assert caught.value.hint == (
        'add x-lapdev to the services: db: x-lapdev: {command: "redis-server --protected-mode no"};'
        ' web: x-lapdev: {command: "what to run"}'
    )
