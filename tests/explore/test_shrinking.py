# SPDX-License-Identifier: MIT
"""Shrinking: the smallest plan that still fails, from any plan that does, also where it fails only sometimes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from effort import examples
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.explore.generation import plans
from harness.explore.legality import Legality, OperationSequence
from harness.explore.shrinking import MISSED, MOST_TRIES, FirstReproducing, Shrinking, tries_for
from harness.interval import wilson
from harness.run import operation as op
from harness.run.options import RunOptions

HOST = Legality(RunOptions(guest="host"))
NEEDED: list[list[type]] = [
    [op.AddDimm, op.AddCpu],
    [op.AddCpu, op.AddDimm, op.AddCpu],
    [op.VetoNext, op.AddCpu, op.AddDimm, op.AddCpu],
]


def contains(operations: OperationSequence, kinds: Sequence[type]) -> bool:
    """Return whether operations of these kinds come in this order, with others between them."""
    left = iter(operations)
    return all(any(type(one) is kind for one in left) for kind in kinds)


def runner(kinds: Sequence[type], rate: float = 1.0) -> FirstReproducing:
    """Return what stands for running candidates: those with the operations fail, at a rate."""
    chance = random.Random(5)

    def first(candidates: Sequence[OperationSequence], tries: int) -> int | None:
        for _ in range(tries):
            for at, candidate in enumerate(candidates):
                if contains(candidate, kinds) and chance.random() < rate:
                    return at
        return None

    return first


@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_only_what_is_needed_is_left(data: st.DataObject) -> None:
    """Whatever else the plan did, the operations that are needed are left, with their least arguments.

    So it is with two, three and four that are needed.
    """
    operations = data.draw(plans(HOST, "host", []))
    tried = 0
    for kinds in NEEDED:
        whole = HOST.completed(
            [*operations, *(op.AddDimm(size="384 MiB") if k is op.AddDimm else k() for k in kinds)]
        )
        if whole is None or not contains(whole, kinds):
            continue
        tried += 1
        steps: list[OperationSequence] = []
        smallest = Shrinking(whole, HOST, runner(kinds), taken=steps.append).shrink()
        assert [type(one) for one in smallest] == kinds
        assert {one.size.text for one in smallest if isinstance(one, op.AddDimm)} == {"128 MiB"}
        assert all(len(a) >= len(b) for a, b in zip([whole, *steps], steps, strict=False))
    assume(tried)


def test_flaky() -> None:
    """With enough tries of each step a failure at one of four runs is shrunk as far."""
    whole = HOST.completed(
        [op.DelayStart(milliseconds=20), op.AddDimm(size="384 MiB"), op.AddCpu(), op.UnloadDriver()]
    )
    assert whole is not None
    tries = tries_for(wilson(2, 8))
    smallest = Shrinking(whole, HOST, runner(NEEDED[0], 0.25), tries=tries).shrink()
    assert smallest == (op.AddDimm(size="128 MiB"), op.AddCpu())


def test_another_order() -> None:
    """A paused guest sees its adds at once, in any order; without the pause only one order fails, and that one is found."""
    shown: list[OperationSequence] = []

    def first(candidates: Sequence[OperationSequence], tries: int) -> int | None:
        for at, candidate in enumerate(candidates):
            kinds = {type(one) for one in candidate}
            at_once = op.Pause in kinds and {op.AddCpu, op.AddDimm} <= kinds
            if tries and (at_once or contains(candidate, NEEDED[0])):
                shown.append(candidate)
                return at
        return None

    whole = HOST.completed([op.Pause(), op.AddCpu(), op.AddDimm(size="384 MiB")])
    assert whole is not None
    assert len(whole) == 5
    smallest = Shrinking(whole, HOST, first).shrink()
    assert smallest == (op.AddDimm(size="128 MiB"), op.AddCpu())
    assert shown[-1] == smallest


@pytest.mark.parametrize("seen", range(1, 20))
def test_number_of_tries(seen: int) -> None:
    """A step that is right is missed with a small probability; one that always fails is run once."""
    tries = tries_for(wilson(seen, 20))
    assert tries == MOST_TRIES or (1 - seen / 20) ** tries <= MISSED
    assert tries_for(wilson(6, 6)) == 1
