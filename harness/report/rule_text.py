# SPDX-License-Identifier: MIT
"""The rules as text: the table of all, and one with its pages and its two examples, judged by the checker as they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.contract.example import Example
from harness.contract.explanation import explain
from harness.contract.rules.catalogue import ALIASES, SECTIONS
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Level, Verdict
from harness.history import driver as d
from harness.history import record as r
from harness.invocation import invocation
from harness.report.escape import printable
from harness.report.sentence import lane, sentence
from harness.report.style import PLAIN, Style

TITLES = {section.name: section.title for section in SECTIONS}

MEANS = {
    Level.GATE: "If it is broken, the history cannot be believed there, and the run is unknown.",
    Level.ERROR: "If it is broken, Windows, or what plays Windows, broke a documented clause, and the run is violated.",
    Level.ERROR_DRIVER: "If it is broken, the driver broke an obligation, and the run is violated.",
    Level.ERROR_HARNESS: "If it is broken, the run broke its own plan, and the run is violated.",
    Level.WARN: "If it is broken, that is a warning: the pages disagree, or do not forbid it.",
    Level.POLICY: "If it is broken, that is a warning: the time or the order is this project's choice, not Microsoft's.",
    Level.FINDING: "It is worth reading, and proves nothing.",
    Level.OBSERVE: "It is not documented: the value is collected, and no value is wrong.",
}
"""What a broken rule of each level means."""

AWAITED = "If what it awaits never comes, the run is unknown."

BASES = {
    "WD:": "https://learn.microsoft.com/windows-hardware/drivers/",
    "DDI:": "https://learn.microsoft.com/windows-hardware/drivers/ddi/",
    "W32:": "https://learn.microsoft.com/windows/win32/",
}
"""Where the pages of each of Microsoft's documentation repositories are published: the path without its ``.md``."""


def pages(rule: Rule) -> list[str]:
    """Return the rule's sources, those that Microsoft publishes as the address of the published page."""
    return list(dict.fromkeys(_page(source.strip()) for source in rule.source.split(";")))


def _page(source: str) -> str:
    for prefix, base in BASES.items():
        if source.startswith(prefix):
            return base + source.removeprefix(prefix).removesuffix(".md").lower()
    return source


def rule_lines(rules: Sequence[Rule], style: Style = PLAIN) -> list[str]:
    """Return the table of rules, section by section: id, level, and the sentence the rule speaks."""
    named = max((len(rule.id) for rule in rules), default=0)
    levels = max((len(rule.level.value) for rule in rules), default=0)
    lines: list[str] = []
    for section in SECTIONS:
        inside = [rule for rule in rules if rule.section == section.name]
        if inside:
            lines += ["", style.strong(f"{section.name}  {section.title}")]
        for rule in inside:
            text = f"{rule.id:<{named}}  {rule.level.value:<{levels}}  {rule.says}"
            lines += style.fold(text, indent=named + levels + 4)
    return [
        *lines[1:],
        "",
        f"{len(rules)} rules. One of them, with its page and examples: {invocation('rules', '--id', 'ID')}",
    ]


def one_rule_lines(rule: Rule, examples: Sequence[Example], style: Style = PLAIN) -> list[str]:
    """Return everything about one rule, with its ``examples`` as :func:`harness.contract.example.examples` gives them."""
    aliases = [alias for alias, meant in ALIASES.items() if meant == rule.id]
    named = f"{rule.id}  {rule.level.value}   section {rule.section} {TITLES.get(rule.section, '')}".rstrip()
    plural = "s" if "," in rule.clauses else ""
    clauses = f", clause{plural} {rule.clauses}" if rule.clauses.strip("-") else ""
    lines = style.fold(style.strong(named) + clauses)
    lines += style.fold(f"  {_sentence(rule.says)}")
    lines += style.fold(f"  {MEANS[rule.level]}{' ' + AWAITED if rule.awaited else ''}")
    lines += style.fold(f"  It is not applicable where the history holds no {rule.needs}.")
    if aliases:
        lines.append(f"  Also called {', '.join(aliases)}.")
    lines += ["", *(f"  {'Source:' if not place else '':<9}{page}" for place, page in enumerate(pages(rule)))]
    words = (
        "is observed" if rule.level is Level.OBSERVE else "holds",
        "is unknown" if rule.level is Level.GATE or rule.awaited else "is violated",
    )
    for word, example in zip(words, examples, strict=False):
        lines += _example(rule, f"An example in which it {word}", example, style)
    return [
        *lines,
        "",
        *style.fold(
            "The notation is explained in docs/rules.md, Traces. What it leaves out (boot, load, commands, end) is "
            "filled in; the load is not shown."
        ),
    ]


def rule_document(rule: Rule) -> dict[str, Any]:
    """Return what the table says of one rule, for programs."""
    return {
        "id": rule.id,
        "level": rule.level,
        "section": rule.section,
        "title": TITLES.get(rule.section, ""),
        "says": rule.says,
        "clauses": rule.clauses,
        "source": rule.source,
        "pages": pages(rule),
        "needs": rule.needs,
        "decides": rule.decides,
        "awaited": rule.awaited,
        "holds": rule.holds,
        "violates": rule.violates,
    }


def example_documents(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Return a rule's judged examples for programs."""
    return [{"trace": one.text, "verdict": one.said, "findings": one.findings} for one in examples]


def _example(rule: Rule, title: str, example: Example, style: Style) -> list[str]:
    said = example.said
    lines = ["", *map(style.strong, style.fold(f"{title}:  {example.text}"))]
    for record in _told(example.records):
        who = f"{lane(record)} {record.driver}" if isinstance(record, d.DriverRecord) else lane(record)
        lines += style.fold(f"  {record.n:>3}  {who:<8}  {sentence(record)}", indent=17)
    paint = {Verdict.HOLDS: style.good, Verdict.VIOLATED: style.bad}.get(said.verdict, style.doubtful)
    times = f"judged {said.exercised} time{'s' if said.exercised != 1 else ''}"
    first, *rest = style.fold(f"  {said.verdict.value.upper()}: {said.reason or times}")
    lines += [first.replace(said.verdict.value.upper(), paint(said.verdict.value.upper()), 1), *rest]
    shown = [finding for finding in example.findings if finding.witnesses]
    if shown and said.verdict is not Verdict.HOLDS:
        # Its first line, with the rule's name and source, has been said above.
        for line in explain(shown[0], rule)[1:]:
            lines += style.fold(f"  {printable(line, 1000)}")
    return lines


def _told(records: Sequence[r.Record]) -> list[r.Record]:
    """Return the records of an example that tell its story: not the load that is the same in all, not what says nothing."""
    loaded = next((record.n for record in records if isinstance(record, r.Count)), 0)
    if loaded and isinstance(records[loaded], r.Quiesced):
        loaded += 1
    return [record for record in records if record.n > loaded and _telling(record)]


def _telling(record: r.Record) -> bool:
    if isinstance(record, d.SyncExit):
        return not d.nt_success(record.op)
    if isinstance(record, d.AsyncExit | d.PnpExit):
        return not d.nt_success(record.ret)
    if isinstance(record, r.Add):
        return record.phase == "begin"
    return not isinstance(record, r.Header | r.OperationProgress | r.Channel | r.Clock)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(("?", ".")) else ".")
