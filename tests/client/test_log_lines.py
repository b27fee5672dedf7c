"""Which lines are new after a reconnect, and how lines of several look."""

from __future__ import annotations

from lapdev.client.log_lines import Look, Seen
from lapdev.client.rest import Json


def line(text: str, time: float = 1.0, container: str = "web", pod: str = "web-1") -> Json:
    return {"time": time, "pod": pod, "container": container, "text": text}


def news(seen: Seen, *lines: Json) -> list[str]:
    return [item["text"] for item in lines if seen.is_new(item)]


def test_a_replay_goes_on_after_what_was_seen() -> None:
    seen = Seen()
    a, b, c, d = line("a", 1), line("b", 2), line("c", 2), line("d", 2)
    assert news(seen, a, b, c) == ["a", "b", "c"]
    seen.rewind()
    assert news(seen, a, b, c, d, line("e", 3)) == ["d", "e"]
    seen.rewind()
    assert news(seen, c, d, line("e", 3), line("f", 4)) == ["f"]


def test_a_replay_that_begins_later_loses_nothing() -> None:
    seen = Seen()
    assert news(seen, line("a", 1)) == ["a"]
    seen.rewind()
    assert news(seen, line("c", 3), line("b", 2)) == ["c", "b"]


def test_a_clock_that_is_set_back_loses_no_line() -> None:
    assert news(Seen(), line("a", 9), line("b", 2), line("c", 3)) == ["a", "b", "c"]


def test_each_container_has_its_own_place() -> None:
    seen = Seen()
    assert news(seen, line("a", 5), line("b", 1, "db")) == ["a", "b"]
    seen.rewind()
    assert news(seen, line("b", 1, "db"), line("c", 2, "db"), line("a", 5)) == ["c"]


def look(*lines: Json, timestamps: bool = False, colours: bool = False) -> list[str]:
    made = Look(timestamps, colours)
    made.learn(lines)
    return [made.text(item) for item in lines]


def test_lines_of_one_container_are_as_it_printed_them() -> None:
    assert look(line("a"), line("b | c")) == ["a", "b | c"]


def test_containers_of_one_pod_are_told_by_their_names() -> None:
    assert look(line("a"), line("b", container="db")) == ["web | a", "db  | b"]


def test_containers_of_several_pods_are_told_by_both() -> None:
    shown = look(line("a"), line("b", pod="web-22"), line("c", pod="web-22", container="x"))
    assert shown == ["web-1/web  | a", "web-22/web | b", "web-22/x   | c"]


def test_one_that_comes_later_has_its_label_too() -> None:
    made = Look()
    assert made.text(line("a")) == "a"
    assert made.text(line("b", container="db")) == "db  | b"
    assert made.text(line("a")) == "web | a"


def test_a_pod_keeps_its_colour() -> None:
    first, second, again = look(
        line("a"), line("b", pod="web-2"), line("c"), timestamps=True, colours=True
    )
    assert first.startswith("\x1b[36mweb-1/web |\x1b[0m 1970-01-01T00:00:01.000Z a")
    assert second.startswith("\x1b[33mweb-2/web |\x1b[0m")
    assert again.startswith("\x1b[36m")


def test_time_is_utc_with_milliseconds() -> None:
    assert look(line("a", 1721000000.25), timestamps=True) == ["2024-07-14T23:33:20.250Z a"]
