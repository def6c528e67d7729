# SPDX-License-Identifier: MIT
"""The slow judge finds nothing in documented histories, and in each violation the rule that its step breaks.

So what the steps expect is right independently of the checker. The suite tries a seeded share, one history of each step;
``tox -e properties`` tries 20.
"""

from __future__ import annotations

import pytest
from effort import examples

from harness.history.record import Record
from tests.contract.reference.cases import case
from tests.contract.reference.oracle import SCOPE, broken
from tests.contract.reference.violations import STEPS
from tests.contract.reference.windows import drawn, perform

SPOKEN_OF = [name for name, (rule, _) in STEPS.items() if set(rule.split(" or ")) & SCOPE]
in_turn = pytest.mark.parametrize("name", SPOKEN_OF)
pytestmark = pytest.mark.hypothesis


def stepped(name: str, number: int) -> list[Record]:
    """The records of a violation."""
    story = case(number, 31, "violation", name).story()
    assert story is not None
    return story.records


def test_the_documented_breaks_nothing() -> None:
    """No sentence speaks against a documented history."""
    found = {seed: broken(perform(drawn(seed, plain=True)).records) for seed in range(examples(30))}
    assert {} == {seed: rules for seed, rules in found.items() if rules}


@in_turn
def test_a_step_breaks_its_sentence(name: str) -> None:
    """The sentence of the step's rule speaks against what the step leads to."""
    rules = set(STEPS[name][0].split(" or "))
    assert [] == [number for number in range(examples(1)) if not rules & broken(stepped(name, number))]
