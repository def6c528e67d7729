# SPDX-License-Identifier: MIT
"""The checker's verdict on made histories is one that is right by construction: a share of what ``tox -e model`` tries."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract.checker import judge
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Level
from harness.history.driver import DriverRecord
from harness.history.record import Channel
from tests.contract.reference.__main__ import BEGIN, DOCUMENT, END
from tests.contract.reference.actions import ACTIONS
from tests.contract.reference.cases import FAMILIES, ReferenceCase, answer, case
from tests.contract.reference.damage import DAMAGES
from tests.contract.reference.editing import consistent
from tests.contract.reference.scenario import VIOLATED
from tests.contract.reference.violations import STEPS
from tests.contract.reference.windows import HistoryPlan, drawn, perform

SEED = 20


def wrong(cases: Iterable[ReferenceCase]) -> str:
    """Say of each wrong verdict what was made, what is right, and what was said."""
    found = []
    for one in cases:
        story = one.story()
        assert story is not None
        said = answer(story)
        if not said.right:
            right = "|".join(sorted(story.expected))
            found.append(
                f"{one}: {right} is right ({story.why or story.rule}), said {said.verdict}: {said.reason}"
            )
    return "\n".join(found)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name.startswith(("doc", "two", "rec"))])
def test_the_documented_is_never_violated(family: str) -> None:
    """What the documents leave free is not violated, and holds where nothing is missing."""
    assert "" == wrong(case(number, SEED, family) for number in range(60))


@pytest.mark.parametrize("name", list(DAMAGES))
def test_damaged_evidence_proves_nothing(name: str) -> None:
    """A history that lost something, or contradicts itself, neither holds nor accuses."""
    assert "" == wrong(case(number, SEED, "damaged", name) for number in range(6))


@pytest.mark.parametrize("name", list(STEPS))
def test_a_step_violates_its_rule(name: str) -> None:
    """One step that breaks a rule makes the run violated, and that rule is among the violated."""
    assert "" == wrong(case(number, SEED, "violation", name) for number in range(3))


def test_a_forged_line_does_not_hide_a_violation() -> None:
    """Whatever line is put beside a violation, the run does not hold."""
    assert "" == wrong(case(number, SEED, "violation, forged") for number in range(60))


PLANS = st.builds(
    HistoryPlan,
    st.integers(0, 2**32),
    st.lists(st.tuples(st.sampled_from(list(ACTIONS)), st.integers(0, 2**16)), max_size=6).map(tuple),
)


@settings(max_examples=examples(30))
@given(PLANS)
def test_a_drawn_history_is_judged_rightly(plan: HistoryPlan) -> None:
    """The same for plans that Hypothesis draws and makes smaller."""
    assert "" == wrong([ReferenceCase("documented", plan, 0)])


def test_a_plan_is_one_history() -> None:
    """The same plan gives the same records."""
    assert perform(drawn(5)).records == perform(drawn(5)).records


def test_numbers_and_accounts_agree() -> None:
    """A made history numbers its lines and its drivers' records without a gap, and its accounts count what is there."""
    apart = []
    for seed in range(60):
        records = perform(drawn(seed)).records
        said = {record.name: record.records for record in records if isinstance(record, Channel)}
        present = dict.fromkeys(said, 0)
        numbers: dict[tuple[str, str], list[int]] = {}
        for record in records:
            if isinstance(record, DriverRecord):
                present[record.channel] += 1
                numbers.setdefault((record.boot, record.driver), []).append(record.seq)
        whole = all(found == list(range(1, len(found) + 1)) for found in numbers.values())
        if (
            [record.n for record in records] != list(range(1, len(records) + 1))
            or not whole
            or said != present
        ):
            apart.append(seed)
    assert [] == apart


def test_an_edit_that_changes_nothing_leaves_the_numbers() -> None:
    """Numbering a made history anew gives the numbers that it has."""

    def shown(records: list[object]) -> list[tuple[object, ...]]:
        return [
            (record.driver, record.seq, getattr(record, "enter", 0))
            for record in records
            if isinstance(record, DriverRecord)
        ]

    records = perform(drawn(9, plain=True)).records
    assert shown(list(records)) == shown(list(consistent(records)))


def test_every_rule_that_can_fail_has_a_step() -> None:
    """Each rule of an error level is broken by a step."""
    named = {part for rule, _ in STEPS.values() for part in rule.split(" or ")}
    rules = {rule.id for rule in all_rules() if rule.decides and rule.level is not Level.GATE}
    assert set() == rules - named


def test_the_families_have_something_to_find() -> None:
    """Violations are expected of steps, and of nothing else."""
    stories = [case(number, SEED).story() for number in range(200)]
    kinds = {
        story.kind.partition("/")[0] for story in stories if story is not None and VIOLATED in story.expected
    }
    assert {"violation", "forged-copy", "forged-nonce", "forged-hello", "forged-driver"} == kinds


def test_the_judge_keeps_what_it_is_given() -> None:
    """Judging a made history twice gives one verdict."""
    records = perform(drawn(random.Random(3).getrandbits(30))).records
    assert judge(records).reasons == judge(records).reasons


def test_the_page_has_a_row_for_each_family() -> None:
    """docs/rules.md shows a dated table with every family; ``tox -e model -- --document`` writes it."""
    table = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert ["kind", "---", *FAMILIES] == rows
