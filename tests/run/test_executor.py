# SPDX-License-Identifier: MIT
"""Coming to rest: in what order the guest is asked, and when it is asked again."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from run.test_watch import COMMON

from harness.deadline import Deadline
from harness.errors import GuestHang
from harness.guest.guest import Guest, GuestCounts
from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import History
from harness.history.writer import HistoryWriter
from harness.machine.machine import Machine
from harness.run import rest
from harness.run.executor import Executor
from harness.run.options import Timeouts
from harness.run.pending_add import PendingAdd
from harness.run.watch import Watch

QUIET = 0.05


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[HistoryWriter]:
    """A history that has its header."""
    with HistoryWriter(tmp_path / "history.jsonl") as writer:
        writer.write(r.Header(format=1, harness="0", run="r", guest="twin", wall=""))
        yield writer


class Asked:
    """A guest that notes what it is asked. ``at`` is called at each question, and may write records of the driver."""

    def __init__(self, at: Callable[[str], None]) -> None:
        self.questions: list[str] = []
        self.counted = 2
        self._at = at

    def _note(self, question: str) -> None:
        self.questions.append(question)
        self._at(question)

    def load_driver(self, _deadline: Deadline, **_: Any) -> None:
        self._note("load")

    def counts(self, _deadline: Deadline) -> GuestCounts:
        self._note("counts")
        return GuestCounts(processors=self.counted, memory=1 << 30)

    def prove_alive(self, _nonce: str, _deadline: Deadline) -> None:
        self._note("alive")

    def mark(self, _nonce: str, _deadline: Deadline, *, driver: str) -> None:
        self._note(f"mark {driver}")


Make = Callable[..., tuple[Executor, Asked]]


@pytest.fixture
def make(writer: HistoryWriter) -> Make:
    """Make an executor of a guest that notes what it is asked."""

    def made(at: Callable[[str], None] = lambda _: None, *, quiet: float = QUIET) -> tuple[Executor, Asked]:
        guest = Asked(at)
        executor = Executor(
            cast("Machine", object()),
            cast("Guest", guest),
            writer,
            Watch(writer),
            drain=lambda: None,
            seed=1,
            budget=Timeouts(quiet=quiet),
        )
        return executor, guest

    return made


def kinds(tmp_path: Path) -> list[str]:
    """The records of the history in their order, without the header."""
    return [str(one.__struct_config__.tag) for one in History(tmp_path / "history.jsonl")][1:]


def mark(seq: int) -> d.Mark:
    return d.Mark(seq=seq, nonce="n", **COMMON)


def test_guest_counts_while_the_driver_must_be_silent_anyway(make: Make, tmp_path: Path) -> None:
    """So that after the silence only the proof and the mark are between it and the first add; the record comes behind its proof."""
    executor, guest = make()
    executor.prepare()
    assert ["load", "counts", "alive", "mark hpnotify"] == guest.questions
    assert ["quiesced", "count"] == kinds(tmp_path)


def test_count_before_a_late_record_is_not_the_baseline(
    make: Make, writer: HistoryWriter, tmp_path: Path
) -> None:
    """A record of the driver after the count begins the silence again, and the guest is asked again."""
    late = [mark(1)]

    def at(question: str) -> None:
        if question == "counts" and late:
            writer.write(late.pop())
            guest.counted = 3

    executor, guest = make(at)
    executor.prepare()
    assert ["load", "counts", "counts", "alive", "mark hpnotify"] == guest.questions
    assert ["mark", "quiesced", "count"] == kinds(tmp_path)
    history = list(History(tmp_path / "history.jsonl"))
    (count,) = [one for one in history if isinstance(one, r.Count)]
    (proof,) = [one for one in history if isinstance(one, r.Quiesced)]
    (record,) = [one for one in history if isinstance(one, d.Mark)]
    assert 3 == count.processors
    assert proof.quiet_ns >= QUIET * 1e9
    assert proof.host_ns - record.host_ns >= QUIET * 1e9


def test_record_during_the_proof_is_no_silence(make: Make, writer: HistoryWriter, tmp_path: Path) -> None:
    """The guest is counted again: the first count is older than the driver's last record."""
    late = [mark(1)]

    def at(question: str) -> None:
        if question == "alive" and late:
            writer.write(late.pop())

    executor, guest = make(at)
    executor.prepare()
    assert ["load", "counts", "alive", "counts", "alive", "mark hpnotify"] == guest.questions
    assert ["mark", "quiesced", "count"] == kinds(tmp_path)


def test_driver_that_is_never_silent_ends_the_wait(make: Make, writer: HistoryWriter) -> None:
    """Within the time limit, however often the guest is asked."""
    numbers = itertools.count(1)
    executor, guest = make(lambda _question: writer.write(mark(next(numbers))))
    with pytest.raises(GuestHang, match="did not fall silent"):
        executor.rest.quiesce(QUIET, Deadline(1.5 * QUIET, "rest"), ask=lambda: guest._note("ask"))


def attempt(executor: Executor, **changes: Any) -> PendingAdd:
    """An add of one processor that was just sent."""
    seen = dict(executor.watch.tally)
    plain: dict[str, Any] = {"name": "cpu-1", "what": "cpu", "device": "cpu-1", "expected": "added"}
    return PendingAdd(**{**plain, "before": 2, "tally": seen, **changes})


def ended(seq: int, state: int) -> d.SyncExit:
    """The return of a callback."""
    return d.SyncExit(
        seq=seq, enter=seq - 1, reg=1, state=state, nt=2, group=0, number=2, status=0, op=0, **COMMON
    )


def test_add_that_failed_is_not_waited_for(make: Make, writer: HistoryWriter) -> None:
    """After Failure the guest is counted once more; of two adds it is not known which one failed."""
    executor, guest = make()
    executor._loaded.append("hpnotify")
    pending = attempt(executor)
    writer.write(ended(2, d.START))
    writer.write(ended(4, d.FAILURE))
    executor._additions._await_counts([pending], Deadline(600, "the count"))
    assert ["counts"] == guest.questions
    assert not executor._additions._await_driver([pending])
    other = attempt(executor, name="cpu-2", device="cpu-2", tally={})
    assert (True, False) == (
        executor._additions._failed([pending]),
        executor._additions._failed([pending, other]),
    )
    writer.write(ended(6, d.COMPLETE))
    assert not executor._additions._failed([pending])


def test_long_wait_says_what_it_waits_for(
    make: Make, writer: HistoryWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each wait, and with the time that is left."""
    monkeypatch.setattr(rest, "LONG_WAIT", 0.0)
    executor, _ = make()
    said: list[str] = []
    executor.rest.tell = said.append
    executor._additions._await_counts([attempt(executor)], Deadline(0.1, "the count"))
    writer.write(mark(1))
    executor.rest.quiesce(QUIET, Deadline(60, "rest"))
    count, silence = said
    assert "waiting for the guest to count 3 processors, at most 0 s more" == count
    assert re.fullmatch(r"waiting for 0\.05 s without a record of the driver, at most \d+ s more", silence)
