# SPDX-License-Identifier: MIT
"""The kinds that a rule asks for determine what its predicate takes, and the type checker says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RULE = '''\
from harness.contract.rules import subject_kind as kind
from harness.contract.rules.rule import HOLDS, RuleOutcome, Section
from harness.contract.state.entities import Attempt, Callback, CallSpan, Epoch
from harness.contract.state.model import Model
from harness.contract.verdict import Level

rule = Section("R.0", "Tried").rule


@rule("TRIED", Level.ERROR, {kinds}, clauses="A1", source="", says="", needs="", holds="")
def tried(subject: {subject}, model: {model}) -> {outcome}:
    """A predicate."""
    return HOLDS
'''

RIGHT = [
    ("kind.SYNC_ENTER", "Callback", "Model", "RuleOutcome"),
    ("kind.SYNC_EXIT", "Callback | None", "Model", "RuleOutcome"),
    ("kind.ATTEMPT | kind.EPOCH", "Attempt | Epoch", "Model", "RuleOutcome"),
    ("kind.ATTEMPT", "Attempt | Epoch", "Model", "RuleOutcome"),
]
WRONG = [
    ("kind.SYNC_ENTER", "CallSpan", "Model", "RuleOutcome"),
    ("kind.SYNC_EXIT", "Callback", "Model", "RuleOutcome"),
    ("kind.ATTEMPT | kind.EPOCH", "Attempt", "Model", "RuleOutcome"),
    ("kind.SYNC_ENTER", "Callback", "int", "RuleOutcome"),
    ("kind.SYNC_ENTER", "Callback", "Model", "bool"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the type checker says of one module for each declaration."""
    directory = tmp_path_factory.mktemp("rules")
    for number, (kinds, subject, model, outcome) in enumerate(RIGHT + WRONG):
        text = RULE.format(kinds=kinds, subject=subject, model=model, outcome=outcome)
        (directory / f"tried_{number}.py").write_text(text)
    files = sorted(map(str, directory.iterdir()))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", *files]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout


@pytest.mark.parametrize("number", range(len(RIGHT)), ids=lambda n: " ".join(RIGHT[n][:2]))
def test_a_predicate_that_takes_what_its_kinds_give_is_accepted(number: int, said: str) -> None:
    """A subject of the very type, or of a wider one."""
    assert ("Found" in said, f"tried_{number}.py" in said) == (True, False), said


@pytest.mark.parametrize("number", range(len(WRONG)), ids=lambda n: " ".join(WRONG[n]))
def test_a_predicate_of_the_wrong_type_is_rejected(number: int, said: str) -> None:
    """A subject of another kind, one that may be missing, a model of another type, another answer."""
    assert f"tried_{len(RIGHT) + number}.py:10: error: Argument 1 has incompatible type" in said, said
