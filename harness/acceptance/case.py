# SPDX-License-Identifier: MIT
"""The acceptance cases: each has a plan, the expectation with its source page, and the rules that it must
exercise."""

from __future__ import annotations

from importlib import resources
from typing import Annotated, Literal

import msgspec

from harness.config import decode_toml
from harness.contract.rules.catalogue import all_rules
from harness.errors import BadDocument, UsageError
from harness.invocation import invocation
from harness.run.operation import AddCpu, Operation
from harness.run.plan import MachineWishes, Plan, checked


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case, decoded from ``cases/NN-name.toml``.

    ``expected`` is one sentence, ``source`` the page it comes from. ``exercises`` are rules that must have
    something to judge: a case that exercised nothing does not pass. ``races`` is why some of its rules can
    only be shown not to be broken. ``guests`` ``clients`` is for guests that accept processors only at a
    restart; other cases that add a processor do not apply to them. ``procedure`` ``migrate`` moves the
    machine to another QEMU after the plan's operations. ``ends`` says how the run is expected to end.
    ``twin`` is why the twin cannot show it, "" if it can. ``repeat`` is how often a soak runs it. The other
    fields are a plan's.
    """

    number: Annotated[int, msgspec.Meta(ge=1, le=99)]
    name: str
    expected: str
    source: str
    exercises: list[str] = []
    twin: str = ""
    races: str = ""
    guests: Literal["", "clients"] = ""
    procedure: Literal["", "migrate"] = ""
    ends: Literal["completes", "crash"] = "completes"
    repeat: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    driver: bool = True
    machine: MachineWishes = MachineWishes()
    do: Annotated[list[Operation], msgspec.Meta(min_length=1, max_length=10_000)]

    @property
    def adds_processors(self) -> bool:
        """Whether a processor is added to the running guest."""
        return any(isinstance(operation, AddCpu) for operation in self.do)

    @property
    def plan(self) -> Plan:
        """The executed plan; runs and reproductions have its name."""
        return Plan(
            name=f"accept-{self.number:02}-{self.name}",
            summary=self.expected,
            driver=self.driver,
            machine=self.machine,
            do=self.do,
        )


def decode_case(text: str, *, name: str) -> Case:
    """Decode a case. Raises BadDocument with file:line, also for a rule that does not exist."""
    case = decode_toml(text, Case, name=name)
    checked(case.plan, text, name)
    known = {rule.id for rule in all_rules()}
    for rule in case.exercises:
        if rule not in known:
            raise BadDocument(
                f"{name}: no rule is called {rule!r}", hint=f"All of them: {invocation('rules')}"
            )
    return case


def all_cases() -> list[Case]:
    """Return the cases in order of their numbers."""
    folder = resources.files("harness.acceptance") / "cases"
    cases = [
        decode_case(entry.read_text(encoding="utf-8"), name=f"cases/{entry.name}")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    ]
    return sorted(cases, key=lambda case: case.number)


def find_cases(wanted: list[str]) -> list[Case]:
    """Return the cases with these numbers or names, all for an empty list. Raises UsageError with the existing ones."""
    cases = all_cases()
    if not wanted:
        return cases
    found = []
    for word in wanted:
        matching = [case for case in cases if word in (case.name, str(case.number), f"{case.number:02}")]
        if not matching:
            raise UsageError(
                f"no case is called {word!r}",
                hint="There are: " + ", ".join(f"{case.number} {case.name}" for case in cases),
            )
        found += [case for case in matching if case not in found]
    return sorted(found, key=lambda case: case.number)
