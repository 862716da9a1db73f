"""Sessions end by time, by leaving and by another token; who guesses too often has to wait; both stay small."""

from __future__ import annotations

import pytest

from proxy.ops.sessions import LIFETIME, Guesses, Sessions, same

TOKEN = "a-token"


def test_a_session_lasts_for_its_lifetime() -> None:
    sessions = Sessions()
    session = sessions.open(TOKEN, 100.0)
    assert sessions.knows(session, TOKEN, 100.0)
    assert sessions.knows(session, TOKEN, 99.0 + LIFETIME)
    assert not sessions.knows(session, TOKEN, 100.0 + LIFETIME)


def test_a_session_ends_with_the_token_that_opened_it() -> None:
    sessions = Sessions()
    session = sessions.open(TOKEN, 0.0)
    assert not sessions.knows(session, "another", 1.0)


def test_who_leaves_is_out_and_others_stay() -> None:
    sessions = Sessions()
    first, second = sessions.open(TOKEN, 0.0), sessions.open(TOKEN, 0.0)
    sessions.close(first)
    sessions.close("never-was")
    assert not sessions.knows(first, TOKEN, 1.0)
    assert sessions.knows(second, TOKEN, 1.0)


def test_ids_are_long_and_never_the_same() -> None:
    sessions = Sessions()
    ids = {sessions.open(TOKEN, 0.0) for _ in range(100)}
    assert len(ids) == 100
    assert min(map(len, ids)) >= 43  # 256 bits


def test_the_oldest_of_too_many_sessions_ends() -> None:
    sessions = Sessions()
    ids = [sessions.open(TOKEN, 0.0) for _ in range(1001)]
    assert not sessions.knows(ids[0], TOKEN, 1.0)
    assert sessions.knows(ids[1], TOKEN, 1.0)
    assert sessions.knows(ids[-1], TOKEN, 1.0)


@pytest.mark.parametrize(
    ("given", "token", "equal"),
    [("a", "a", True), ("a", "b", False), ("", "a", False), ("ü", "ü", True), ("a\udcff", "a", False)],
)
def test_tokens_are_compared_whole(given: str, token: str, equal: bool) -> None:
    assert same(given, token) is equal


def test_ten_guesses_are_free_and_then_one_has_to_wait() -> None:
    guesses = Guesses()
    for _ in range(10):
        assert guesses.wait("192.0.2.1", 0.0) == 0
        guesses.wrong("192.0.2.1", 0.0)
    assert guesses.wait("192.0.2.1", 0.0) == pytest.approx(2.0)
    assert guesses.wait("192.0.2.1", 1.0) == pytest.approx(1.0)
    assert guesses.wait("192.0.2.1", 2.0) == 0
    assert guesses.wait("192.0.2.1", 1e6) == 0


@pytest.mark.parametrize(
    ("guesser", "neighbour", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),  # whoever has an IPv6 address has a whole network
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        (None, "no-address", True),
    ],
)
def test_a_network_waits_together(guesser: str | None, neighbour: str, together: bool) -> None:
    guesses = Guesses()
    for _ in range(10):
        guesses.wrong(guesser, 0.0)
    assert bool(guesses.wait(neighbour, 0.0)) is together


def test_of_too_many_networks_the_longest_silent_is_forgotten() -> None:
    guesses = Guesses()
    for _ in range(10):
        guesses.wrong("192.0.2.1", 0.0)
    for number in range(4096):
        guesses.wrong(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert guesses.wait("192.0.2.1", 0.0) == 0
    assert len(guesses._left) == 4096
