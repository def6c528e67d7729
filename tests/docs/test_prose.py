# SPDX-License-Identifier: MIT
"""The linter of prose finds what docs/writing.md calls wrong, leaves alone what it calls right, and finds nothing in the project."""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import syntax
from tests.docs import prose
from tests.docs.prose import (
    LONGEST_SENTENCE,
    PATTERNS,
    ROOT,
    Passage,
    findings,
    lint,
    main,
    passages,
    tracked,
)

PAGE = ROOT / "docs" / "writing.md"

EXAMPLES = {
    "Have the driver take the veto.": "Make the driver veto the next Start.",
    "It has QEMU stop.": "It stops QEMU.",
    "Return of how many adds are owed.": "Return how many adds are owed.",
    "100 is no size.": "100 is not a size.",
    "The value is none of the three.": "The value must be one of the three.",
    "The polite end comes first.": "SIGTERM comes first.",
    "A room that knows the guest.": "The module guest/.",
    "A guest that has no conversation with a debugger.": "A guest without a kernel debugger connection.",
    "The run takes a night.": "The run takes nine hours.",
    "The error says the way out.": "The error's hint says what to do.",
    "Whoever calls it holds the lock.": "The caller holds the lock.",
    "Return what came of it.": "Return its result.",
    "A driver of ours.": "The harness's driver.",
    "The record tells of a Start.": "The record reports a Start.",
    "Its text is of no interest.": "Its text is ignored.",
    "Nobody knows when it ended.": "When it ended is unknown.",
    " ".join(["word"] * (LONGEST_SENTENCE + 1)) + ".": " ".join(["word"] * LONGEST_SENTENCE) + ".",
}
"""What breaks a rule, and the same as it should be."""


def found(text: str) -> list[str]:
    """The words that the linter finds in a passage."""
    return [one.words for one in findings(Passage(1, text))]


def test_a_table_may_list_and_mention() -> None:
    """A cell of a table lists items with slashes between them, and mentions a term in quotes; a sentence there is held to the rules."""
    listed = " / ".join(f"item {number}" for number in range(60))
    page = f'| a | b |\n| --- | --- |\n| {listed} | "polite end" |\n'
    assert [] == [found for passage in passages(Path("a.md"), page) for found in findings(passage)]
    page = "| a | b |\n| --- | --- |\n| a polite end | b |\n"
    assert [3] == [found.line for passage in passages(Path("a.md"), page) for found in findings(passage)]


def test_a_script_in_a_string_is_not_prose() -> None:
    """It has no sentences, however long it is."""
    assert [] == found("foreach ($line in $lines) { " + "word " * (LONGEST_SENTENCE + 1) + "}")


@pytest.mark.parametrize(("wrong", "right"), EXAMPLES.items())
def test_an_example(wrong: str, right: str) -> None:
    """The one is found, the other not."""
    assert [] != found(wrong)
    assert [] == found(right)


def test_each_pattern_has_its_example() -> None:
    """A pattern that never matches would find nothing for ever."""
    for pattern in PATTERNS:
        assert any(pattern.expression.search(wrong) for wrong in EXAMPLES), pattern.expression.pattern


@pytest.mark.parametrize(
    "right",
    [
        "If there is none, it is made.",
        "There is no lock.",
        "It is no longer than that.",
        "The answer `is no size` stays.",
        "The files:\n" + "\n".join(["    name  what stands in it and what wrote it"] * LONGEST_SENTENCE),
        "Names: " + " ".join(["20=Hardfault"] * (LONGEST_SENTENCE + 1)),
    ],
)
def test_good_english_is_left_alone(right: str) -> None:
    """What only looks like a pattern, and what is quoted as code."""
    assert [] == found(right)


def test_words_over_the_end_of_a_line() -> None:
    """A phrase that is broken into two lines is found on its first."""
    (one,) = findings(Passage(7, "Nothing here.\nThe lock is\nno lock."))
    assert (8, 2, "is no lock") == (one.line, one.rule, one.words)


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.py", '"""Good."""\nx = f"{1} is no size"\n# whoever\ny = "whoever"\n', [2, 3]),
        ("a.md", "A lock is\nno lock.\n\n```text\nwhoever\n```\n| a | whoever |\n", [1, 7]),
        ("a.c", "int x;\n/* good\n * whoever */\nchar *s; // whoever\n", [3, 4]),
        ("a.ps1", "$x = 'whoever'\n# whoever\n", [2]),
        ("a.toml", "# whoever\nname = 'whoever'\n", [1]),
        ("a.json", '"whoever"', []),
    ],
)  # fmt: skip
def test_where_prose_stands(
    tmp_path: Path, name: str, text: str, lines: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """In docstrings, comments, messages of several words and pages; not in code, and not in single words."""
    (tmp_path / name).write_text(text)
    code = main([str(tmp_path / name)])
    said = capsys.readouterr().out.splitlines()
    assert int(bool(lines)) == code
    assert lines == [int(line.split(":")[1]) for line in said]


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """A page may hold anything."""
    for passage in passages(Path("a.md"), text):
        assert all(passage.line <= one.line <= text.count("\n") + 1 for one in findings(passage))


def test_the_page_shows_each_rule_with_a_before_and_after() -> None:
    """What stands under "before" is found where a pattern can tell; what stands under "after" never."""
    rules = re.split(r"(?m)^## ", PAGE.read_text())[1:]
    numbered = {int(rule.split(".")[0]): rule for rule in rules if rule[0].isdigit()}
    assert {1, 2, 3, 4, 5, 6} == set(numbered)
    for number, rule in numbered.items():
        rows = re.findall(r"(?m)^\| (.+?) \| (.+?) \|$", rule)[2:]
        assert rows, number
        for _before, after in rows:
            assert [] == found(after), (number, after)
    patterned = {pattern.rule for pattern in PATTERNS}
    for number in patterned:
        rows = re.findall(r"(?m)^\| (.+?) \| (.+?) \|$", numbered[number])[2:]
        assert any(found(before) for before, _after in rows), number


@functools.cache
def linter() -> bytes:
    """Return a text that changes with the linter, and with Python's parser."""
    return b"\0".join(
        [sys.version.encode(), *(Path(one.__file__ or "").read_bytes() for one in (prose, syntax))]
    )


def digest(path: Path) -> str:
    """Return what the linter's answer about a file depends on: its name and content, and the linter."""
    digests = [hashlib.sha256(part).digest() for part in (linter(), bytes(path), path.read_bytes())]
    return hashlib.sha256(b"".join(digests)).hexdigest()


def test_what_is_changed_has_another_digest(tmp_path: Path) -> None:
    """A file with another content or another name is read."""
    page, source = tmp_path / "a.md", tmp_path / "a.c"
    page.write_text("// a\n")
    source.write_text("// a\n")
    first = digest(page)
    assert first == digest(page) != digest(source)
    page.write_text("// b\n")
    assert first != digest(page)


def test_the_project_breaks_no_rule(cache: pytest.Cache) -> None:
    """All that is tracked. What broke no rule when pytest ran here last, and is unchanged since, is not read again."""
    digests = {path: digest(path) for path in tracked() if path.is_file()}
    known = set(cache.get("hotplug-harness/prose", []))
    found = list(lint([path for path in digests if digests[path] not in known]))
    wrong = {path for path, _ in found}
    cache.set("hotplug-harness/prose", sorted(one for path, one in digests.items() if path not in wrong))
    assert [] == [f"{path.relative_to(ROOT)}:{one.line}: {one.words}" for path, one in found]
