"""Whole projects, shaped after public ones: what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from lapdev.errors import ConfigError
from tests.cluster.compose.projects import (
    FOLDER,
    accepted,
    container,
    env_of,
    hosts,
    of_kind,
    one,
    parsed_container,
    pod_spec,
    project,
)

VOTES = """
    # docker/example-voting-app
    services:
      vote:
        build:
          context: ./vote
          target: dev
        depends_on:
          redis:
            condition: service_healthy
        healthcheck:
          test: ["CMD", "curl", "-f", "http://localhost"]
          interval: 15s
          timeout: 5s
          retries: 3
          start_period: 10s
        volumes:
         - ./vote:/usr/local/app
        ports:
          - "8080:80"
        networks:
          - front-tier
          - back-tier
      result:
        build: ./result
        # use nodemon rather than node for local dev
        entrypoint: nodemon --inspect=0.0.0.0 server.js
        depends_on:
          db:
            condition: service_healthy
        volumes:
          - ./result:/usr/local/app
        ports:
          - "8081:81"
          - "127.0.0.1:9229:9229"
        networks: [front-tier, back-tier]
      worker:
        build:
          context: ./worker
        command: dotnet Worker.dll
        depends_on:
          redis:
            condition: service_healthy
          db:
            condition: service_healthy
        networks:
          - back-tier
      redis:
        image: redis:alpine
        x-lapdev: {command: redis-server}
        volumes:
          - "./healthchecks:/healthchecks"
        healthcheck:
          test: /healthchecks/redis.sh
          interval: "5s"
        networks:
          - back-tier
      db:
        image: postgres:15-alpine
        x-lapdev: {command: ["sh", "start-postgres.sh"]}
        environment:
          POSTGRES_USER: "postgres"
          POSTGRES_PASSWORD: "postgres"
        volumes:
          - "db-data:/var/lib/postgresql/data"
          - "./healthchecks:/healthchecks"
        healthcheck:
          test: /healthchecks/postgres.sh
          interval: "5s"
        networks:
          - back-tier
      seed:
        build: ./seed-data
        profiles: ["seed"]
        depends_on:
          vote:
            condition: service_healthy
        restart: "no"
    volumes:
      db-data:
    networks:
      front-tier:
      back-tier:
    """
VOTE_DOCKERFILE = """
    FROM python:3.11-slim AS base
    RUN apt-get update && \\
        apt-get install -y --no-install-recommends curl && \\
        rm -rf /var/lib/apt/lists/*
    WORKDIR /usr/local/app
    COPY requirements.txt ./requirements.txt
    FROM base AS dev
    RUN pip install watchdog
    ENV FLASK_ENV=development
    CMD ["python", "app.py"]
    FROM base AS final
    COPY . .
    EXPOSE 80
    CMD ["gunicorn", "app:app", "-b", "0.0.0.0:80"]
    """
VOTE_FILES = {
    "vote/Dockerfile": VOTE_DOCKERFILE,
    "result/server.js": "",
    "healthchecks/redis.sh": "",
}


def test_the_voting_app_is_one_pod_whose_databases_come_first() -> None:
    found = project(VOTES, files=VOTE_FILES)
    (workload,) = accepted(found).workloads
    assert workload.name == "shop"
    assert [c.name for c in workload.pod.init_containers] == ["redis", "db"]
    assert [c.name for c in workload.pod.containers] == ["vote", "result", "worker"]
    assert one(found, "Deployment")["metadata"]["annotations"] == {"lapdev.dev/update": "in-place"}


def test_the_voting_app_runs_in_its_sources_what_its_dockerfile_says() -> None:
    vote = container(project(VOTES, files=VOTE_FILES), "vote")
    assert vote["command"] == ["python", "app.py"]
    assert vote["workingDir"] == f"{FOLDER}/vote"
    assert env_of(vote) == {"FLASK_ENV": "development"}


def test_the_voting_app_has_a_url_for_each_published_http_port() -> None:
    assert hosts(project(VOTES, files=VOTE_FILES)) == {
        "vote": {"/": ("vote", 80)},
        "result": {"/": ("result", 81)},
        "result-9229": {"/": ("result", 9229)},
    }


def test_every_service_is_localhost_to_every_other() -> None:
    (aliases,) = pod_spec(project(VOTES, files=VOTE_FILES))["hostAliases"]
    assert aliases["ip"] == "127.0.0.1"
    assert aliases["hostnames"] == ["db", "redis", "result", "seed", "vote", "worker"]


def test_the_voting_apps_seed_job_waits_for_the_votes_page() -> None:
    found = project(
        VOTES,
        files=VOTE_FILES | {"seed-data/Dockerfile": "FROM x\nCMD ./seed.sh"},
        profiles=["seed"],
    )
    (workload,) = accepted(found).workloads
    assert [c.name for c in workload.pod.init_containers] == ["redis", "vote", "db"]
    assert [c.name for c in workload.pod.containers] == ["result", "worker", "seed"]
    assert container(found, "seed")["restartPolicy"] == "Never"


def test_networks_and_what_else_has_no_meaning_is_told() -> None:
    notes = project(VOTES, files=VOTE_FILES).notes
    assert "networks are ignored: all services share one localhost" in notes


WORDPRESS = """
    # docker/awesome-compose: wordpress-mysql
    services:
      db:
        image: mariadb:10.6.4-focal
        command: '--default-authentication-plugin=mysql_native_password'
        volumes:
          - db_data:/var/lib/mysql
        restart: always
        environment:
          - MYSQL_ROOT_PASSWORD=somewordpress
          - MYSQL_DATABASE=wordpress
        expose:
          - 3306
          - 33060
      wordpress:
        image: wordpress:latest
        volumes:
          - wp_data:/var/www/html
        ports:
          - 80:80
        restart: always
        environment:
          - WORDPRESS_DB_HOST=db
          - WORDPRESS_DB_PASSWORD=${DB_PASSWORD:?set it}
    volumes:
      db_data:
      wp_data:
    """


def test_an_image_without_a_command_is_refused_with_the_line_to_add() -> None:
    with pytest.raises(ConfigError) as caught:
        project(WORDPRESS, environ={"DB_PASSWORD": "x"})
    assert caught.value.detail.startswith("compose.yaml:5: services.db: ")
    assert "'db', 'wordpress' have no command" in caught.value.detail
    assert "db: x-lapdev: {command: " in caught.value.hint
    assert "mariadbd" in caught.value.hint


def test_wordpress_runs_with_commands_of_this_machine() -> None:
    text = WORDPRESS.replace(
        "mariadb:10.6.4-focal", "mariadb:10.6.4-focal\n        x-lapdev: {command: mariadbd}"
    ).replace("wordpress:latest", "wordpress\n        x-lapdev: {command: 'php -S 0.0.0.0:80'}")
    found = project(text, environ={"DB_PASSWORD": "x"})
    assert hosts(found) == {"wordpress": {"/": ("wordpress", 80)}}
    assert container(found, "wordpress")["restartPolicy"] == "Always"
    assert env_of(container(found, "wordpress"))["WORDPRESS_DB_PASSWORD"] == "x"
    claims = {item["metadata"]["name"] for item in of_kind(found, "PersistentVolumeClaim")}
    assert claims == {"db-data", "wp-data"}
    # Nothing waits for the database, so nothing is held up by it.
    assert "initContainers" not in pod_spec(found)


FLASK_REDIS = """
    # Docker's own "Compose quickstart"
    services:
      web:
        build: .
        ports:
          - "8000:5000"
        volumes:
          - .:/code
        environment:
          FLASK_DEBUG: "true"
      redis:
        image: "redis:alpine"
        command: redis-server
    """
FLASK_DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM python:3.10-alpine
WORKDIR /code
ENV FLASK_APP=app.py
ENV FLASK_RUN_HOST=0.0.0.0
RUN apk add --no-cache gcc musl-dev linux-headers
COPY requirements.txt requirements.txt
RUN pip install -r requirements.txt
EXPOSE 5000
COPY . .
CMD ["flask", "run", "--debug"]
"""


def test_dockers_quickstart_runs_in_the_folder_it_mounts() -> None:
    found = project(FLASK_REDIS, files={"Dockerfile": FLASK_DOCKERFILE, "app.py": ""})
    web = parsed_container(found, "web")
    assert web.command == ("flask", "run", "--debug")
    assert web.working_dir == FOLDER
    assert [mount.path for mount in web.mounts] == ["/code"]
    assert web.tcp_ports() == (5000,)
    assert env_of(container(found, "web")) == {
        "FLASK_APP": "app.py",
        "FLASK_RUN_HOST": "0.0.0.0",
        "FLASK_DEBUG": "true",
    }
    assert found.files == (f"{FOLDER}/Dockerfile",)


MIGRATIONS = """
    name: tracker
    services:
      web:
        build: .
        ports: ["3000"]
        depends_on:
          migrate: {condition: service_completed_successfully}
          db: {condition: service_healthy}
      migrate:
        build: .
        command: ["./manage.py", "migrate"]
        depends_on:
          db: {condition: service_healthy}
      db:
        image: postgres
        command: postgres
        healthcheck: {test: pg_isready, interval: 10s, start_period: 1m30s}
      cleanup:
        build: .
        command: ./manage.py cleanup
        x-lapdev: {one-time: true}
    """


def test_a_migration_runs_to_its_end_between_the_database_and_the_app() -> None:
    found = project(MIGRATIONS, files={"Dockerfile": "FROM x\nEXPOSE 3000\nCMD ./manage.py serve"})
    (workload,) = accepted(found).workloads
    assert [c.name for c in workload.pod.init_containers] == ["db", "migrate"]
    assert container(found, "db")["restartPolicy"] == "Always"
    assert "restartPolicy" not in container(found, "migrate")
    assert "ports" not in container(found, "migrate")
    assert container(found, "cleanup")["restartPolicy"] == "OnFailure"
    assert hosts(found) == {"web": {"/": ("web", 3000)}}


def test_two_services_on_one_port_are_refused_by_both_names() -> None:
    with pytest.raises(ConfigError) as caught:
        project(
            """
            services:
              web: {command: serve, ports: ["8080:80"]}
              admin: {command: serve, ports: ["8081:80"]}
            """
        )
    assert caught.value.detail == (
        "compose.yaml:4: services.admin.ports[0]: services 'web' and 'admin' both listen on port 80"
    )
    assert "share localhost" in caught.value.hint
    assert "compose.yaml:3" in caught.value.hint


def test_one_port_published_twice_is_no_clash() -> None:
    found = project(
        """
        services:
          web: {command: serve, ports: ["8080:80"]}
          admin: {command: serve, ports: ["8080:81"]}
        """
    )
    assert set(hosts(found)) == {"web", "admin"}


def test_one_dockerfiles_port_counts_for_the_service_that_runs_its_command() -> None:
    found = project(
        """
        services:
          web: {build: .}
          worker: {build: ., command: work}
        """,
        files={"Dockerfile": "FROM x\nEXPOSE 8000\nCMD serve"},
    )
    assert parsed_container(found, "web").tcp_ports() == (8000,)
    assert parsed_container(found, "worker").tcp_ports() == ()


def test_the_project_is_called_what_it_says_or_as_its_folder() -> None:
    one_service = "services: {web: {command: serve}}"
    assert project(one_service).name == "shop"
    assert project(f"name: My_App\n{one_service}").name == "my-app"
    assert project(one_service, environ={"COMPOSE_PROJECT_NAME": "other"}).name == "other"
    assert project("name: ${N:-x}\n" + one_service, files={".env": "N=from-env"}).name == "from-env"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {}", "services: there is no service"),
        ("name: x", "services: there is no service"),
        ("services: {web: 1}", "services.web: is a number, not a mapping"),
        ("services: {web: {comand: x}}", "services.web.comand: there is no such key"),
        ("servcies: {}", "servcies: there is no such key"),
        ("services: {web: {command: x, profiles: [a]}}", "no service is active"),
        ("services: {web: {command: x, scale: 2}}", "more than one container"),
        ("services: {web: {command: x, deploy: {replicas: 3}}}", "more than one container"),
        ("services: {a_b: {command: x}, a-b: {command: x}}", "both called a-b"),
        ("services: {web: {command: x, volumes: ['data:/data']}}", "no volume 'data'"),
        ("services: {web: {command: x, secrets: [key]}}", "no secret 'key'"),
        ("services: {web: {image: redis}}", "has no command to run"),
        ("- a", "is a list, not a mapping"),
        ("a: 1\n---\nb: 1", "holds 2 YAML documents"),
        ("", "holds 0 YAML documents"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        project(text)
    assert caught.value.detail.startswith("compose.yaml")
    assert problem in caught.value.detail
    assert caught.value.hint


def test_the_nearest_known_key_is_suggested() -> None:
    with pytest.raises(ConfigError) as caught:
        project("services:\n  web:\n    comand: x\n")
    assert caught.value.detail == "compose.yaml:3: services.web.comand: there is no such key"
    assert caught.value.hint == "did you mean 'command'?"


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ('services: {web: {command: "x \\ud800"}}', {}),
        ("services: {web: {build: .}}", {"files": {"Dockerfile": 'FROM x\nCMD ["\\ud800"]'}}),
        ("services: {web: {command: x, environment: [A]}}", {"environ": {"A": "\udcff"}}),
    ],
)
def test_what_no_program_can_be_handed_is_refused(text: str, given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="half a character") as caught:
        project(text, **given)
    assert caught.value.hint
