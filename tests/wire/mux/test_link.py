"""What belongs to one link: its liveness, its calls, its word to leave."""

from __future__ import annotations

from lapdev.wire.mux.events import (
    CallReceived,
    ConnectionDead,
    GoAwayReceived,
    ReplyReceived,
)
from lapdev.wire.mux.frames import FrameType, GoAwayScope, decode
from tests.support.pair import Pair


def two_links() -> Pair:
    pair = Pair()
    pair.connect(1)
    pair.settle()
    return pair


def kinds(messages: list[bytes]) -> list[int]:
    return [frame[0] for message in messages for frame in decode(message)]


def test_each_link_is_probed_and_found_dead_by_itself() -> None:
    pair = two_links()
    pair.advance(9.0)
    for end in pair.ends():
        end.mux.heard(0, 9.0)
    pair.advance(1.0)
    assert kinds(pair.dialler.mux.data_to_send(0)) == []
    assert kinds(pair.dialler.mux.data_to_send(1)) == [FrameType.PING]
    assert pair.dialler.mux.next_deadline() == 19.0
    pair.advance(9.0)
    pair.advance(1.0)
    assert pair.dialler.happened(ConnectionDead) == [ConnectionDead(1)]


def test_a_call_is_repeated_on_another_link_when_any_was_lost() -> None:
    pair = two_links()
    call_id = pair.dialler.mux.call("Done", {})
    assert kinds(pair.dialler.mux.data_to_send(0)) == [FrameType.CALL]
    pair.dialler.mux.detach(0)
    pair.flush(pair.dialler)
    pair.deliver(pair.dialler, 9, link=1)
    assert pair.acceptor.happened(CallReceived)
    # It believes in link 0 still, and answers where the call last came.
    pair.acceptor.mux.reply(call_id, True, {})
    assert kinds(pair.acceptor.mux.data_to_send(0)) == []
    pair.flush(pair.acceptor)
    pair.deliver(pair.acceptor, 9, link=1)
    assert pair.dialler.happened(ReplyReceived) == [ReplyReceived(call_id, True, {})]


def test_a_reply_goes_elsewhere_when_the_link_of_its_call_is_gone() -> None:
    pair = two_links()
    call_id = pair.dialler.mux.call("Done", {})
    pair.settle()
    pair.acceptor.mux.detach(0)
    pair.acceptor.mux.reply(call_id, True, {})
    assert kinds(pair.acceptor.mux.data_to_send(1)) == [FrameType.REPLY]


def test_leaving_a_link_is_said_on_that_link() -> None:
    pair = two_links()
    pair.acceptor.mux.go_away(GoAwayScope.LINK, 30, "moving", link=1)
    pair.acceptor.mux.go_away(GoAwayScope.PROCESS, 5, "stopping")
    pair.settle()
    assert pair.dialler.happened(GoAwayReceived) == [
        GoAwayReceived(GoAwayScope.PROCESS, 5, "stopping", 0),
        GoAwayReceived(GoAwayScope.LINK, 30, "moving", 1),
    ]


def test_the_peer_has_seen_all_once_it_has_answered_the_last_ping_on_every_link() -> None:
    pair = two_links()
    mux = pair.dialler.mux
    assert mux.echoed
    mux.ping(1.0)
    for end in pair.ends():
        pair.flush(end)
        pair.deliver(pair.dialler, 1, 0)
        assert not mux.echoed, "one link is not all"
    pair.settle()
    assert mux.echoed
    mux.ping(2.0)
    pair.cut(1)
    pair.settle()
    assert mux.echoed, "what was asked on a lost link has no answer any more"
