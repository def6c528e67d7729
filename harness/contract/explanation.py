# SPDX-License-Identifier: MIT
"""Turns a finding into sentences a driver writer can act on: the records that show it, the contradiction, the clock.

The result is plain text, one string per line, without colours. Every string from a guest is made printable. A caller that
prints it on a terminal may colour whole lines.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.contract.rules.rule import OrderReason, Rule
from harness.contract.state.merge import Conflict, Disorder, Gap, Repeat, Stale, UnrecordedBoot
from harness.contract.verdict import Finding, Level, Verdict, Witness
from harness.history import driver as d
from harness.history.absent import absent_in, standing
from harness.history.reader import History
from harness.history.record import OperationProgress, Record
from harness.history.run_directory import RunDirectory, lasting
from harness.invocation import invocation

MOST_WITNESSES = 5
"""Records shown with a finding."""

MISSING = "missing"
"""How the description of records that never arrived begins."""

LONGEST = 200
"""Characters of one value of a record that are shown."""

_COMMON = frozenset(
    {"n", "host_ns", "channel", "seq", "qpc", "boot", "driver", "cpu", "irql", "thread",
     "active", "active_g0", "active_g0_ex", "maximum", "groups"}
)  # fmt: skip
"""Fields that every driver record has; those that matter are shown by name."""


def printable(value: Any) -> str:
    """Return ``value`` as text that is safe on a terminal, cut to a bounded length."""
    text = str(value)
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    return "".join(
        c if c.isprintable() else f"\\x{ord(c):02x}" if ord(c) < 256 else f"\\u{ord(c):04x}" for c in text
    )


def _value(name: str, value: Any) -> str:
    if name in ("status", "op", "ctx", "mask", "result", "ret", "object", "idx_status") and isinstance(
        value, int
    ):
        return f"{name}={value:#x}"
    return f"{name}={printable(value)}"


def describe(record: Record) -> str:
    """Say in one line what a record is, where it came from, and its raw values."""
    tag = record.__struct_config__.tag
    if isinstance(record, Gap):
        last = f" to #{record.last}" if record.last != record.first else ""
        return f"{MISSING}  driver {printable(record.driver)} #{record.first}{last}, before this record"
    if isinstance(record, UnrecordedBoot):
        return f"driver {printable(record.driver)} says hello in boot {printable(record.boot)}"
    if isinstance(record, Repeat | Stale | Conflict | Disorder):
        return f"driver {printable(record.driver)} #{record.seq} of boot {printable(record.boot)}"
    if not isinstance(record, d.DriverRecord):
        words = [
            _value(name, getattr(record, name))
            for name in record.__struct_fields__
            if name not in ("n", "host_ns")
        ]
        return printable(f"host  {tag}  {' '.join(words)}") + f"   host_ns={record.host_ns}"
    absent = absent_in(record)
    record = standing(record)
    what = str(tag)
    if isinstance(record, d.SyncEnter | d.SyncExit):
        phase = "entered" if what.endswith("enter") else "returned"
        what = f"{d.STATE_NAMES.get(record.state, f'state {record.state}')} {phase}  NtNumber={record.nt}"
    elif isinstance(record, d.CallEnter | d.CallExit):
        what = f"{record.call} {'entered' if what.endswith('enter') else 'returned'}"
    elif isinstance(record, d.AsyncEnter):
        what = f"{printable(record.event)} of {printable(record.cls)} entered"
    skip = _COMMON | {"state", "nt", "call", "event", "cls"} | absent
    words = [_value(name, getattr(record, name)) for name in record.__struct_fields__ if name not in skip]
    sampled = [f"{name}={getattr(record, name)}" for name in ("active", "cpu", "irql") if name not in absent]
    return (
        f"driver {printable(record.driver)}  {what}   {printable(record.channel)} #{record.seq}  qpc={record.qpc}   "
        f"{' '.join(sampled)}  {' '.join(words)}"
    )


def witnesses(shown: Sequence[Record]) -> list[Witness]:
    """Name the records E1, E2, … in the order given, each once."""
    distinct: list[Record] = []
    for record in shown:
        if not any(record is other for other in distinct):
            distinct.append(record)
    return [
        Witness(name=f"E{place}", record=record.n, text=describe(record))
        for place, record in enumerate(distinct[:MOST_WITNESSES], 1)
    ]


def _names(shown: Sequence[Record]) -> dict[int, str]:
    names: dict[int, str] = {}
    for record in shown:
        if id(record) not in names:
            names[id(record)] = f"E{len(names) + 1}"
    return names


def chain_lines(shown: Sequence[Record], chain: Sequence[OrderReason]) -> list[str]:
    """Return "E1 < E2, because …" for every edge of a contradiction."""
    names = _names(shown)
    return [
        f"{names.get(id(edge.before), f'record {edge.before.n}')} < "
        f"{names.get(id(edge.after), f'record {edge.after.n}')}, because {edge.reason}"
        for edge in chain
    ]


def clock_line(shown: Sequence[Record], chain: Sequence[OrderReason]) -> str:
    """Say whether a clock could be to blame for the contradiction."""
    if any(edge.kind == "clock" for edge in chain):
        return (
            "The clock could matter: the order between two drivers rests on the guest's performance counter, "
            "which both read; their sequence numbers do not contradict it."
        )
    if chain:
        kinds = sorted({edge.kind for edge in chain})
        return f"Not the clock: the order rests on {' and '.join(kinds)}, no two times were compared."
    drivers = {record.driver for record in shown if isinstance(record, d.DriverRecord)}
    if len(shown) > 1 and len(drivers) == 1:
        return "Not the clock: all records carry one driver's sequence numbers, no two times were compared."
    return "Not the clock: no two times were compared."


def explain(finding: Finding, rule: Rule | None = None, *, reproduce: str = "") -> list[str]:
    """Return the lines that explain ``finding``.

    ``rule`` adds the sentence and the source page (see :func:`harness.contract.rules.catalogue.find`); ``reproduce`` is the
    command that makes it happen again, "" if there is none to give.
    """
    label = {
        Verdict.VIOLATED: "WARNING" if finding.level in (Level.WARN, Level.POLICY) else "VIOLATED",
        Verdict.UNKNOWN: "UNKNOWN",
        Verdict.HOLDS: "FOUND",
        Verdict.NOT_APPLICABLE: "NOT APPLICABLE",
    }[finding.verdict]
    title = f"{label}  {finding.rule}"
    if finding.attempt:
        title += f"  {printable(finding.attempt)}"
    if rule is not None:
        title += f"   (source: {rule.source})"
    lines = [title]
    if finding.witnesses:
        lines.append("Let:")
        lines += [
            f"  {witness.name} = record {witness.record}  {witness.text}" for witness in finding.witnesses
        ]
    lines.append("Then:")
    if rule is not None and finding.verdict is Verdict.VIOLATED:
        lines.append(f"  - {_sentence(rule.says)}")
    broken = finding.verdict is Verdict.VIOLATED
    if broken and finding.chain:
        lines.append(f"  - However, {printable(finding.reason)}:")
        lines += [
            f"    {line}{'.' if line != finding.chain[-1] else ': a contradiction!'}"
            for line in finding.chain
        ]
    elif broken:
        lines.append(f"  - However, {printable(finding.reason)}: a contradiction!")
    else:
        lines.append(f"  - {_sentence(printable(finding.reason))}")
    if broken and finding.clock:
        lines.append(finding.clock)
    if finding.consequences:
        lines.append("The same cause also breaks:")
        lines += [f"  - {printable(line)}" for line in finding.consequences]
    if reproduce:
        lines.append(f"Reproduce:  {reproduce}")
    return lines


def explainer(history: History) -> Callable[[Finding], list[str]]:
    """Return :func:`explain` for the findings of one recorded run, with its rules and the command that reproduces it.

    The command comes from the ``run.json`` beside the history, if one says how it was recorded. It stops after the
    operation during which the last of the finding's records arrived.
    """
    from harness.contract.rules.catalogue import find

    begun = cache(lambda: _operations(history))

    def explained(finding: Finding) -> list[str]:
        command = reproduction(history.path.parent, step=_step(finding, begun))
        return explain(finding, find(finding.rule), reproduce=command)

    return explained


def last_step(history: History, finding: Finding) -> int:
    """Return the operation of the plan during which the last of the finding's records arrived, 0 if unknown."""
    return _step(finding, lambda: _operations(history))


