# SPDX-License-Identifier: MIT
"""A finding of an exploration, with its folder: the plan, a pytest function, and the run that shows it.

``findings/NAME/`` has ``finding.json``, ``plan.toml``, ``test_NAME.py``, and ``run``, the run directory.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec

from harness.config import to_plain
from harness.errors import InfrastructureError
from harness.explore.corpus import writing
from harness.explore.legality import OperationSequence
from harness.explore.trial import Trial
from harness.history.json_file import indented, read_json
from harness.interrupts import uninterrupted
from harness.interval import Rate
from harness.repro.saved_session import save_plan, save_test
from harness.run.operation import Operation
from harness.run.plan import Plan
from harness.run.request import RunRequest

FOLDER = "findings"
FILE = "finding.json"
PLAN = "plan.toml"
MOST = 10_000
"""The most findings that are read."""


class ExploredFinding(msgspec.Struct, kw_only=True):
    """One signature. ``times`` counts its trials. ``operations`` is the smallest plan so far, in the form of a plan
    file.

    ``first_seen`` is the number of the plan that found it; ``original`` is the number of that plan's operations.
    ``shrunk`` says whether shrinking has ended. ``reproduced`` is the smallest plan's rate of reproduction. ``reason``
    belongs to the run in ``run``.
    """

    signature: str
    times: int = 1
    first_seen: int = 0
    original: int = 0
    operations: list[dict[str, Any]] = []
    shrunk: bool = False
    reproduced: Rate | None = None
    reason: str = ""
    directory: str = ""
    plan: str = ""
    test: str = ""
    run: str = ""


def name_of(signature: str) -> str:
    """Return the name of a signature's folder: its words, and enough of its digest to be unique."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", signature).strip("-").lower()[:60]
    return f"{words}-{hashlib.sha256(signature.encode()).hexdigest()[:6]}"


def _written(operation: Operation) -> dict[str, Any]:
    """Return an operation in the form of a plan file, without its defaults."""
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(operation)}
    return {
        key: value
        for key, value in to_plain(operation).items()
        if key == "op" or (value is not None and value != defaults[key])
    }


class FindingFolder:
    """The folder of one finding, in the folder ``into`` of an exploration. Raises InfrastructureError on a full disk."""

    def __init__(self, into: Path, finding: ExploredFinding) -> None:
        self.finding = finding
        self.path = into / FOLDER / name_of(finding.signature)
        finding.directory = str(self.path)

    def write(self) -> None:
        """Write ``finding.json``."""
        self._write(FILE, indented(self.finding))

    def keep(self, trial: Trial, operations: OperationSequence, plan: Plan, request: RunRequest) -> None:
        """Keep a trial as the smallest so far. Its run directory, plan and test replace the earlier ones.

        Ctrl-C waits until that is done.
        """
        with uninterrupted():
            self._keep(trial, operations, plan, request)

    def _keep(self, trial: Trial, operations: OperationSequence, plan: Plan, request: RunRequest) -> None:
        self._write(".keep", b"")
        finding = self.finding
        finding.operations = [_written(operation) for operation in operations]
        finding.reason = trial.reason
        stem = "test_" + re.sub(r"\W+", "_", self.path.name.rpartition("-")[0])
        files = [self.path / PLAN, self.path / f"{stem}.py", self.path / f"{stem}.toml"]
        for file in (*files, self.path / ".keep"):
            file.unlink(missing_ok=True)
        origin = f"an exploration, which found: {finding.signature}"
        finding.plan = str(save_plan(plan, files[0], origin=origin))
        if trial.directory:
            run = self.path / "run"
            shutil.rmtree(run, ignore_errors=True)
            try:
                shutil.move(trial.directory, run)
            except OSError as error:
                raise InfrastructureError(f"cannot move {trial.directory} to {run}: {error}") from error
            finding.run = str(run)
        if trial.verdict is not None:
            finding.test = str(save_test(plan, files[1], request, trial.verdict, origin=origin)[-1])
        if trial.defect:
            self._write("traceback.txt", trial.defect.encode())
        self.write()

    def _write(self, name: str, data: bytes) -> None:
        with writing(self.path / name):
            self.path.mkdir(parents=True, exist_ok=True)
            fresh = self.path / f".{name}"
            fresh.write_bytes(data)
            fresh.replace(self.path / name)


def known_findings(into: Path) -> list[ExploredFinding]:
    """Return the findings of earlier explorations in ``into``. An unreadable one is ignored."""
    files: list[Path] = []
    with contextlib.suppress(OSError):
        files = sorted((into / FOLDER).glob(f"*/{FILE}"))[:MOST]
    return [found for file in files if (found := read_json(file, ExploredFinding)) is not None]
