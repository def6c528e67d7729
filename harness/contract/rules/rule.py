# SPDX-License-Identifier: MIT
"""What a rule is: one clause of the contract as a small predicate over a subject, with what it needs to be judged.

A rule never sees the whole history. The checker reads a history once, :mod:`harness.contract.state.model` turns records
into subjects (a callback, a registration, an attempt, an arrival …), and every rule that asked for that kind of
subject is called with it. It answers one of:

``HOLDS``        the clause had something to judge and was kept;
``None``         the clause says nothing about this subject (not applicable);
:class:`Broken`  the clause is violated, with the records that show it;
:class:`Unclear` it cannot be told, and why;
:class:`Observed` a value of something that is not documented;
:class:`Exempt` the clause does not speak of this subject, because of a fact of the history that is worth telling.

A rule says of each answer what it rests on. What present records show, they show. What rests on the absence of records
names the stretch in which there are none (``Broken.absent``); the checker believes it only if nothing of that stretch
can be missing, when the whole history is known.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from harness.contract.state.entities import Stretch
from harness.contract.verdict import Level
from harness.history.record import Record

HOLDS: Final = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReason:
    """One line of a contradiction: "E1 comes before E2, because …". ``kind`` names the analyzer that knows it."""

    before: Record
    after: Record
    kind: Literal["program order", "causality", "protocol", "clock", "receipt"]
    reason: str


@dataclass(slots=True)
class Broken:
    """The clause is violated. ``shown`` are the two to five records that show it, the first ones first.

    ``chain`` contradicts the order the rule requires. ``level`` replaces the rule's own, for clauses that mean an
    error in one case and a warning in another. ``absent`` is the stretch in which no record may be missing for this to be
    true; None if present records show it alone. Violations with the same ``cause`` are one finding: the rule that comes
    first in the catalogue tells it, the others are its consequences.
    """

    reason: str
    shown: Sequence[Record]
    chain: Sequence[OrderReason] = ()
    attempt: str = ""
    level: Level | None = None
    absent: Stretch | None = None
    cause: Hashable = None


@dataclass(slots=True)
class Unclear:
    """The clause can neither be called kept nor broken, because of ``reason``."""

    reason: str
    shown: Sequence[Record] = ()
    attempt: str = ""


@dataclass(slots=True)
class Observed:
    """A value of something the documents leave open. ``finding`` also lists it under findings.

    ``part`` names the part of the question that the value answers, if only answers to one part can be compared: what
    is found at Start and what at Complete are two distributions. It is counted under ``RULE/part``.
    """

    value: str
    finding: str = ""
    shown: Sequence[Record] = ()
    attempt: str = ""
    part: str = ""


@dataclass(slots=True)
class Exempt:
    """The clause does not speak of this subject, because of ``reason``, a fact that the history itself shows."""

    reason: str


def some(count: int, noun: str) -> str:
    """Return "1 processor", "2 processors": ``noun`` gets an s unless there is one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


RuleOutcome = Literal[True] | Broken | Unclear | Observed | Exempt | None
Predicate = Callable[[Any, Any], RuleOutcome]

DECIDING = frozenset({Level.GATE, Level.ERROR, Level.ERROR_DRIVER, Level.ERROR_HARNESS})
"""Levels that change a run's verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One clause of the contract.

    ``on`` names the kinds of subject it is called with; ``needs`` the fact that must have occurred for it to be judged at
    all (:data:`FACTS`), in words that complete "not applicable, because the history holds no …"; ``unless`` says which
    subjects of that kind it does not speak of; ``says`` is the sentence it speaks.
    ``holds`` and ``violates`` are examples in the notation of :mod:`harness.contract.notation`; a rule that only
    observes has one example that makes it speak in ``holds``. ``awaited`` marks a policy whose "unknown" means that
    an expected consequence never came: that makes the run unknown too.
    """

    id: str
    level: Level
    clauses: str
    source: str
    says: str
    needs: str
    on: tuple[Any, ...]
    check: Predicate
    holds: str
    violates: str = ""
    section: str = ""
    awaited: bool = False
    unless: str = ""

    @property
    def decides(self) -> bool:
        """True if a violation of this rule makes the run violated."""
        return self.level in DECIDING


@dataclass(slots=True)
class Section:
    """The rules of one section of the contract, in the order in which they are written down."""

    name: str
    title: str
    rules: list[Rule] = field(default_factory=list)

    def rule(
        self,
        id: str,  # noqa: A002 - a rule's id is called so everywhere
        level: Level,
        *on: Any,
        clauses: str,
        source: str,
        says: str,
        needs: str,
        holds: str,
        violates: str = "",
        awaited: bool = False,
        unless: str = "",
    ) -> Callable[[Predicate], Predicate]:
        """Register the decorated predicate as a rule of this section."""

        def register(check: Predicate) -> Predicate:
            self.rules.append(
                Rule(
                    id=id, level=level, clauses=clauses, source=source, says=says, needs=needs, on=on, check=check,
                    holds=holds, violates=violates, section=self.name, awaited=awaited, unless=unless,
                )
            )  # fmt: skip
            return check

        return register
