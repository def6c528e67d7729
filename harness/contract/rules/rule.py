# SPDX-License-Identifier: MIT
"""A rule: one clause of the contract as a small predicate over a subject, with what it needs to be judged.

A rule never sees the whole history. The checker reads a history once, and :mod:`harness.contract.state.model` turns
records into subjects (a callback, a registration, an attempt, an arrival …). Every rule that asked for that kind of
subject is called with it. It returns one of:

``HOLDS``        the clause had something to judge and held;
``None``         the clause does not apply to this subject;
:class:`Broken`  the clause is violated, with the records that show it;
:class:`Unclear` the result cannot be known, and why;
:class:`Observed` a value of something that is not documented;
:class:`Exempt` the clause does not cover this subject, because of a fact of the history that should be reported.

A rule names the basis of each answer. Present records need no more support. A conclusion from the absence of records
names the stretch in which there are none (``Broken.absent``). The checker believes it only if nothing of that stretch
can be missing, when the whole history is known.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

import msgspec

from harness.contract.rules.subject_kind import SubjectKind
from harness.contract.state.entities import Epoch, Sample, Stretch
from harness.contract.state.model import Model
from harness.contract.verdict import Level
from harness.history.driver import STATE_NAMES
from harness.history.record import Record

HOLDS: Final = True


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReason:
    """One line of a contradiction: "E1 comes before E2, because …". ``kind`` names the basis of the order."""

    before: Record
    after: Record
    kind: Literal["program order", "causality", "protocol", "clock", "receipt"]
    reason: str


class Broken(msgspec.Struct, frozen=True, eq=False):
    """The clause is violated. ``shown`` are the two to five records that show it, the first ones first.

    ``chain`` contradicts the order the rule requires. ``level`` replaces the rule's own, for clauses that mean an
    error in one case and a warning in another. ``absent`` is the stretch in which no record may be missing for this to be
    true; None if present records show it alone. Violations with the same ``cause`` are one finding: the first rule in the
    catalogue reports it, the others are its consequences.
    """

    reason: str
    shown: Sequence[Record]
    chain: Sequence[OrderReason] = ()
    attempt: str = ""
    level: Level | None = None
    absent: Stretch | None = None
    cause: Hashable = None


class Unclear(msgspec.Struct, frozen=True, eq=False):
    """It is not known whether the clause holds, because of ``reason``."""

    reason: str
    shown: Sequence[Record] = ()
    attempt: str = ""


class Observed(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A value of something that the documents leave open. ``finding`` also lists it under findings.

    ``part`` names the part of the question that the value answers, if only answers to one part can be compared: the
    values at Start and at Complete are two distributions. It is counted under ``RULE/part``.
    """

    value: str
    finding: str = ""
    shown: Sequence[Record] = ()
    attempt: str = ""
    part: str = ""


class Exempt(msgspec.Struct, frozen=True, eq=False, gc=False):
    """The clause does not cover this subject, because of ``reason``, a fact that the history itself shows."""

    reason: str


CLEARED = "a driver cleared the error of another, which OB-NO-OVERWRITE judges"
"""Why what follows such an attempt proves nothing about Windows."""


def first_broken(outcomes: Iterable[RuleOutcome]) -> RuleOutcome:
    """Return the first violation, or else the last outcome that is not None."""
    judged: RuleOutcome = None
    for outcome in outcomes:
        if isinstance(outcome, Broken):
            return outcome
        judged = outcome or judged
    return judged


def some(count: int, noun: str) -> str:
    """Return "1 processor", "2 processors": ``noun`` gets an s unless there is one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@lru_cache(maxsize=1024)
def noted(value: str, part: str = "") -> Observed:
    """Return the observation of a value, mostly the same object for the same value, so that it is counted quickly."""
    return Observed(value, part=part)


@lru_cache(maxsize=1024)
def status_of(status: int, state: int) -> Observed:
    """Return the observation of a status in a callback with the given state."""
    return noted(f"{status:#x}", STATE_NAMES.get(state, "other"))


RuleOutcome = Literal[True] | Broken | Unclear | Observed | Exempt | None
S = TypeVar("S")

Predicate = Callable[[S, Model], RuleOutcome]
"""A function that judges a subject of type ``S``."""

Declaration = Callable[[Predicate[S]], Predicate[S]]
"""The decorator that makes a rule of a predicate over subjects of type ``S``."""

DECIDING = frozenset({Level.GATE, Level.ERROR, Level.ERROR_DRIVER, Level.ERROR_HARNESS})
"""Levels that change a run's verdict."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """One clause of the contract.

    ``on`` names the kinds of subject that it is called with, and ``given`` selects among them, as in
    :mod:`harness.contract.rules.subject_kind`. ``needs`` is the fact that must have occurred for it to be judged
    (:data:`FACTS`), in words that complete "not applicable, because the history holds no …". ``unless`` says which
    subjects of that kind it does not cover. ``says`` is the rule as a sentence.
    ``holds`` and ``violates`` are examples in the notation of :mod:`harness.contract.notation`. A rule that only
    observes has one example, ``holds``, in which it observes a value. ``awaited`` marks a policy whose "unknown" means
    that an expected consequence never came: the run is then unknown too. ``same`` and ``rising`` are for rules on
    samples. A rule still holds if each field of ``same`` equals that of a sample for which it held; the model's
    references (:attr:`Model.level`) have the same fields. It also needs that no field of ``rising`` is lower than in the
    driver's last record.
    """

    id: str
    level: Level
    clauses: str
    source: str
    says: str
    needs: str
    on: tuple[type[Any], ...]
    given: tuple[str, ...]
    check: Predicate[Any]
    holds: str
    violates: str = ""
    section: str = ""
    awaited: bool = False
    unless: str = ""
    same: tuple[str, ...] = ()
    rising: tuple[str, ...] = ()
    kinds: frozenset[type[Any]] = field(init=False, repr=False, compare=False)
    """The kinds of ``on`` that a history may lack: all but the epoch, of which each history has one."""
    steady: bool = field(init=False, repr=False, compare=False)
    """Whether it can be skipped for a sample in which nothing has changed."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", frozenset(self.on) - {Epoch})
        object.__setattr__(self, "steady", bool(self.same or self.rising) and Sample in self.on)

    def __deepcopy__(self, _memo: object) -> Rule:
        # Every judge looks rules up by their identity, a copied judge too. A rule does not change.
        return self

    @property
    def decides(self) -> bool:
        """Whether a violation of this rule makes the run violated."""
        return self.level in DECIDING


@dataclass(slots=True)
class Section:
    """The rules of one section of the contract, in the order of their definition."""

    name: str
    title: str
    rules: list[Rule] = field(default_factory=list)

    def rule(
        self,
        id: str,  # noqa: A002 - a rule's id is called so everywhere
        level: Level,
        on: SubjectKind[S],
        *,
        clauses: str,
        source: str,
        says: str,
        needs: str,
        holds: str,
        violates: str = "",
        awaited: bool = False,
        unless: str = "",
        same: tuple[str, ...] = (),
        rising: tuple[str, ...] = (),
    ) -> Declaration[S]:
        """Register the decorated predicate as a rule of this section. It takes what ``on`` gives, as a type checker verifies."""

        def register(check: Predicate[S]) -> Predicate[S]:
            self.rules.append(
                Rule(
                    id=id, level=level, clauses=clauses, source=source, says=says, needs=needs, on=on.of, given=on.conditions, check=check,
                    holds=holds, violates=violates, section=self.name, awaited=awaited, unless=unless, same=same,
                    rising=rising,
                )
            )  # fmt: skip
            return check

        return register
