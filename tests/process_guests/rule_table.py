# SPDX-License-Identifier: MIT
"""Which built-in plans exercise a rule and which injected fault breaks it, measured on the guest ``host``.

``python -m tests.process_guests.rule_table`` runs every plan and every fault that this guest can show, and writes the
table into docs/rules.md. What only a guest that boots can show is in :data:`ON_THE_TWIN`, which a test runs there.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Level, RunVerdict, Verdict
from harness.guest.fault_injection import INJECTED_FAULTS
from harness.run.options import Timeouts
from harness.run.plan import built_in_plans
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory
from tests.guest_drivers.source_faults import SOURCE_FAULTS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
BEGIN, END = "<!-- shown: begin -->", "<!-- shown: end -->"

QUICK = Timeouts(operation=10.0, consequence=0.5, quiet=0.03)
"""A process answers at once, and it is asked whether it lives before its silence counts."""

CANNOT = {
    "balloon": "cannot show memory outside ACPI memory devices",
    "dimm-backends": "cannot show what a DIMM is made of on the host",
    "migrate": "cannot show a migration",
    "migrate-fails": "cannot show a migration",
    "migrate-in-add": "cannot show a migration",
    "migrate-pending": "cannot show a migration",
    "monitor-drops": "cannot show how a monitor drops",
    "nvdimm": "cannot show memory outside ACPI memory devices",
    "reset": "cannot show a reset",
    "reset-in-add": "cannot show a reset",
    "two-clients": "cannot show two clients",
    "unaligned-dimm": "cannot show a device that the guest ignores",
    "virtio-mem": "cannot show memory outside ACPI memory devices",
}
"""Plans that need a guest which boots, and what is said instead."""

REFUSED = tuple(name for name in built_in_plans() if name.startswith(("unplug", "found")))
"""Plans that a guest without QEMU or firmware refuses before it starts."""

HOST_PLANS = sorted(set(built_in_plans()) - set(CANNOT) - set(REFUSED))

BLAMED = (Level.ERROR, Level.ERROR_DRIVER)
"""The levels of which each rule is to have a plan and a fault, or a reason."""

ON_THE_TWIN = {
    "HOST-AGREED": ("cpu-and-dimm", "unaligned-dimm"),
    "HOST-ADD-NOT-PROOF": ("cpu-and-dimm", "unaligned-dimm"),
}
"""Rules that need QEMU and its firmware, and plans that exercise them there."""

UNDER_WAY = "the layer locks additions out while a driver registers"
NOT_EXERCISED = {
    "LATE-REG": UNDER_WAY,
    "ADDEX-RACE": UNDER_WAY,
    "DEREG-QUIET": "the layer calls nobody while or after a registration ends",
    "EDITION-ADDS": "Windows alone has editions, and says this of its own",
    "ASYNC-UNREG-LEGACY-LATE": "the driver does not use the older routine",
    "MEM-NO-REBALANCE": "the layer sends no request to a device when memory is added",
    "REBAL-OPTOUT": "judged when a device gets a request; in `opt-out` the devices get none",
}
"""Why no plan exercises a rule."""

NOT_BROKEN = {
    rule: f"no fault of the layer; a driver that {fault.does} (`tests/guest_drivers/source_faults.py`)"
    for rule, fault in SOURCE_FAULTS.items()
}
"""Why no injected fault breaks a rule."""


class HostRuns:
    """The verdicts of runs on the guest ``host``, each made when it is asked for first, in the directory ``runs``."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._verdicts: dict[tuple[str, str], RunVerdict] = {}

    def verdict(self, plan: str, fault: str = "") -> RunVerdict:
        """Return the verdict of a built-in plan with a fault injected, "" for none."""
        if (plan, fault) not in self._verdicts:
            request = RunRequest(
                plan=built_in_plans()[plan],
                guest="host",
                runs=self._runs,
                cache=cache_directory(os.environ),
                argv=["test"],
                budget=QUICK,
                inject_fault=fault,
            )
            self._verdicts[plan, fault] = perform(request).verdict
        return self._verdicts[plan, fault]

    def plans(self, rule: str) -> list[str]:
        """Return the plans that exercise a rule."""
        return [plan for plan in HOST_PLANS if exercises(self.verdict(plan), rule)]

    def faults(self, rule: str) -> list[str]:
        """Return the faults that break a rule, of those that are to break it."""
        wanted = [name for name, fault in INJECTED_FAULTS.items() if rule in (fault.rule, *fault.also)]
        return [name for name in wanted if breaks(self.verdict(INJECTED_FAULTS[name].plan, name), rule)]


