# SPDX-License-Identifier: MIT
"""Histories that no sane run writes: the checker says unknown or violated, and never fails itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
from contract.state.test_merge import merge
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.checker import Checker, judge, judge_history
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import BadHistory
from harness.history.driver import AnyDriverRecord
from harness.history.reader import AnyRecord, History
from harness.history.record import Record

KINDS: tuple[type[Record], ...] = get_args(AnyRecord)

TEXTS = [
    "",
    "a",
    "b",
    "cpu",
    "memory",
    "arrival",
    "removal",
    "QUERY_STOP",
    "STOP",
    "D0Exit",
    "\x1b[31m\u2028",
]
FAR = [-1, 63, 64, 0xC000009A, 1 << 63, 1 << 70]
OF_DRIVERS: tuple[type[Record], ...] = get_args(AnyDriverRecord)
OF_THE_HOST = tuple(kind for kind in KINDS if kind not in OF_DRIVERS)


def hostile_history(draw: random.Random) -> list[Record]:
    """Up to 40 records of any kinds, whose fields have any values."""
    return [
        hostile_record(draw, draw.choice(draw.choice([OF_DRIVERS, OF_THE_HOST])))
        for _ in range(draw.randint(0, 40))
    ]


def hostile_record(draw: random.Random, kind: type[Record]) -> Record:
    """One record of a kind. A field of another type than these has its default."""
    fields: dict[str, Any] = {"n": draw.randint(0, 99), "host_ns": draw.randint(0, 99)}
    for name, type_, among in _fields(kind):
        if name == "seq":
            fields[name] = draw.randint(0, 12)
        elif type_ is int:
            fields[name] = draw.choice([draw.randint(0, 4), draw.choice(FAR)])
        elif type_ is str:
            fields[name] = draw.choice(TEXTS)
        elif among:
            fields[name] = draw.choice(among)
    return kind(**fields)


ABSENT = [{}, {"b": ["a"]}, {"hello": ["active", "qpc"], "sync.enter": ["mask", "b"], "": []}]
OTHERS: dict[str, Sequence[Any]] = {"message": [{}], "arguments": [{}], "ost": [[]], "absent": ABSENT}
"""What fields are given that are neither a number, nor a text, nor one of some words."""


@cache
def _fields(kind: type[Record]) -> list[tuple[str, Any, Sequence[Any]]]:
    """Return name and type of each field of a kind, and among what its value is chosen."""
    return [
        (
            one.name,
            one.type,
            OTHERS.get(one.name) or ((False, True) if one.type is bool else get_args(one.type)),
        )
        for one in msgspec.structs.fields(kind)
        if one.name not in ("n", "host_ns")
        and (one.type in (int, str, bool) or one.name in OTHERS or get_origin(one.type) is Literal)
    ]


HISTORIES = st.integers(0, 2**32).map(lambda seed: hostile_history(random.Random(seed)))
"""Drawn from a seed: Hypothesis takes longer to draw each of 600 fields than the checker to judge them."""


def sound(verdict: RunVerdict) -> None:
    """No rule failed, whatever it was shown."""
    assert [] == [rule.rule for rule in verdict.rules if "the rule itself failed" in rule.reason], (
        verdict.reasons
    )
    assert msgspec.json.decode(msgspec.json.encode(verdict), type=RunVerdict) == verdict


@settings(max_examples=examples(30))
@given(HISTORIES)
def test_any_records_get_a_verdict(records: list[Record]) -> None:
    """Records in any order with any values are judged; without a header they never hold."""
    verdict = judge(records)
    sound(verdict)
    if not any(record.__struct_config__.tag == "header" for record in records):
        assert Verdict.HOLDS is not verdict.verdict


@settings(max_examples=examples(20))
@given(st.randoms(use_true_random=False), st.integers(0, 4))
def test_a_shuffled_run_gets_a_verdict(shuffle: random.Random, swaps: int) -> None:
    """A sane run with records moved about is judged."""
    records = trace("a:S2 b:S2! a:F2 b:F2 +cpu S2 C2 V Q unload")
    for _ in range(swaps):
        one, other = shuffle.randrange(len(records)), shuffle.randrange(len(records))
        records[one], records[other] = records[other], records[one]
    sound(judge(records))


def written(path: Path, records: list[Record]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return path


@settings(max_examples=examples(20))
@given(cut=st.integers(0, 6000), junk=st.binary(max_size=12))
def test_any_bytes_are_refused_or_unknown(tmp_path_factory: Any, cut: int, junk: bytes) -> None:
    """A history with bytes replaced is no history, or damaged and unknown, or judged; it never holds when damaged."""
    path = written(tmp_path_factory.mktemp("history") / "history.jsonl", trace("S2 C2 V unload"))
    content = path.read_bytes()
    place = cut % len(content)
    path.write_bytes(content[:place] + junk + content[place + len(junk) :])
    try:
        history = History(path)
    except BadHistory:
        return
    verdict = judge_history(history)
    sound(verdict)
    assert not (history.damage and verdict.verdict is Verdict.HOLDS)


def test_every_truncation_is_unknown(tmp_path: Path) -> None:
    """A run cut after any record, or inside any, never holds and is never blamed on anyone."""
    records = trace("S2 C2 V unload")
    said = set()
    for end in range(1, len(records)):
        path = written(tmp_path / "history.jsonl", records[:end])
        said.add(judge_history(History(path)).verdict)
        with path.open("ab") as file:
            file.write(b'{"k":"sync.en')
        said.add(judge_history(History(path)).verdict)
    assert {Verdict.UNKNOWN} == said


def test_a_rule_that_raises_is_unknown_alone() -> None:
    """A defect in one rule is named and leaves the verdicts of the others as they were."""

    def defect(subject: Any, model: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    rules = [replace(rule, check=defect) if rule.id == "SYNC-AGREE" else rule for rule in all_rules()]
    sane, broken = Checker(), Checker(rules)
    for record in merge(trace("S2 C2 V")):
        sane.feed(record)
        broken.feed(record)
    before, after = sane.finish(), broken.finish()
    differing = {one.rule for one, other in zip(before.rules, after.rules, strict=True) if one != other}
    assert ({"SYNC-AGREE"}, Verdict.UNKNOWN) == (differing, after.verdict)
    assert ["SYNC-AGREE: the rule itself failed: ZeroDivisionError: division by zero"] == after.reasons


def test_what_is_remembered_is_bounded() -> None:
    """A guest that invents processors, links and registrations without end does not fill the memory."""
    checker = Checker()
    run = trace("S2 C2 V")
    enters = {record.__struct_config__.tag: record for record in run}
    call, arrival = enters["sync.enter"], enters["async.enter"]
    for record in run[:-3]:
        checker.feed(record)
    for number in range(9_000):
        checker.feed(msgspec.structs.replace(call, nt=number, reg=number % 500, seq=1000 + 2 * number))
        checker.feed(msgspec.structs.replace(arrival, link=str(number), seq=1001 + 2 * number))
    model = checker.model
    assert (True, True) == (len(model.attempts.newest) <= 8192, len(model.stream.registrations) <= 64)
    sound(checker.finish())
