# SPDX-License-Identifier: MIT
"""What must not be cut short is not, and what was held back takes effect afterwards."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from harness.host.interrupts import uninterrupted

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Both signals raise KeyboardInterrupt, as in ``harness run``, and are as before when the test ends."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
def test_held_back_until_the_block_is_left(number: signal.Signals) -> None:
    """The block hears of it and comes to its end; then it takes effect, once."""
    reached = []

    def act() -> None:
        with uninterrupted() as hurry:
            signal.raise_signal(number)
            signal.raise_signal(number)
            reached.append(hurry.is_set())

    with pytest.raises(KeyboardInterrupt):
        act()
    assert [True] == reached


def test_nested() -> None:
    """What an inner block held back is held back by the outer one too."""
    reached = []

    def act() -> None:
        with uninterrupted() as outer:
            with uninterrupted() as inner:
                signal.raise_signal(signal.SIGTERM)
            reached.extend([inner.is_set(), outer.is_set()])

    with pytest.raises(KeyboardInterrupt):
        act()
    assert [True, True] == reached


def test_what_is_ignored_stays_ignored() -> None:
    """A job in the background ignores Ctrl-C, and still ends on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with uninterrupted() as hurry:
        signal.raise_signal(signal.SIGINT)
        assert not hurry.is_set()
    with pytest.raises(KeyboardInterrupt):
        _terminated()
    assert signal.SIG_IGN == signal.getsignal(signal.SIGINT)


def _terminated() -> None:
    with uninterrupted() as hurry:
        signal.raise_signal(signal.SIGTERM)
        assert hurry.is_set()


def test_other_threads_receive_no_signals() -> None:
    """On another thread nothing is changed."""
    seen = []

    def look() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert [signal.default_int_handler] == seen