def exercises(verdict: RunVerdict, rule: str) -> bool:
    """Return whether a rule had something to judge in a run."""
    return any(said.rule == rule and said.exercised > 0 for said in verdict.rules)


def breaks(verdict: RunVerdict, rule: str) -> bool:
    """Return whether a rule was violated in a run; a gate can only become unknown."""
    broken = {said.rule: said.verdict for said in verdict.rules}
    gate = any(known.id == rule and known.level is Level.GATE for known in all_rules())
    return broken.get(rule) is (Verdict.UNKNOWN if gate else Verdict.VIOLATED)


def table(runs: HostRuns) -> str:
    """Return the table: a row for each rule."""
    rows = [
        "| rule | level | exercised by | broken by | an example report |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| {rule.id} | {rule.level} | {_exercised(rule, runs)} | {_broken(rule, runs)} | {_example(rule, runs)} |"
        for rule in all_rules()
    ]
    return "\n".join(rows)


def _exercised(rule: Rule, runs: HostRuns) -> str:
    plans = runs.plans(rule.id)
    missing = [plan for plan in HOST_PLANS if plan not in plans]
    if not missing:
        return "all"
    if len(missing) < len(plans):
        return f"all but {_code(missing)}"
    if plans:
        return _code(plans)
    if rule.id in ON_THE_TWIN:
        return f"twin: {_code(ON_THE_TWIN[rule.id])}"
    return f"none: {NOT_EXERCISED.get(rule.id, '**no reason**')}"


def _broken(rule: Rule, runs: HostRuns) -> str:
    faults = runs.faults(rule.id)
    if faults:
        return ", ".join(f"`{name}` in `{INJECTED_FAULTS[name].plan}`" for name in faults)
    if rule.level in BLAMED:
        return NOT_BROKEN.get(rule.id, "none: **no reason**")
    return ""


def _example(rule: Rule, runs: HostRuns) -> str:
    """Return the command that makes a report in which the rule is broken, by the fault of its own if it has one."""
    faults = sorted(runs.faults(rule.id), key=lambda name: INJECTED_FAULTS[name].rule != rule.id)
    return _code([example(faults[0])]) if faults else ""


def example(fault: str) -> str:
    """Return the command line that runs a fault's plan with it and writes the report of the run."""
    return f"harness run {INJECTED_FAULTS[fault].plan} --guest host --inject-fault {fault} --report"


def _code(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def holes(runs: HostRuns) -> list[str]:
    """Return the rules that no plan exercises or, of the levels that blame somebody, no fault breaks, without a reason."""
    return [
        rule.id
        for rule in all_rules()
        if not (runs.plans(rule.id) or rule.id in ON_THE_TWIN or rule.id in NOT_EXERCISED)
        or (rule.level in BLAMED and not (runs.faults(rule.id) or rule.id in NOT_BROKEN))
    ]


def embedded(document: str, runs: HostRuns) -> str:
    """Return ``document`` with the table between its marks replaced."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table(runs)}\n{END}{after}"


def main() -> None:
    """Write the table into the document."""
    with tempfile.TemporaryDirectory() as place:
        text = embedded(DOCUMENT.read_text(), HostRuns(Path(place)))
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
