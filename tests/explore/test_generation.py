# SPDX-License-Identifier: MIT
"""Generated plans: the same for the same seed, from the corpus too, and an error without Hypothesis."""

from __future__ import annotations

import sys

import pytest

from harness.errors import MissingPart
from harness.explore.generation import ADDS, KINDS, generate, load_hypothesis, plans
from harness.explore.legality import Legality
from harness.explore.vocabulary import vocabulary
from harness.run import operation as op
from harness.run.options import RunOptions

HOST = Legality(RunOptions(guest="host"))


def test_same_seed() -> None:
    """A seed decides which plans are generated."""
    strategy = plans(HOST, "host", [])
    first = generate(strategy, seed=7, count=20)
    assert (len(set(first)) > 10, first == generate(strategy, seed=7, count=20)) == (True, True)
    assert first != generate(strategy, seed=8, count=20)


def test_no_source_is_read_for_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypothesis would read those of all loaded modules, and write ``.hypothesis`` into the working directory."""

    def searched() -> None:
        pytest.fail("the loaded modules were searched for constants")

    monkeypatch.setattr("hypothesis.internal.conjecture.providers._get_local_constants", searched)
    assert generate(plans(HOST, "host", []), seed=7, count=20)


def test_few_kinds() -> None:
    """A new plan has operations of few kinds, besides the hot-adds and what its end needs; all plans together have all."""
    found = generate(plans(HOST, "host", []), seed=3, count=100)
    given = (*ADDS, op.Resume, op.Settle)
    kinds = [{type(one) for one in plan} - set(given) for plan in found]
    assert max(map(len, kinds)) == KINDS
    assert set().union(*kinds) == set(vocabulary("host")) - set(given)


def test_corpus_is_continued() -> None:
    """Some plans begin like one of the corpus, and go on in another way."""
    known = (op.DelayStart(milliseconds=5), op.DelayStart(milliseconds=20), op.AddCpu())
    found = generate(plans(HOST, "host", [known]), seed=1, count=60)
    assert any(one[:2] == known[:2] and one != known for one in found)


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Hypothesis the error says what installs it."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingPart, match="exploring needs Hypothesis") as caught:
        load_hypothesis()
    assert "[explore]" in caught.value.hint
