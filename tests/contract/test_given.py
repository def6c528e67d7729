# SPDX-License-Identifier: MIT
"""The given histories get the verdict that was written down for them, with the rule and the blame."""

from __future__ import annotations

from pathlib import Path

import pytest
from given_data import given

from harness.contract.checker import judge_history
from harness.contract.verdict import Verdict
from harness.history.reader import History


def expectation(directory: Path) -> dict[str, str]:
    """Return the keys of ``expected.txt``."""
    lines = (directory / "expected.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize("written", given("histories", "*/expected.txt"))
def test_the_verdict_is_right(written: Path) -> None:
    """The verdict is one of those that are right, the rule is among the violated, the failure class is the given one."""
    directory = written.parent
    expected = expectation(directory)
    said = judge_history(History(directory))
    violated = {rule.rule for rule in said.rules if rule.verdict is Verdict.VIOLATED}
    rule, blame = expected["rule"], expected["blame"]
    right = (
        said.verdict.value in expected["verdict"].split("|"),
        rule == "-" or rule in violated,
        blame in ("-", said.failure_class),
    )
    assert (True, True, True) == right, (said.verdict, said.failure_class, said.reasons)
