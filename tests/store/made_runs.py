# SPDX-License-Identifier: MIT
"""Run directories and nightly runs made for a test, by the structs that the harness itself writes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from harness.contract.verdict import Finding, Level, RuleVerdict, RunVerdict, Verdict
from harness.history.run_directory import RunFacts
from harness.lab.nightly_state import CellOutcome, NightlyHeader


def stamp(at: int) -> str:
    """Return a moment as a run directory says it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def make_run(
    folder: Path,
    name: str,
    *,
    at: int = 1_790_000_000,
    verdict: Verdict = Verdict.HOLDS,
    rule: str = "SYNC-EXACTLY-TWO",
    reason: str = "registration 1 got 2 Starts",
    driver: str = "a" * 64,
    judged: bool = True,
    **facts: Any,
) -> Path:
    """Make a run directory whose one rule is holds, violated or unknown as its run is."""
    path = folder / name
    path.mkdir(parents=True)
    failure_class = {Verdict.VIOLATED: "contract", Verdict.UNKNOWN: "unknown"}.get(verdict, "")
    said: dict[str, Any] = {
        "run": name, "harness": "0.1.0", "argv": [], "guest": "twin", "plan": {"name": "veto"}, "seed": 1,
        "started": stamp(at), "finished": stamp(at + 20), "image": "Linux 6.1", "qemu_version": "QEMU emulator version 7.2.22",
        "content": {"hpnotify.ko": driver}, "verdict": str(verdict), "failure_class": failure_class,
    }  # fmt: skip
    (path / "run.json").write_bytes(msgspec.json.encode(RunFacts(**(said | facts))))
    rules = [
        RuleVerdict(rule=rule, level=Level.ERROR, verdict=verdict, source="", exercised=1, times=1),
        RuleVerdict(rule="LATE-REG", level=Level.OBSERVE, verdict=Verdict.NOT_APPLICABLE, source=""),
    ]
    findings = [Finding(rule=rule, level=Level.ERROR, verdict=verdict, reason=reason)]
    document = RunVerdict(
        run=name,
        guest="twin",
        verdict=verdict,
        reasons=[] if verdict is Verdict.HOLDS else [f"{rule}: {reason}"],
        rules=rules,
        findings=[] if verdict is Verdict.HOLDS else findings,
        observations={"ADDEX-THREAD": {"yes": 2}},
        failure_class=failure_class,
    )
    if judged:
        (path / "verdict.json").write_bytes(msgspec.json.encode(document))
    return path


def outcome(cell: str, *runs: str, verdict: str = "holds", code: int = 0, **more: Any) -> CellOutcome:
    """Return what a nightly run says of a cell."""
    blamed = {"violated": "contract", "unknown": "unknown"}.get(verdict, "")
    said: dict[str, Any] = {"failure_class": blamed, "seconds": 20.0, "state": "done", **more}
    return CellOutcome(cell=cell, runs=list(runs), verdict=verdict, exit_code=code, **said)


def make_night(
    folder: Path, name: str, *outcomes: CellOutcome, at: int = 1_790_000_000, cells: int = 0
) -> Path:
    """Make the directory of a nightly run; its runs lie in ``runs``."""
    path = folder / name
    path.mkdir(parents=True, exist_ok=True)
    header = NightlyHeader(
        format=1,
        name=name,
        lab="lab",
        digest="0",
        seed=1,
        cells=cells or len(outcomes),
        started=stamp(at),
        host="here",
    )
    lines = [msgspec.json.encode(header), *(msgspec.json.encode(one) for one in outcomes)]
    (path / "state.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return path
