"""Puts the shop on the embedded mode, through the REST API and nothing else, and waits for it."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from lapdev.demo import shop
from lapdev.demo.folder import DemoFolder, remove_abandoned
from lapdev.demo.waiting import wait_until
from lapdev.embedded import Supervisor
from lapdev.errors import ClusterError, LapdevError
from lapdev.settings import EmbeddedSettings

READY_TIMEOUT = 120.0
ANSWER_TIMEOUT = 30.0

Progress = Callable[[str], None]


class ApiError(LapdevError):
    """The API refused a call."""

    cause = "api_error"


@dataclass(frozen=True, slots=True)
class StageOptions:
    listen: str
    isolation: bool = True
    keep: bool = False
    """Leave the data directory behind for a look."""
    progress: Progress = field(default=lambda _: None)


class Api:
    """The REST API, as the demo uses it."""

    def __init__(self, server: str, token: str) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{server}/api/v1",
            headers={"authorization": f"Bearer {token}"},
            timeout=30.0,
            trust_env=False,
        )

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer's JSON, None without one.

        Raises:
            ApiError: the API's own reason, or that it did not answer.
        """
        try:
            answer = await self._client.request(method, path, json=body)
        except httpx.HTTPError as exc:
            raise ApiError(f"{method} {path}: {type(exc).__name__}: {exc}") from exc
        if answer.is_success:
            return answer.json() if answer.content else None
        try:
            error = answer.json()["error"]
            raise ApiError(f"{method} {path}: {error['detail']}", hint=error["hint"])
        except (ValueError, KeyError, TypeError):
            raise ApiError(f"{method} {path}: status {answer.status_code}") from None

    async def aclose(self) -> None:
        await self._client.aclose()


class Stage:
    """The embedded mode with the shop on it, from enter to exit. Nothing is left behind."""

    def __init__(self, options: StageOptions) -> None:
        self.previews: dict[str, str] = {}
        """Preview name → URL."""
        self.api: Api
        remove_abandoned(Path(tempfile.gettempdir()))
        self._folder = DemoFolder(keep=options.keep)
        self.directory = self._folder.path
        self._options = options
        # In a folder of its own: the pods get to see all of it, and the rest holds tokens.
        self._links = self.directory / "links" / "links.json"
        self._write_links()
        settings = EmbeddedSettings(
            listen=options.listen,
            data_dir=str(self.directory / "lapdev"),
            isolation=options.isolation,
            log_level="warning",
        )
        self.supervisor = Supervisor(settings)

    @property
    def edge(self) -> str:
        """`127.0.0.1:PORT` of the public listener."""
        return self.supervisor.address

    @property
    def server(self) -> str:
        return f"http://{self.edge}"

    @property
    def token_file(self) -> Path:
        return self.supervisor.data.bootstrap_token_file

    def token(self) -> str:
        return self.token_file.read_text(encoding="ascii").strip()

    async def __aenter__(self) -> Self:
        """Every preview answers right.

        Raises:
            LapdevError: what did not come up, and why.
        """
        try:
            await self._set_up()
        except BaseException:
            await asyncio.shield(self._tear_down())
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._tear_down()

    # Inside

    async def _set_up(self) -> None:
        progress = self._options.progress
        progress("starting cloud and manager")
        await self.supervisor.start()
        self.api = Api(self.server, self.token())
        progress("creating the shared environment and its branches")
        await self._create()
        self._write_links()
        await wait_until(
            self._not_ready, READY_TIMEOUT, lambda problem: progress(f"waiting for {problem}")
        )
        # What the API says is one thing; what a visitor gets is what counts.
        await wait_until(
            self.ask_all, ANSWER_TIMEOUT, lambda problem: progress(f"not yet right: {problem}")
        )

    async def _tear_down(self) -> None:
        if hasattr(self, "api"):
            await self.api.aclose()
        await self.supervisor.aclose()
        self._folder.release()

    def _write_links(self) -> None:
        self._links.parent.mkdir(exist_ok=True)
        self._links.write_text(json.dumps(self.previews), encoding="utf-8")

    async def _create(self) -> None:
        objects = shop.manifests(self._links, names_resolve=self._options.isolation)
        body = {"name": shop.BASE, "kind": "shared", "manifests": objects}
        made = await self.api.call("POST", "/environments", body)
        self.previews[shop.BASE] = made["previews"][0]["url"]
        for edit in shop.branches():
            path = f"/environments/{shop.BASE}/branches"
            branch = await self.api.call("POST", path, {"name": edit.name})
            self.previews[edit.name] = branch["previews"][0]["url"]
            path = f"/environments/{edit.name}/workloads/{edit.workload}"
            await self.api.call("PUT", path, {"patch": {"": {"env": edit.env}}})

    async def _not_ready(self) -> str:
        """Environments that are not ready, with the workloads they wait for."""
        missing: list[str] = []
        for name in self.previews:
            found = await self.api.call("GET", f"/environments/{name}")
            if found["status"] == "failed":
                raise ClusterError(f"environment {name} failed: {found['detail']}")
            if found["status"] != "ready":
                behind = [w["name"] for w in found["workloads"] if w["ready"] < w["wanted"]]
                missing.append(name + (f" ({', '.join(sorted(behind))})" if behind else ""))
        return ", ".join(missing)

    async def ask(self, name: str) -> str:
        """What is wrong with the preview's hops at this moment; empty when nothing is."""
        host = urlsplit(self.previews[name]).netloc
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            try:
                answer = await client.get(f"{self.server}/hops.json", headers={"host": host})
                hops = answer.json()
            except httpx.HTTPError as exc:
                return f"{name}: {type(exc).__name__}"
            except ValueError:
                return f"{name}: status {answer.status_code}, not JSON"
        problem = shop.problem_with(hops, shop.expected()[name])
        return f"{name}: {problem}" if problem else ""

    async def ask_all(self) -> str:
        """What is wrong with the first preview that is not right; empty when all are."""
        for name in self.previews:
            if problem := await self.ask(name):
                return problem
        return ""
