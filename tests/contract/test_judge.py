# SPDX-License-Identifier: MIT
"""A judge that takes a history piece by piece says at each place what a judge of that much says."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator
from typing import get_args

import msgspec
import pytest
from contract.legal import histories
from contract.test_hostile import HISTORIES
from effort import VARIABLE, examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import checker
from harness.contract.checker import Checker, Judge, judge
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.history.absent import OPTIONAL, SAMPLED, Absent
from harness.history.driver import AnyDriverRecord
from harness.history.record import Channel, End, Mapped, Record


class Growing:
    """A history that can be read up to ``end``."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.end = 0

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records[: self.end])


def in_pieces(records: list[Record], places: list[int]) -> list[bytes]:
    """Judge up to each of ``places``, then to the end; return what was said at each and at the end."""
    history = Growing(records)
    growing = Judge(history)
    said = []
    for history.end in sorted(places):
        said.append(msgspec.json.encode(growing.so_far()))
    history.end = len(records)
    return [*said, msgspec.json.encode(growing.finish())]


def alone(records: list[Record], places: list[int]) -> list[bytes]:
    """Return what fresh judges say of the same parts."""
    return [
        *(msgspec.json.encode(judge(records[:place])) for place in sorted(places)),
        msgspec.json.encode(judge(records)),
    ]


TEXTS = list(dict.fromkeys(text for rule in all_rules() for text in (rule.holds, rule.violates) if text))
"""The examples of the rules, each once."""


SEED = 20261130 if VARIABLE not in os.environ else random.randrange(1 << 30)
"""The same in every run of the suite, another in each long form."""


@pytest.fixture(autouse=True)
def copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """These histories are short, and would be judged anew; the judge's state is copied as it is in long ones."""
    monkeypatch.setattr(checker, "SHORT", 0)


@pytest.mark.hypothesis
@pytest.mark.parametrize("text", TEXTS)
def test_examples_of_every_rule_get_the_same_verdict(text: str) -> None:
    """At a place of a rule's example that the seed draws, a judge that goes on says what a fresh one says.

    ``tox -e properties`` tries 20 places of each.
    """
    records = trace(text)
    drawn = random.Random(f"{SEED} {text}").sample(range(len(records)), min(len(records), examples(1)))
    assert alone(records, drawn) == in_pieces(records, drawn)


def test_a_short_history_is_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its judge goes on, too, and says what a fresh one says at each place."""
    monkeypatch.undo()
    records = trace("a:S2 b:S2! a:F2 b:F2 +cpu S2 C2 V Q unload")
    assert len(records) < checker.SHORT
    places = list(range(0, len(records), 7))
    assert alone(records, places) == in_pieces(records, places)


@settings(deadline=None, max_examples=examples(20))
@given(histories(), st.lists(st.integers(0, 200), max_size=2))
def test_legal_histories_get_the_same_verdict(text: str, places: list[int]) -> None:
    """Where a legal history is looked at does not change what is said of it."""
    records = trace(text)
    assert alone(records, places) == in_pieces(records, places)


@settings(deadline=None, max_examples=examples(30))
@given(HISTORIES, st.lists(st.integers(0, 40), max_size=2))
def test_hostile_histories_get_the_same_verdict(records: list[Record], places: list[int]) -> None:
    """Nor does it with records that no driver and no host would write."""
    assert alone(records, places) == in_pieces(records, places)


@settings(deadline=None, max_examples=examples(10))
@given(histories(), st.lists(st.integers(0, 200), max_size=2))
def test_mapped_histories_get_the_same_verdict(text: str, places: list[int]) -> None:
    """Nor does it where the driver's events give none of the fields that they need not give."""
    records = trace(text)
    kinds = [str(kind.__struct_config__.tag) for kind in get_args(AnyDriverRecord)]
    absent = {kind: sorted(SAMPLED | OPTIONAL.get(kind, frozenset())) for kind in kinds}
    mapped: list[Record] = [Mapped(driver=driver, provider="{0}", absent=absent) for driver in "ab"]
    records = [*records[:1], *mapped, *records[1:]]
    assert alone(records, places) == in_pieces(records, places)


def test_an_absent_value_is_shared_by_copies() -> None:
    """A judge's copy may hold what a driver's events do not give, which refuses all else."""
    value = Absent("sync.enter.mask", 5)
    assert copy.deepcopy(value) is value


def test_a_rule_is_shared_by_copies() -> None:
    """Judges look up by a rule's identity what they know of it, so that a judge's copy asks the same rule."""
    copied = copy.deepcopy(Checker())
    assert all(one.rule is rule for one, rule in zip(copied.tallies, all_rules(), strict=True))


class Interrupted(Growing):
    """A history that Ctrl-C interrupts in the middle of each reading."""

    def __iter__(self) -> Iterator[Record]:
        yield from self.records[: self.end // 2]
        raise KeyboardInterrupt


def test_an_interrupted_judge_says_what_a_fresh_one_says() -> None:
    """Ctrl-C during a look at a run that goes on does not change the verdict on it."""
    records = trace("+cpu a:S2 a:C2 V =cpu +cpu a:S3 a:C3 V =cpu")
    history = Interrupted(records)
    growing = Judge(history)
    history.end = len(records)
    with pytest.raises(KeyboardInterrupt):
        growing.so_far()
    history.__class__ = Growing
    assert judge(records) == growing.finish()


def test_a_live_history_is_judged_as_it_would_end() -> None:
    """Absence is evidence with the records that close the history; without them the run only has not ended."""
    records = trace("S2")
    tail = [one for one in records if isinstance(one, Channel | End)]
    assert records[-len(tail) :] == tail
    begun, ended = records[: -len(tail)], judge(records)
    live = Judge(begun).so_far(live=True)
    assert ended == Judge(begun).so_far(tail, live=True)
    assert ["violated", "unknown"] == [
        next(one.verdict for one in verdict.rules if one.rule == "SYNC-START-CLOSED").value
        for verdict in (ended, live)
    ]
    other = [
        msgspec.structs.replace(one, name="debugger") if isinstance(one, Channel) else one for one in tail
    ]
    assert live == Judge(begun).so_far(other, live=True)
    assert any("the run has not ended" in reason for reason in live.reasons)
    assert not any("killed" in reason for reason in live.reasons)
    assert any("the run was killed" in reason for reason in judge(begun).reasons)
