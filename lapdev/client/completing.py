"""Names for the shell to complete, from the API. Nothing is said where they cannot be had."""

from __future__ import annotations

import os

import click

from lapdev.account import find_account
from lapdev.client.rest import Json, RestClient
from lapdev.errors import LapdevError

COMPLETION_TIMEOUT = 1.0
"""Seconds a person waits for the Tab key."""
_ENVIRONMENT_ARGUMENTS = ("environment", "name", "branch", "base")


def environments(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of environments."""
    return _matching(_names(context, "environments", "environments"), incomplete)


def clusters(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of clusters."""
    return _matching(_names(context, "clusters", "clusters"), incomplete)


def workloads(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of the workloads of the environment that the line names already."""
    return _matching(_in_environment(context, "workloads"), incomplete)


def services(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of the services of the environment that the line names already."""
    return _matching(_in_environment(context, "services"), incomplete)


def _in_environment(context: click.Context, key: str) -> list[str]:
    given = [context.params.get(name) for name in _ENVIRONMENT_ARGUMENTS]
    named = next((name for name in given if isinstance(name, str) and name), "")
    return _names(context, key, "environments", named) if named else []


def _names(context: click.Context, key: str, *path: str) -> list[str]:
    return [str(item["name"]) for item in _ask(context, *path).get(key, ())]


def _ask(context: click.Context, *path: str) -> Json:
    try:
        params = context.params
        account = find_account(params.get("server"), params.get("token_file"), os.environ)
        with RestClient(account, COMPLETION_TIMEOUT) as client:
            return client.call("GET", *path)
    except (LapdevError, OSError, ValueError):
        return {}


def _matching(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
