# SPDX-License-Identifier: MIT
"""The corpus keeps what was new, is read again, and survives what a killed process left."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.explore.corpus import FILE, Corpus
from harness.explore.legality import Legality
from harness.explore.trial import Trial
from harness.run import operation as op
from harness.run.options import RunOptions

HOST = Legality(RunOptions(guest="host"))
TWIN = Legality(RunOptions(guest="twin"))


def trial(*operations: op.Operation, rules: str = "", orders: str = "") -> Trial:
    """Return a trial that exercised rules and orders, named by words."""
    return Trial(operations=operations, rules=frozenset(rules.split()), orders=frozenset(orders.split()))


def test_kept_and_read_again(tmp_path: Path) -> None:
    """Only a plan that exercised something new is kept; the next corpus in the folder knows it."""
    corpus = Corpus(tmp_path, HOST)
    dimm = op.AddDimm(size="256 MiB")
    assert corpus.take(trial(dimm, rules="A", orders="x"))
    assert not corpus.take(trial(op.AddCpu(), rules="A", orders="x"))
    assert corpus.take(trial(op.AddCpu(), rules="A", orders="y"))
    again = Corpus(tmp_path, HOST)
    assert (again.plans, again.rules, again.orders) == ([(dimm,), (op.AddCpu(),)], {"A"}, {"x", "y"})


def test_lines_that_are_not_entries(tmp_path: Path) -> None:
    """A cut line, hostile bytes and operations that do not exist are left out."""
    (tmp_path / FILE).write_bytes(
        b'{"do":[{"op":"add-cpu"}],"rules":["A"]}\n\xff\xfe\n{"do":[{"op":"nosuch"}],"rules":["B"]}\n'
        + b"[" * 100_000 + b'\n{"do":[{"op":"add-c'
    )  # fmt: skip
    corpus = Corpus(tmp_path, HOST)
    assert (corpus.plans, corpus.rules) == ([(op.AddCpu(),)], {"A", "B"})


def test_corpus_of_another_guest(tmp_path: Path) -> None:
    """Plans that are not legal here are not continued."""
    Corpus(tmp_path, TWIN).take(trial(op.AddCpu(), op.Unplug(device="cpu-1"), rules="A"))
    assert Corpus(tmp_path, HOST).plans == []


def test_unwritable(tmp_path: Path) -> None:
    """An error names the file."""
    corpus = Corpus(tmp_path / "nosuch", HOST)
    with pytest.raises(InfrastructureError, match=r"cannot write .*nosuch/corpus.jsonl"):
        corpus.take(trial(op.AddCpu(), rules="A"))
