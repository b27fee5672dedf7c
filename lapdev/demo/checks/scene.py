"""What a check has at hand: the stage, a visitor's HTTP client, a laptop."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from lapdev.demo import shop
from lapdev.demo.checks.laptop import Laptop
from lapdev.demo.stage import Stage
from lapdev.errors import LapdevError


class CheckFailedError(LapdevError):
    """The demo did not do what it should."""

    cause = "check_failed"


class Scene:
    """The running demo with everything a check starts, which ends with the check."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.hosts = {name: urlsplit(url).netloc for name, url in stage.previews.items()}
        """Preview name → Host."""
        self._leftovers = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.clean_up()

    async def clean_up(self) -> None:
        """What the last check started has ended."""
        leftovers, self._leftovers = self._leftovers, AsyncExitStack()
        await leftovers.aclose()

    async def visitor(self, connections: int = 1) -> httpx.AsyncClient:
        """A client with at most so many connections to the edge; hosts go in the Host header."""
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        client = httpx.AsyncClient(
            base_url=self.stage.server, limits=limits, timeout=30.0, trust_env=False
        )
        return await self._leftovers.enter_async_context(client)

    async def laptop(self, environment: str) -> Laptop:
        """A machine connected to the environment."""
        laptop = Laptop(self.stage, self.stage.directory / "laptop", environment)
        return await self._leftovers.enter_async_context(laptop)

    async def intercept(self, environment: str, service: str, laptop: Laptop) -> str:
        """The id of a new intercept of the service's HTTP port; removed with the check."""
        body = {
            "service": service,
            "device": laptop.device,
            "ports": [{"service_port": 8080, "local_port": laptop.port}],
        }
        made = await self.stage.api.call("POST", f"/environments/{environment}/intercepts", body)
        name = str(made["id"])
        self._leftovers.push_async_callback(self._remove_if_there, name)
        return name

    async def _remove_if_there(self, intercept: str) -> None:
        left = await self.stage.api.call("GET", "/intercepts")
        if any(item["id"] == intercept for item in left["intercepts"]):
            await self.remove(intercept)

    async def remove(self, intercept: str) -> None:
        await self.stage.api.call("DELETE", f"/intercepts/{intercept}")

    async def hops(self, client: httpx.AsyncClient, preview: str) -> list[dict[str, Any]]:
        """What the preview's /hops.json says.

        Raises:
            CheckFailedError: any answer but a list of hops.
        """
        answer = await client.get("/hops.json", headers={"host": self.hosts[preview]})
        if answer.status_code != 200:
            why = answer.headers.get("lapdev-error", "")
            raise CheckFailedError(f"{preview}: status {answer.status_code} {why}".strip())
        return list(answer.json())

    async def versions(self, client: httpx.AsyncClient, preview: str) -> shop.Versions:
        """Who answered, hop by hop. The laptop has no Redis, so that hop is not looked at."""
        return shop.versions_in(await self.hops(client, preview))

    async def expect(self, client: httpx.AsyncClient, preview: str, **changed: str) -> str:
        """What is wrong with the preview, if not the base's versions with `changed`; else empty."""
        wanted = shop.expected()[preview] | changed
        got = await self.versions(client, preview)
        return "" if got == wanted else f"{preview} answered {got}, not {wanted}"


def require(condition: object, what_is_wrong: str) -> None:
    """Raises CheckFailedError unless the condition holds."""
    if not condition:
        raise CheckFailedError(what_is_wrong)
