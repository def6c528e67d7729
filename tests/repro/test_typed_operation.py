# SPDX-License-Identifier: MIT
"""What is typed at a session's prompt becomes an operation of a plan, and what cannot become one is refused in words."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.repro.typed_operation import KINDS, explained, fields_of, line_of, typed_operation
from harness.run import operation as op
from harness.run.plan import built_in_plans
from harness.size import Size


def typed(line: str) -> op.Operation:
    """Return the operation of a line."""
    name, *words = shlex.split(line)
    return typed_operation(name, words)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("add-cpu", op.AddCpu()),
        ("add-cpu slot=3 expect=refused saying='is taken'", op.AddCpu(slot=3, expect="refused", saying="is taken")),
        ("add-dimm 256MiB settle=false", op.AddDimm(size=Size("256MiB"), settle=False)),
        ("add-dimm node=1 size='1 GiB' host_nodes=[0,1]", op.AddDimm(size=Size("1 GiB"), node=1, host_nodes=[0, 1])),
        ("unplug cpu-1 timeout=2.5", op.Unplug(device="cpu-1", timeout=2.5)),
        ("wait-for start count=2", op.WaitFor(what="start", count=2)),
        ("veto-next status=0xC0000001", op.VetoNext(status=0xC0000001)),
        ("add-cpu id=cpu-7 saying=5 expect=refused", op.AddCpu(id="cpu-7", saying="5", expect="refused")),
    ],
)  # fmt: skip
def test_a_line_is_an_operation(line: str, expected: op.Operation) -> None:
    """Values are those of a plan's file; a text needs no quotes of its own."""
    assert expected == typed(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("add-cpu slto=3", "add-cpu has no field 'slto'"),
        ("add-cpu slot=three", "slot takes a whole number, got 'three'"),
        ("add-cpu slot=-1", "slot takes a whole number, got '-1'"),
        ("add-cpu expect=addedd", r"expect takes added\|vetoed\|refused\|ignored\|found, got 'addedd'"),
        ("add-cpu 3", "there is no field for the value '3'"),
        ("add-dimm", "add-dimm needs size"),
        ("add-dimm 3parsecs", "size takes a size"),
        ("add-dimm 1GiB size=1GiB", "size is given twice"),
    ],
)
def test_what_is_no_operation_is_refused(line: str, words: str) -> None:
    """The field is named, with what it takes."""
    with pytest.raises(UsageError, match=words):
        typed(line)


OPERATIONS = [(plan.name, one) for plan in built_in_plans().values() for one in plan.do]


@pytest.mark.parametrize("name", KINDS)
def test_every_operation_can_be_typed_and_is_explained(name: str) -> None:
    """Each has its fields in its help, and a purpose that is a sentence's beginning."""
    lines = "\n".join(explained(name))
    assert [field.name for field in fields_of(name) if f"  {field.name}=" not in lines] == []
    assert len(lines.splitlines()[1]) > 10


def test_the_line_of_an_operation_is_read_as_it() -> None:
    """Every operation of every built-in plan, there and back."""
    assert OPERATIONS
    assert [(name, one) for name, one in OPERATIONS if typed(line_of(one)) != one] == []


@given(st.sampled_from(sorted(KINDS)), st.lists(st.text(max_size=12), max_size=4))
def test_whatever_is_typed_is_taken_or_refused(name: str, words: list[str]) -> None:
    """Nothing but UsageError is raised, and what is taken is what its line says."""
    try:
        found: Any = typed_operation(name, words)
    except UsageError:
        return
    assert typed(line_of(found)) == found
    assert isinstance(found, msgspec.Struct)
