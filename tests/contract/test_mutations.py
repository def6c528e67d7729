# SPDX-License-Identifier: MIT
"""Every rule that can fail a run does, after one step from a legal history, and no other rule without a reason."""

from __future__ import annotations

import pytest
from contract.mutations import DOCUMENT, MUTATIONS, Mutation, embedded, violated

from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import Level

by_rule = pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)


@by_rule
def test_the_legal_history_violates_nothing(mutation: Mutation) -> None:
    """What the step starts from is legal."""
    assert set() == violated(mutation.legal)


@by_rule
def test_one_step_violates_the_rule(mutation: Mutation) -> None:
    """After the step the rule is violated, and those that the same step cannot but violate."""
    assert {mutation.rule, *mutation.also} == violated(mutation.mutated)


def test_the_matrix_has_no_hole() -> None:
    """Every rule that can make a run violated has its mutation, and what else breaks is explained."""
    can_fail = {rule.id for rule in all_rules() if rule.decides and rule.level is not Level.GATE}
    assert (can_fail, []) == (
        {m.rule for m in MUTATIONS},
        [m.rule for m in MUTATIONS if m.also and not m.why],
    )


def test_the_table_in_the_documents_is_this_one() -> None:
    """docs/rules.md shows the matrix as it is; tests/contract/mutations.py writes it."""
    document = DOCUMENT.read_text()
    assert embedded(document) == document
