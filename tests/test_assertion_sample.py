# SPDX-License-Identifier: MIT
"""The sampler of assertions: it finds each kind of test that cannot fail, and nothing in one that can."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import GeneratorType

import pytest

from tests.assertion_sample import ROOT, different, drawn, population

MADE = """
import pytest
from harness.choice import closest, suggest

def lines(text):
    return text.splitlines()

def check(text):
    assert "x" not in text

def test_strong():
    assert ["abcd"] == closest("abce", ["abcd", "zz"])

def test_strong_by_another():
    text = suggest("ac", ["ab"])
    assert "error" not in text and "ab" in text

def test_strong_error():
    with pytest.raises(ValueError, match="invalid literal"):
        int("x")

def test_all_of_nothing():
    assert all(line for line in lines("a"))

def test_lacks():
    assert "error" not in suggest("ac", ["ab"])

def test_lacks_by_a_function():
    check(suggest("ac", ["ab"]))

def test_never_reached():
    for line in lines(""):
        assert line

def test_says_nothing():
    suggest("ac", ["ab"])

def test_any_error():
    with pytest.raises(ValueError):
        int("x")
"""

WEAK = {
    "all_of_nothing": ["emptied", "subject"],
    "any_error": ["any error"],
    "lacks": ["result", "subject"],
    "lacks_by_a_function": ["subject"],
    "never_reached": ["emptied", "negated"],
    "says_nothing": ["no assertion"],
}
"""The mutants that pass, by the test."""


def test_each_kind_of_weakness_is_found(tmp_path: Path, warm_shell: Callable[..., tuple[int, str]]) -> None:
    """An assertion that cannot fail, in the test or in a function that it calls, is reported by its kind."""
    file = tmp_path / "test_made.py"
    file.write_text(MADE, encoding="utf-8")
    code, said = warm_shell(f"python -m tests.assertion_sample {file}", ROOT, os.environ)
    found: dict[str, list[str]] = {}
    for name, kind in re.findall(r"^\* `.*::test_(\w+)`: ([\w ]+) `", said, re.MULTILINE):
        found.setdefault(name, []).append(kind)
    assert WEAK == {name: sorted(kinds) for name, kinds in found.items()}, said
    assert (1, True) == (code, "9 tests." in said)


@pytest.mark.parametrize(
    "value", ["", "a", b"", b"a", 0, 1.5, True, [], [1], (), {}, {"a": 1}, {1}, None, Path("a")]
)
def test_another_value_has_the_same_type(value: object) -> None:
    """Only None has no other value of its type."""
    other = different(value)
    assert value != other
    assert value is None or type(value) is type(other)


def test_a_generator_becomes_what_it_is_not() -> None:
    """One that yields something yields nothing, and one that yields nothing yields something."""
    made = [different(one for one in given) for given in ([1], [])]
    assert [[], ["different"]] == [list(each) for each in made]
    assert not any(isinstance(each, GeneratorType) for each in made)


def test_a_seed_draws_the_same_tests_again() -> None:
    """Another seed draws others; a sample of more than there are is all of them."""
    names = [f"test_{number}" for number in range(200)]
    sample = drawn(names, seed=2, count=30)
    assert sample == drawn(names, seed=2, count=30)
    assert sample != drawn(names, seed=3, count=30)
    assert 36 == len(set(sample) & set(names))
    assert names == sorted(drawn(names, seed=2, count=1000), key=names.index)


def test_the_population_needs_no_part(tmp_path: Path) -> None:
    """A test with a part's marker, its own or its module's, is not drawn."""
    (tmp_path / "test_a.py").write_text(
        "def test_plain(): pass\n@pytest.mark.qemu\ndef test_guest(): pass\ndef helper(): pass\n"
    )
    (tmp_path / "test_b.py").write_text("pytestmark = [pytest.mark.wine]\ndef test_guest(): pass\n")
    assert [f"{tmp_path / 'test_a.py'}::test_plain"] == population({"qemu", "wine"}, tmp_path)
