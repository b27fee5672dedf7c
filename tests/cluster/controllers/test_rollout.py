"""From the pods there are to the pods there should be, as a table of cases."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lapdev.cluster.controllers.rollout import next_step


@dataclass(slots=True)
class Seen:
    name: str
    digest: str
    ready: bool


def pods(text: str) -> list[Seen]:
    """`n+ o-`: a ready new pod and an old one that is not ready; names by place."""
    return [
        Seen(f"{word[0]}{place}", word[0], word[1] == "+")
        for place, word in enumerate(text.split())
    ]


@pytest.mark.parametrize(
    ("replicas", "have", "start", "stop"),
    [
        (1, "", 1, []),
        (3, "n- n+", 1, []),
        (2, "n+ n+", 0, []),
        (0, "", 0, []),
        # shrinking: the one that serves nobody goes first
        (1, "n+ n-", 0, ["n1"]),
        (0, "n+ n-", 0, ["n1", "n0"]),
        # replacing: one more than wanted, and the old serves until the new does
        (1, "o+", 1, []),
        (1, "o+ n-", 0, []),
        (1, "o+ n+", 0, ["o0"]),
        (2, "o+ o+", 1, []),
        (2, "o+ o+ n-", 0, []),
        (2, "o+ o+ n+", 1, ["o0"]),
        (2, "o+ n+", 1, []),
        (2, "o+ n+ n+", 0, ["o0"]),
        # an old pod that serves nobody keeps no place once a new one is there
        (1, "o-", 1, []),
        (1, "o- n-", 0, ["o0"]),
        (2, "o- o+ n-", 1, ["o0"]),
        # no longer wanted
        (0, "o+ o-", 0, ["o1", "o0"]),
    ],
)
def test_the_next_step(replicas: int, have: str, start: int, stop: list[str]) -> None:
    step = next_step(replicas, "n", pods(have))
    assert (step.start, list(step.stop)) == (start, stop)


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_a_rollout_ends_and_never_has_too_many_or_too_few(replicas: int) -> None:
    have = [Seen(f"o{place}", "o", ready=True) for place in range(replicas)]
    for turn in range(4 * replicas):
        step = next_step(replicas, "n", have)
        have = [pod for pod in have if pod.name not in step.stop]
        have += [Seen(f"n{turn}.{place}", "n", ready=False) for place in range(step.start)]
        assert len(have) <= replicas + 1
        assert sum(pod.ready for pod in have) >= replicas
        waiting = next((pod for pod in have if not pod.ready), None)
        if waiting:
            waiting.ready = True
    assert [pod.digest for pod in have] == ["n"] * replicas
    assert next_step(replicas, "n", have).stop == ()
