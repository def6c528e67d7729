# SPDX-License-Identifier: MIT
"""The statements on Windows that docs/windows.md lists, and the records that show whether one is true.

``statements.json`` is the page's tables as data: ``python -m tests.docs.statements`` regenerates it.

A script of the harness tests what it relies on. Windows confirms it if the script succeeds, and refutes it if
Windows stops the script with an error message. A script that was not run, whose answer was lost, or whose
tool exited with an ambiguous code, decides nothing.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError
from harness.guest.windows.shell import ANSWERED, BROKE_OFF, SCRIPT
from harness.history import driver as d
from harness.history.bug_check import PANICKED, BugCheck, bug_check_of
from harness.history.reader import History
from harness.history.record import Channel, Count, GuestEvent, Qmp, Record, Stage
from harness.history.run_directory import HISTORY
from harness.template.provision import FOLDER, INSTALL, LAUNCHER, steps
from harness.template.stage import SHOWN, BuildStage
from harness.template.store import BuiltTemplate
from harness.template.template import Template

LAUNCH = f"{INSTALL}/{LAUNCHER}"
PROVISIONING = SHOWN[BuildStage.PROVISIONING]
WARNING = "warning: "
"""The prefix in a build's log of a step's failure after which the build continued: ``STEP: WORDS``."""

MACHINE, TRACE, TRACE_FILE = "hpnctl machine", "hpnctl trace", "trace file"
NMI, BUG_CHECK, OWN_COPY = "NMI", "bug check", "one file a service"
"""Statements with separate evidence, by their names on the page."""

NMI_BUG_CHECK = 0x80
"""WD: debugger/bug-check-0x80--nmi-hardware-failure.md."""

RESTART_WANTED = {"verifier": (2,), "pnp-install": (3010, 1641)}
"""Exit codes other than 0 with which a script's tool reports success and requests a restart."""


class Shown(StrEnum):
    """What a record shows about a statement."""

    TRUE = "true"
    FALSE = "false"


class StatementEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed about a statement: the record and its text."""

    shown: Shown
    record: int
    words: str = ""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the page: ``id`` is what relies on the statement, ``says`` its text, ``page`` its source."""

    id: str
    says: str
    page: str


def statements(template: Template) -> list[Statement]:
    """Return all statements, in the page's order, and the steps that only ``template`` has."""
    data = resources.files("harness.acceptance").joinpath("statements.json").read_bytes()
    known = msgspec.json.decode(data, type=list[Statement])
    names = {one.id for one in known}
    own = [f"{FOLDER}/{step.script.name}" for step in steps(template)]
    return [*known, *(Statement(id=name, says="", page="") for name in own if name not in names)]


def in_run(records: Iterable[Record]) -> dict[str, StatementEvidence]:
    """Return what the records of one run show. For a script that was run more than once, the last result counts."""
    found: dict[str, StatementEvidence] = {}
    drivers: set[str] = set()
    for record in records:
        match record:
            case GuestEvent(event=event, detail=detail) if event == SCRIPT:
                name, _, outcome = detail.partition(": ")
                evidence = _of_script(name, outcome, record.n)
                if evidence is not None:
                    found[f"{name}.ps1"] = evidence
            case Count(why="baseline"):
                found.setdefault(MACHINE, _true(record))
            case Channel(name="etw", records=count, closed=True) if count:
                found.setdefault(TRACE, _true(record))
                found.setdefault(TRACE_FILE, _true(record))
            case d.Hello():
                drivers.add(record.driver)
                if len(drivers) > 1:
                    found.setdefault(OWN_COPY, _true(record))
            case Qmp(message=message) if (stop := _bug_check(message)) is not None:
                found.setdefault(BUG_CHECK, _true(record))
                if stop.code == NMI_BUG_CHECK:
                    found.setdefault(NMI, _true(record))
            case _:
                pass
    return found


def _true(record: Record) -> StatementEvidence:
    return StatementEvidence(shown=Shown.TRUE, record=record.n)


def _of_script(name: str, outcome: str, record: int) -> StatementEvidence | None:
    if outcome == ANSWERED or outcome in {f"code {code}" for code in RESTART_WANTED.get(name, ())}:
        return StatementEvidence(shown=Shown.TRUE, record=record)
    if outcome.startswith(BROKE_OFF):
        return StatementEvidence(shown=Shown.FALSE, record=record, words=outcome)
    return None


def _bug_check(message: dict[str, Any]) -> BugCheck | None:
    data = message.get("data")
    return bug_check_of(data) if message.get("event") == PANICKED and isinstance(data, dict) else None


class BuildEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What a template's build showed about a statement; ``place`` names the log in the template's folder."""

    place: str
    evidence: StatementEvidence


def in_build(built: BuiltTemplate) -> dict[str, BuildEvidence]:
    """Return what the logs of a template's build show about its provisioning steps; the last attempt at a step counts.

    A step succeeded if the guest continued with the next one. It is refuted by its own reported failure, also
    if the build continued. What starts provisioning succeeded if provisioning started.
    """
    files = {step.name: f"{FOLDER}/{step.script.name}" for step in steps(built.template())}
    found: dict[str, BuildEvidence] = {}
    for log in sorted((built.folder / built.manifest.log).glob(f"*/{HISTORY}")):
        ended: Stage | None = None
        warned: dict[str, StatementEvidence] = {}
        place = f"{built.manifest.log}/{log.parent.name}"
        for record in _stages(log):
            if record.phase == "note":
                name, _, words = record.detail.removeprefix(WARNING).partition(": ")
                warned[name] = StatementEvidence(shown=Shown.FALSE, record=record.n, words=words)
                continue
            if record.phase == "begin" and record.name == PROVISIONING:
                found[LAUNCH] = BuildEvidence(place=place, evidence=_true(record))
            shown: StatementEvidence | None = None
            done = ended if record.phase == "begin" else None
            name = _step((done or record).name)
            if done is not None:
                shown = warned.get(name) or _true(done)
            elif record.phase == "fail" and record.detail.startswith(f"provisioning {_words(record.name)}"):
                shown = StatementEvidence(shown=Shown.FALSE, record=record.n, words=record.detail)
            if shown is not None and name in files:
                found[files[name]] = BuildEvidence(place=place, evidence=shown)
            ended = record if record.phase == "end" else None
    return found


_STEP = re.compile(r"provisioning, (step [0-9]+ of [0-9]+ \(([a-z0-9-]+)\))")
"""The format of a step in a build's log (:class:`harness.template.progress.BuildPosition`)."""


def _step(stage: str) -> str:
    found = _STEP.fullmatch(stage)
    return found[2] if found else ""


def _words(stage: str) -> str:
    found = _STEP.fullmatch(stage)
    return f"{found[1]} failed: " if found else "\0"


def _stages(log: Path) -> Iterator[Stage]:
    """Yield the starts and ends of stages in a build's log, as far as it can be read."""
    with contextlib.suppress(HarnessError):
        for record in History(log.parent):
            if not isinstance(record, Stage) or record.name == "lease":
                continue
            if record.phase != "note" or record.detail.startswith(WARNING):
                yield record
