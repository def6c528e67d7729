# SPDX-License-Identifier: MIT
"""Values of parameters: the same as those of Typer's own conversion, which is left out where Python's does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer._coercion import build_runtime_param

from harness.cli.command_tree import command_tree

GIVEN: list[object] = [
    None, "", "x", "5", "05", "0", "7.5", "1e3", " 5", "-1", "1_0", "\u0665", "100001", "9" * 15, "9" * 16, 5, 5.0, 300, True, False,
    [], ["a"], ("a", "b"), ["5", "6"], [1, 2], "/tmp", "nosuch/y", "-", ".", "a/../b", "//x",
]  # fmt: skip


def parameters() -> Iterator[Any]:
    """One parameter of each kind that a command has: its type and its bounds."""
    found: dict[tuple[object, ...], Any] = {}
    commands: list[Any] = [command_tree()]
    while commands:
        command = commands.pop()
        commands += getattr(command, "commands", {}).values()
        for each in command.params:
            if (
                kind := getattr(each, "type_descriptor", None)
            ) is not None and not kind.parameter_info.parser:
                info = kind.parameter_info
                found[str(kind.annotation), info.min, info.max, each.multiple, each.nargs] = each
    yield from found.values()


def converted(conversion: Any, parameter: Any, value: object) -> tuple[type, object]:
    """A value and its type, or the error and its words."""
    try:
        made = conversion.coerce(value, param=parameter, ctx=typer.Context(typer.core.TyperCommand("x")))
    except typer.BadParameter as error:
        return type(error), error.message
    return type(made), made


def test_values_are_those_of_typer() -> None:
    """Of every kind of parameter, for texts, numbers and lists of them, right and wrong."""
    kinds = [*parameters()]
    assert len(kinds) > 15
    for each in kinds:
        whole = build_runtime_param(each.type_descriptor)
        for value in GIVEN:
            name = f"{each.name} of {each.type_descriptor.annotation}: {value!r}"
            ours, theirs = converted(each._runtime_param, each, value), converted(whole, each, value)
            assert ours == theirs, name


@pytest.fixture(scope="module")
def tree() -> Any:
    """The commands, none of whose parameters was converted before. A test uses the parameters of one of them."""
    return command_tree.__wrapped__()


@pytest.mark.parametrize(
    "words",
    [
        ("nightly", "--once", "--lab", "lab.toml", "--into", "x", "--parallel", "2"),
        ("worker", "--work", "x", "--port", "0"),
        ("store", "load", "x", "y"),
        ("run", "x.toml", "--seed", "5"),
        ("explore", "--plans", "60", "--jobs", "4"),
    ],
)
def test_usual_values_need_no_pydantic(
    words: tuple[str, ...], tree: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes longer to load than all that short commands do."""

    def refuse(*_: object) -> None:
        raise AssertionError("Typer's conversion")

    for module in ("_coercion", "core"):
        monkeypatch.setattr(f"typer.{module}.build_runtime_param", refuse)
    command = tree
    context = typer.Context(command)
    rest = [*words]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    command.make_context(words[0], rest, parent=context, resilient_parsing=False)
