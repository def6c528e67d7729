# SPDX-License-Identifier: MIT
"""The glossary says what the code says, and each public name of a type has one meaning."""

from __future__ import annotations

import importlib
import re
from collections import defaultdict

import pytest
from docs.glossary import BEGIN, END, PAGE, ROOT, index, public_names

TEXT = PAGE.read_text(encoding="utf-8")


def section(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading."""
    body = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_each_name_means_one_thing() -> None:
    """No two modules define a public type of the same name."""
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for named in public_names():
        modules[named.name].append(named.module)
    assert {} == {name: where for name, where in modules.items() if len(where) > 1}


def test_the_index_is_what_the_code_defines() -> None:
    """The index lists every public type with its module and meaning, and nothing else."""
    assert index().strip() == TEXT.partition(BEGIN)[2].partition(END)[0].strip()


@pytest.mark.parametrize("row", section("Words"), ids=lambda row: row[0])
def test_each_word_is_in_the_code(row: list[str]) -> None:
    """The class that a word names is where the page says."""
    _word, _meaning, where = row
    module, _, name = where.strip("`").rpartition(".")
    assert hasattr(importlib.import_module(module), name)


def test_words_are_in_order_and_each_stands_once() -> None:
    """The table is sorted, so that a second meaning would stand beside the first."""
    words = [row[0] for row in section("Words")]
    assert sorted(set(words)) == words


def test_former_words_name_nothing() -> None:
    """No module and no public type is called by a former word."""
    former = {word for row in section("Former words") for word in re.findall(r"`([A-Z]\w+)`", row[0])}
    assert former
    modules = {path.stem for path in (ROOT / "harness").rglob("*.py")}
    names = {named.name for named in public_names()}
    assert set() == {word for word in former if word.lower() in modules or word in names}


def test_former_phrases_are_said_nowhere() -> None:
    """No page and no module says a phrase that the table has in quotation marks; one page shows what not to write."""
    phrases = {phrase for row in section("Former words") for phrase in re.findall(r'"([^"]+)"', row[0])}
    assert "kind of guest" in phrases
    said = re.compile(rf"\b(?:{'|'.join(re.escape(phrase.lower()) for phrase in sorted(phrases))})s?\b")
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "harness").rglob("*.py")]
    assert {} == {
        path.name: found
        for path in texts
        if path not in (PAGE, ROOT / "docs" / "writing.md")
        and (found := said.findall(" ".join(path.read_text(encoding="utf-8").lower().split())))
    }