def steps(history: History) -> Callable[[Finding], int]:
    """Return :func:`last_step` for the findings of one history, which is read at most once."""
    begun = cache(lambda: _operations(history))
    return lambda finding: _step(finding, begun)


def _step(finding: Finding, begun: Callable[[], list[int]]) -> int:
    last = max((witness.record for witness in finding.witnesses), default=0)
    return bisect.bisect_left(begun(), last) if last else 0


def _operations(history: History) -> list[int]:
    """Return the record numbers at which operations of the plan began, empty if the history cannot be read again.

    A final ``settle`` does not count: the executor adds it.
    """
    begun: list[OperationProgress] = []
    with contextlib.suppress(OSError):
        begun += (one for one in history if isinstance(one, OperationProgress) and one.phase == "begin")
    if begun and begun[-1].name == "settle":
        begun.pop()
    return [operation.n for operation in begun]


def reproduction(directory: Path, *, step: int = 0) -> str:
    """Return the command that repeats the run in ``directory``, up to ``step`` if that is not 0; "" if none is known.

    ``harness repro`` repeats a run whose ingredients were recorded. Another run is repeated by the command that recorded it.
    """
    facts = RunDirectory(directory).brief()
    if facts.plan:
        return invocation("repro", lasting(directory), *(["--step", str(step)] if step else []))
    recorded = facts.argv and Path(facts.argv[0]).name in ("harness", "__main__.py")
    return invocation(*facts.argv[1:]) if recorded else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
