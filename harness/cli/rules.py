# SPDX-License-Identifier: MIT
"""``harness rules``: the rules of the checker, and for each rule its pages and examples."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from harness.choice import closest
from harness.cli.output import say_result
from harness.cli.parameters import Json
from harness.errors import UsageError
from harness.invocation import invocation
from harness.report.style import style_for

if TYPE_CHECKING:
    from harness.contract.rules.rule import Rule


def rules(
    identifier: Annotated[
        str, typer.Option("--id", metavar="ID", help="Explain this rule and judge its examples.")
    ] = "",
    json: Json = False,
) -> None:
    """List the rules of the contract, or explain one with an example that holds and one that violates."""
    from harness.contract.example import examples
    from harness.contract.rules.catalogue import all_rules
    from harness.report.rule_text import example_documents, one_rule_lines, rule_document, rule_lines

    if not identifier:
        found = {"rules": [rule_document(rule) for rule in all_rules()]}
        say_result(found, rule_lines(all_rules(), style_for(sys.stdout)), json=json)
        return
    rule = _called(identifier)
    say_result(
        {**rule_document(rule), "examples": example_documents(examples(rule))},
        one_rule_lines(rule, examples(rule), style_for(sys.stdout)),
        json=json,
    )


def _called(identifier: str) -> Rule:
    """Return the rule with this id. Raises UsageError with similar ids."""
    from harness.contract.rules.catalogue import ALIASES, all_rules, find

    rule = find(identifier.strip())
    if rule is not None:
        return rule
    known = [*(rule.id for rule in all_rules()), *ALIASES]
    wanted = identifier.strip().upper()
    near = closest(wanted, known, 3) or [name for name in known if wanted and wanted in name]
    guess = f"Did you mean {' or '.join(near[:5])}? " if near else ""
    raise UsageError(f"no rule is called {identifier!r}", hint=f"{guess}All of them: {invocation('rules')}")
