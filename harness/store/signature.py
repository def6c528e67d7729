# SPDX-License-Identifier: MIT
"""The signature of a failure: rule, failure class and normalised witness. Failures with one signature are one incident.

A normalised text lacks what differs between two runs with one cause: numbers, addresses, digests, run names and paths.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import msgspec

from harness.contract.verdict import Level, RunVerdict, Verdict

LONGEST_WITNESS = 300
"""The most characters of a normalised witness that are kept."""

_VARYING = re.compile(
    r"(?P<run>\b\d{8}-\d{6}-[A-Za-z0-9-]{0,60}-[0-9a-f]{4}\b)"
    r"|(?P<path>(?<![\w.])/[^\s'\",;:)]{2,})"
    r"|(?P<number>\b0[xX][0-9a-fA-F]+\b|\b(?=[a-fA-F]*\d)[0-9a-fA-F]{8,}\b|\d+(?:\.\d+)?)"
)

_BLAMED = {Level.ERROR: "contract", Level.ERROR_DRIVER: "driver"}


class SignedFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run does not hold. ``rule`` is "" if no rule is the cause. ``reason`` is the original text, ``witness``
    the normalised one."""

    rule: str
    failure_class: str
    reason: str
    witness: str

    @property
    def signature(self) -> str:
        """The name of the failure's incident: 16 hexadecimal digits."""
        said = "\0".join((self.rule, self.failure_class, self.witness))
        return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:16]


def normalised(reason: str) -> str:
    """Return ``reason`` without the parts that differ between two runs with one cause."""
    names = {"run": "RUN", "path": "PATH", "number": "#"}
    text = _VARYING.sub(lambda found: names[found.lastgroup or "number"], " ".join(reason[:4000].split()))
    return text[:LONGEST_WITNESS]


def failure(rule: str, failure_class: str, reason: str) -> SignedFailure:
    """Return a failure with its witness normalised."""
    return SignedFailure(rule=rule, failure_class=failure_class, reason=reason, witness=normalised(reason))


def failures(verdict: RunVerdict | None, failure_class: str, reason: str) -> list[SignedFailure]:
    """Return why a run does not hold, nothing if it holds.

    Each broken rule of the contract or of the driver is one failure. The run's own rules (``expect``) count only if no
    such rule is broken, because they repeat it. An inconclusive run has one failure: ``reason``, or its verdict's
    first reason.
    """
    if verdict is not None and verdict.verdict is Verdict.VIOLATED:
        return list(_broken(verdict, failure_class))
    if verdict is not None and verdict.verdict is Verdict.HOLDS:
        return []
    said = reason or ((verdict.reasons or [""])[0] if verdict is not None else "") or "it left no verdict"
    name, colon, rest = said.partition(": ")
    known = {rule.rule for rule in verdict.rules} if verdict is not None else set()
    rule, text = (name, rest) if colon and name in known else ("", said)
    return [failure(rule, failure_class or "unknown", text)]


def _broken(verdict: RunVerdict, failure_class: str) -> Iterator[SignedFailure]:
    seen: set[str] = set()
    findings = [one for one in verdict.findings if one.verdict is Verdict.VIOLATED]
    blamed = [one for one in findings if one.level in _BLAMED]
    for finding in blamed or [one for one in findings if one.level is Level.ERROR_HARNESS]:
        if finding.rule not in seen:
            seen.add(finding.rule)
            yield failure(
                finding.rule, _BLAMED.get(finding.level, failure_class or "unknown"), finding.reason
            )
    if not seen:
        # A damaged or foreign verdict may lack its findings.
        yield failure("", failure_class or "unknown", (verdict.reasons or ["violated"])[0])
