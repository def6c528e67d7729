# SPDX-License-Identifier: MIT
"""The corpus keeps what was new, is read again, and survives what a killed process left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from harness.explore.corpus import FILE, MOST, Corpus
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


@pytest.mark.parametrize(
    "operation",
    [
        '{"op":"delay-start","milliseconds":60000}',
        '{"op":"migrate","qemu":"/bin/sh"}',
        '{"op":"add-dimm","size":"128 MiB","backend":"file","prealloc":true}',
        '{"op":"add-dimm","size":"128 MiB","host_nodes":[0]}',
        '{"op":"add-cpu","timeout":3600}',
        '{"op":"crash"}',
    ],
)
def test_operations_that_are_not_generated(operation: str, tmp_path: Path) -> None:
    """A plan of the corpus with another program, a long delay or memory of the host's is not continued, though the checker passes it."""
    (tmp_path / FILE).write_text(f'{{"do":[{operation}],"rules":["A"]}}\n')
    assert Corpus(tmp_path, TWIN).plans == []


def test_too_long(tmp_path: Path) -> None:
    """A plan that is longer than any that is generated is left out, and so are lines beyond the most that are read."""
    delay = '{"op":"delay-start","milliseconds":1}'
    (tmp_path / FILE).write_text(f'{{"do":[{",".join([delay] * 17)}]}}\n')
    assert Corpus(tmp_path, HOST).plans == []
    (tmp_path / FILE).write_text(
        f'{{"do":[{",".join([delay] * 16)}]}}\n' + "\n" * MOST + '{"do":[{"op":"add-cpu"}]}\n'
    )
    assert [len(plan) for plan in Corpus(tmp_path, HOST).plans] == [16]


def test_after_a_cut_line(tmp_path: Path) -> None:
    """What is kept after a line that was cut is a line of its own."""
    (tmp_path / FILE).write_bytes(b'{"do":[{"op":"add-c')
    assert Corpus(tmp_path, HOST).take(trial(op.AddCpu(), rules="A"))
    assert Corpus(tmp_path, HOST).plans == [(op.AddCpu(),)]


def test_a_pipe_in_its_place(tmp_path: Path) -> None:
    """It is refused, and nobody waits for a writer."""
    os.mkfifo(tmp_path / FILE)
    with pytest.raises(InfrastructureError, match=r"cannot read .*corpus.jsonl: not a regular file"):
        Corpus(tmp_path, HOST)


def test_corpus_of_another_guest(tmp_path: Path) -> None:
    """Plans that are not legal here are not continued."""
    Corpus(tmp_path, TWIN).take(trial(op.AddCpu(), op.Unplug(device="cpu-1"), rules="A"))
    assert Corpus(tmp_path, HOST).plans == []


def test_unwritable(tmp_path: Path) -> None:
    """An error names the file."""
    corpus = Corpus(tmp_path / "nosuch", HOST)
    with pytest.raises(InfrastructureError, match=r"cannot write .*nosuch/corpus.jsonl"):
        corpus.take(trial(op.AddCpu(), rules="A"))
