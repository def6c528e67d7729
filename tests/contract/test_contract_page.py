# SPDX-License-Identifier: MIT
"""docs/contract.md: it has every clause and every page that a rule names, and each of its pages is well formed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.contract.rules.catalogue import all_rules
from harness.contract.rules.rule import Rule

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "contract.md").read_text()
ROWS = {row[0]: row[1:] for row in (
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines() if re.match(r"\| [A-FUX]\d+ \|", line)
)}  # fmt: skip
CLASSES = {"DOC", "DERIVED", "CONFLICT", "OBLIGATION", "UNDOC", "3P"}
NOTATION = re.compile(r"(?:WD|DDI|W32|VD):[\w-]+(?:/[\w.-]+)*\.md", re.ASCII)


def named(rule: Rule) -> set[str]:
    """The clauses of a rule; "-" stands for none."""
    return set(rule.clauses.split(", ")) - {"-"}


def headings(text: str) -> set[str]:
    """The first words of the headings of a page."""
    return set(re.findall(r"^#+ (\S+)", text, re.MULTILINE))


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_every_clause_of_a_rule_is_on_the_page(rule: Rule) -> None:
    """Each clause has its row, and a rule without one names a decision of the project."""
    assert set() == named(rule) - ROWS.keys()
    assert bool(named(rule)) or not NOTATION.search(rule.source)


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.id)
def test_every_source_of_a_rule_is_a_page_that_is_named(rule: Rule) -> None:
    """A page of Microsoft's is a source of this document too; one of the project's own has such a heading or row."""
    for source in rule.source.split("; "):
        if NOTATION.fullmatch(source):
            assert f"`{source}`" in PAGE
            continue
        own = re.fullmatch(r"(?:undocumented: )?docs/(contract|architecture)\.md:? (.+)", source)
        if own is None:
            assert (rule.id, source) == ("EXPECT", "the plan")
        elif own[1] == "contract":
            assert own[2] in ROWS.keys() | headings(PAGE)
        else:
            assert own[2].casefold() in (DOCS / "architecture.md").read_text().casefold()


def test_every_page_is_well_formed() -> None:
    """What looks like a page is a tag and a path that ends in .md."""
    pages = re.findall(r"`((?:WD|DDI|W32|VD):[^`]*)`", PAGE)
    assert [] == [page for page in pages if not NOTATION.fullmatch(page)]
    assert len(re.findall(r"(?:WD|DDI|W32|VD):", PAGE)) == len(pages)


def test_every_clause_stands_once_with_its_class_and_source() -> None:
    """Numbers run without a gap; a documented clause has a page, one of the contradictions two sides."""
    numbers = re.findall(r"^\| ([A-FUX])(\d+) \|", PAGE, re.MULTILINE)
    counts = {letter: [int(n) for other, n in numbers if other == letter] for letter in "ABCDEFUX"}
    assert {letter: list(range(1, len(found) + 1)) for letter, found in counts.items()} == counts
    for clause, cells in ROWS.items():
        if clause[0] == "X":
            assert len(cells) == 4
            continue
        classes = set(cells[0].split(", "))
        assert (classes, clause) == (classes & CLASSES, clause)
        assert bool(NOTATION.search(cells[-1])) or classes <= {"UNDOC", "3P"}, clause


def test_every_class_is_explained() -> None:
    """The table of classes has those that are used."""
    (table,) = re.findall(r"## Classes\n(.*?)\n## ", PAGE, re.DOTALL)
    used = {name for clause, cells in ROWS.items() if clause[0] != "X" for name in cells[0].split(", ")}
    assert used == CLASSES == set(re.findall(r"^\| (\w+) \|", table, re.MULTILINE)) - {"class"}
