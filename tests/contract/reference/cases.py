# SPDX-License-Identifier: MIT
"""Cases of every family: how each is made from a seed, what the checker says of it, and whether that is right."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from harness.contract.checker import judge_history
from harness.contract.verdict import Verdict
from harness.history.reader import History
from tests.contract.reference.channels import received_late, two_channels
from tests.contract.reference.damage import DAMAGES, damaged
from tests.contract.reference.scenario import HOLDS, VIOLATED, Story
from tests.contract.reference.shrinking import smaller
from tests.contract.reference.violations import STEPS, forged, violation
from tests.contract.reference.windows import HistoryPlan, drawn, perform


@dataclass(frozen=True)
class ReferenceCase:
    """One history to be judged: its plan, and what is done to it."""

    family: str
    plan: HistoryPlan
    seed: int
    name: str = ""
    _drawn: list[Story] = field(default_factory=list, init=False, compare=False, repr=False)
    """The history with which :func:`case` found that there is one, until it is asked for."""

    def story(self) -> Story | None:
        """Make the history; None if the plan has nothing to which this could be done."""
        return self._drawn.pop() if self._drawn else self._made()

    def _made(self) -> Story | None:
        story, chance = perform(self.plan), random.Random(self.seed)
        if self.family == "documented":
            return story
        if self.family == "two channels":
            return two_channels(story, chance)
        if self.family == "received late":
            return received_late(story)
        if self.family == "damaged":
            return damaged(story, self.name, chance)
        if self.family == "documented, forged":
            return forged(story, chance)
        broken = violation(story, self.name, chance)
        return broken if broken is None or self.family == "violation" else forged(broken, chance)


FAMILIES = {
    "documented": 27, "two channels": 5, "received late": 3, "damaged": 27, "documented, forged": 2,
    "violation": 20, "violation, forged": 16,
}  # fmt: skip
"""How many histories of a hundred are of each family."""


def case(number: int, seed: int = 0, family: str = "", name: str = "") -> ReferenceCase:
    """The case of a number, of a family and with a damage or step that are drawn unless they are given."""
    chance = random.Random(f"{seed} {number} {family} {name}")
    family = family or chance.choices(list(FAMILIES), list(FAMILIES.values()))[0]
    broken = family.startswith("violation")
    if broken or family == "damaged":
        name = name or chance.choice(list(STEPS) if broken else list(DAMAGES))
    for _ in range(2000):
        plan = drawn(chance.getrandbits(40), plain=broken)
        made = ReferenceCase(family, plan, chance.getrandbits(32), name)
        if (story := made.story()) is not None:
            made._drawn.append(story)
            return made
    raise RuntimeError(f"no history drawn could be made into {family} {name}")


@dataclass(frozen=True)
class Answer:
    """What the checker says of a story, and whether that is right."""

    verdict: str
    violated: frozenset[str]
    reason: str
    right: bool


def answer(story: Story) -> Answer:
    """Judge a story from a file, as a run's history is judged."""
    with tempfile.TemporaryDirectory() as directory:
        write(story, Path(directory))
        said = judge_history(History(Path(directory)))
    violated = frozenset(rule.rule for rule in said.rules if rule.verdict is Verdict.VIOLATED)
    named = not story.rule or said.verdict.value != VIOLATED or bool(violated & set(story.rule.split(" or ")))
    right = said.verdict.value in story.expected and (named or "forged" in story.kind)
    return Answer(said.verdict.value, violated, (said.reasons or [""])[0], right)


def shrunk(wrong: ReferenceCase) -> ReferenceCase:
    """A smaller case that is judged wrongly in the same way."""
    first = wrong.story()
    assert first is not None
    said = answer(first)

    def still(plan: HistoryPlan) -> bool:
        story = replace(wrong, plan=plan).story()
        if story is None:
            return False
        now = answer(story)
        same = now.reason.partition(":")[0] == said.reason.partition(":")[0]
        return not now.right and now.verdict == said.verdict and same

    return replace(wrong, plan=smaller(wrong.plan, still))


def write(story: Story, directory: Path) -> None:
    """Write a history and what is right for it, in the form of the given histories."""
    directory.mkdir(parents=True, exist_ok=True)
    encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
    (directory / "history.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in story.records))
    lines = {
        "kind": "B" if HOLDS in story.expected or VIOLATED not in story.expected else "A",
        "verdict": "|".join(sorted(story.expected)), "rule": story.rule or "-", "blame": "-",
        "why": f"{story.kind}: {story.why}", "source": "tests/contract/reference",
    }  # fmt: skip
    (directory / "expected.txt").write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
