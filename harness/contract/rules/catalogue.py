# SPDX-License-Identifier: MIT
"""All rules, in the order of the contract's sections."""

from __future__ import annotations

from functools import cache

from harness.contract.rules import asynchronous, capture, failure, host, identity, memory, registration, sync
from harness.contract.rules.rule import Rule, Section

SECTIONS: tuple[Section, ...] = (
    capture.SECTION, sync.SECTION, failure.SECTION, registration.SECTION, identity.SECTION,
    asynchronous.SECTION, memory.SECTION, host.SECTION,
)  # fmt: skip

ALIASES = {"ASYNC-AFTER-START": "SYNC-FIRST"}
"""Identifiers of the contract that name a rule of another section: one cause is reported once."""


@cache
def all_rules() -> tuple[Rule, ...]:
    """Return every rule, section by section. Raises ValueError if two share an id."""
    rules = tuple(rule for section in SECTIONS for rule in section.rules)
    if len({rule.id for rule in rules}) != len(rules):
        raise ValueError("two rules share an id")
    return rules


def find(identifier: str) -> Rule | None:
    """Return the rule called ``identifier`` (any case, aliases too), or None."""
    wanted = ALIASES.get(identifier.upper(), identifier.upper())
    return next((rule for rule in all_rules() if rule.id == wanted), None)
