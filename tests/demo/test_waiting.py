from __future__ import annotations

import pytest

from lapdev.demo.waiting import WaitTimeoutError, unheard, wait_until


async def test_it_waits_until_nothing_is_wrong_and_tells_each_problem_once() -> None:
    problems = iter(["a", "a", "b", ""])
    heard: list[str] = []

    async def probe() -> str:
        return next(problems)

    assert await wait_until(probe, 10, heard.append) > 0
    assert heard == ["a", "b"]


async def test_in_the_end_it_gives_up_with_the_last_problem() -> None:
    async def probe() -> str:
        return "still down"

    with pytest.raises(WaitTimeoutError, match="still down"):
        await wait_until(probe, 0, unheard)
