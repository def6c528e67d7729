# SPDX-License-Identifier: MIT
"""Makes a plan smaller while its history is still judged wrongly in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tests.contract.reference.windows import HistoryPlan


def smaller(plan: HistoryPlan, still: Callable[[HistoryPlan], bool]) -> HistoryPlan:
    """Leave out actions, one at a time, as long as ``still`` says that what is left shows the same."""
    place = 0
    while place < len(plan.actions):
        shorter = replace(plan, actions=plan.actions[:place] + plan.actions[place + 1 :])
        if still(shorter):
            plan, place = shorter, 0
        else:
            place += 1
    return plan
