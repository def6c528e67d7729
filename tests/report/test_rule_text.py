# SPDX-License-Identifier: MIT
"""The rules as text: all of them in one table, and each with pages and examples that the checker judges as it says."""

import msgspec
import pytest

from harness.contract.checker import judge
from harness.contract.example import examples
from harness.contract.explanation import explain
from harness.contract.notation import trace
from harness.contract.rules.catalogue import all_rules, find
from harness.contract.rules.rule import Rule
from harness.contract.verdict import Level
from harness.report.rule_text import (
    MEANS,
    example_documents,
    one_rule_lines,
    pages,
    rule_document,
    rule_lines,
)
from harness.report.style import Style

RULES = all_rules()


def rule(name: str) -> Rule:
    """The rule of this name."""
    found = find(name)
    assert found is not None
    return found


def test_the_table_has_every_rule_once_below_its_section() -> None:
    """Id, level and sentence, in the catalogue's order."""
    lines = rule_lines(RULES)
    rows = [line.split()[0] for line in lines if line.split()[:1] and find(line.split()[0])]
    assert [known.id for known in RULES] == rows
    assert "R.2  Synchronous, hot add" in lines
    row = next(line for line in lines if line.startswith("SYNC-IRQL-PASSIVE"))
    assert ["SYNC-IRQL-PASSIVE", "error", "the callback runs at PASSIVE_LEVEL"] == row.split(maxsplit=2)


@pytest.mark.parametrize("known", RULES, ids=lambda known: known.id)
def test_every_rule_explains_itself_within_the_terminal(known: Rule) -> None:
    """On 100 columns only addresses and single words are longer, and the examples end as the rule's table says."""
    lines = one_rule_lines(known, examples(known), Style(colour=False, width=100))
    wide = [line for line in lines if len(line) > 100]
    assert [] == [line for line in wide if "https://" not in line]
    verdicts = [
        line.split(":")[0].strip()
        for line in lines
        if line.startswith(("  HOLDS", "  VIOLATED:", "  UNKNOWN:"))
    ]
    broken = "UNKNOWN" if known.level is Level.GATE or known.awaited else "VIOLATED"
    assert ["HOLDS", *([broken] if known.violates else [])] == verdicts


def test_the_example_that_violates_carries_the_checker_s_own_explanation() -> None:
    """What is shown is what harness check would say of the same history."""
    known = rule("SYNC-START-BEFORE-COMPLETE")
    finding = next(one for one in judge(trace(known.violates)).findings if one.rule == known.id)
    said = [f"  {line}" for line in explain(finding, known)[1:]]
    text = "\n".join(one_rule_lines(known, examples(known)))
    assert "\n".join(said) in text
    assert "driver a  Start NtNumber=2" in text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("WD:kernel/a-page.md", ["https://learn.microsoft.com/windows-hardware/drivers/kernel/a-page"]),
        ("DDI:wdm/nf-wdm-x.md; the plan", ["https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-x", "the plan"]),
        ("W32:ETW/a.md; W32:ETW/a.md", ["https://learn.microsoft.com/windows/win32/etw/a"]),
        ("undocumented", ["undocumented"]),
    ],
)  # fmt: skip
def test_a_page_is_shown_as_the_address_of_the_published_page(source: str, expected: list[str]) -> None:
    """A repository's path becomes the site's, each once; what is no page stays as it is."""
    import dataclasses

    assert expected == pages(dataclasses.replace(RULES[0], source=source))


def test_every_level_says_what_it_means() -> None:
    """No level is without its sentence."""
    assert set(Level) == set(MEANS)


def test_aliases_are_named() -> None:
    """An id of the contract that leads elsewhere is found where it leads."""
    known = rule("SYNC-FIRST")
    assert "  Also called ASYNC-AFTER-START." in one_rule_lines(known, examples(known))


def test_documents_are_plain_data() -> None:
    """What programs get encodes, and its examples are judged."""
    known = rule("SYNC-IRQL-PASSIVE")
    document = msgspec.json.decode(
        msgspec.json.encode({**rule_document(known), "examples": example_documents(examples(known))})
    )
    assert ["holds", "violated"] == [example["verdict"]["verdict"] for example in document["examples"]]
    assert [[], ["SYNC-IRQL-PASSIVE"]] == [
        [finding["rule"] for finding in example["findings"]] for example in document["examples"]
    ]
    assert [known.id, True] == [document["id"], document["decides"]]
