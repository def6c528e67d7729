# SPDX-License-Identifier: MIT
"""A few mutations of the driver's source are caught by its tests; all of them: ``tox -e mutants``."""

from __future__ import annotations

import shutil

import pytest
from guest_drivers.mutants import DRIVER, EQUIVALENT, all_mutants, excuse, run, sample

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        shutil.which("gcc") is None or shutil.which("make") is None, reason="needs gcc and make"
    ),
]


def test_every_file_can_be_mistaken() -> None:
    """Each source file has places for mistakes, and each mistake changes its file."""
    everything = all_mutants()
    assert {path.name for path in (DRIVER / "src").glob("*.c")} == {mutant.file for mutant in everything}
    for mutant in everything:
        lines = (DRIVER / "src" / mutant.file).read_text().splitlines()
        assert [] == [number for number, text in mutant.changes.items() if lines[number - 1] == text]


def test_excuses_are_for_what_is_there() -> None:
    """No mistake is excused that cannot be made any more."""
    assert set(EQUIVALENT) <= {(mutant.file, mutant.operator, mutant.before) for mutant in all_mutants()}


def test_mutants_are_caught() -> None:
    """A seeded sample. A mutant that is known to change nothing is not tried, because its result is right either way."""
    chosen = [mutant for mutant in sample(4, 20261121) if not excuse(mutant)]
    assert chosen
    assert [] == [mutant.name for mutant, caught in run(chosen) if not caught]
