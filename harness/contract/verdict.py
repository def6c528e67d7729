# SPDX-License-Identifier: MIT
"""The verdict: the checker's result for a rule and for a run. A value, never an exception."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import ExitCode


class Verdict(StrEnum):
    """The three answers, violated > unknown > holds, and not applicable for a rule."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"


class Level(StrEnum):
    """What a broken rule means. Only error* can make a run violated. Gates, and rules whose consequence is awaited,
    can make it unknown. No other level changes it.
    """

    GATE = "gate"
    ERROR = "error"
    ERROR_DRIVER = "error(driver)"
    ERROR_HARNESS = "error(harness)"
    WARN = "warn"
    OBSERVE = "observe"
    FINDING = "finding"
    POLICY = "policy"


class Witness(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One of the records that show a finding: its name (E1…), record number, and a sentence that describes it."""

    name: str
    record: int
    text: str


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One statement of a rule: a violation, a warning, a reason for unknown, or an observed value.

    ``chain`` is the contradiction, one sentence per known order. ``clock`` says whether a clock may be to blame.
    ``consequences`` are the statements of other rules on the same cause, each as ``RULE: reason``.
    """

    rule: str
    level: Level
    verdict: Verdict
    reason: str
    witnesses: list[Witness] = []
    attempt: str = ""
    chain: list[str] = []
    clock: str = ""
    consequences: list[str] = []


class RuleVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A rule's verdict over one history. ``exercised`` counts how often its predicate had something to judge.

    ``times`` counts how often it was broken. ``armed``: the history contains what the rule needs to be judged.
    """

    rule: str
    level: Level
    verdict: Verdict
    source: str
    exercised: int = 0
    reason: str = ""
    times: int = 0
    armed: bool = False


class RunVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The verdict of a run, as stored in ``verdict.json``. ``reasons`` always says why it is not "holds"."""

    run: str
    guest: str
    verdict: Verdict
    reasons: list[str]
    rules: list[RuleVerdict]
    findings: list[Finding] = []
    observations: dict[str, Any] = {}
    failure_class: str = ""
    harness: str = ""

    @property
    def exit_code(self) -> ExitCode:
        """0 holds, 1 violated, 3 unknown; if not violated, 64 or 69 when the plan or the infrastructure is to blame."""
        if self.verdict is Verdict.VIOLATED:
            return ExitCode.VIOLATED
        if self.failure_class == "infrastructure":
            return ExitCode.INFRASTRUCTURE
        if self.failure_class == "plan":
            return ExitCode.USAGE
        return ExitCode.HOLDS if self.verdict is Verdict.HOLDS else ExitCode.UNKNOWN


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One run: its verdict, or the ``error`` that prevented one and its ``hint``.

    ``joined`` names what was beside the history and judged with it, "" if nothing was.
    ``guest``, ``plan``, ``build`` (the guest and its version) and ``ended`` (what ended the run early) come from the
    ``run.json`` beside the history. Without one, ``build`` is the guest alone and the others are "".
    ``started`` (UTC, ISO 8601) and ``seconds`` are from the history.
    """

    path: Path
    exit_code: ExitCode
    verdict: RunVerdict | None = None
    error: str = ""
    hint: str = ""
    joined: str = ""
    guest: str = ""
    plan: str = ""
    build: str = ""
    ended: str = ""
    started: str = ""
    seconds: float = 0.0
