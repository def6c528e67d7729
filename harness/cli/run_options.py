# SPDX-License-Identifier: MIT
"""The options of a run on the command line: they replace a command's parameter ``options``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from harness.errors import UsageError
from harness.run.option import Door, Option, options_of
from harness.run.options import RunOptions, options_at, shown

Command = Callable[..., int]


def with_run_options(
    door: Door, *, without: Mapping[str, str] = MappingProxyType({})
) -> Callable[[Command], Command]:
    """Return a decorator for a command, whose parameter ``options`` gets the set values, by the field of the option.

    ``without`` says, by field, why the command does not have an option of its door. The attribute ``absent`` of the decorated command says why it does not have the other options of a run.
    """

    def decorate(command: Command) -> Command:
        options = [one for one in options_at(door) if one.field not in without]
        signature = inspect.signature(command, eval_str=True)
        parameters = [
            one
            for parameter in signature.parameters.values()
            for one in (_parameters(options, door) if parameter.name == "options" else [parameter])
        ]

        @functools.wraps(command)
        def wrapped(**values: Any) -> int:
            return command(
                options={o.field: v for o in options for v in _given(o, values, shown(o, door))}, **values
            )

        wrapped.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        )
        wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
        wrapped.absent = {  # type: ignore[attr-defined]
            f"--{flag}": why
            for option in options_of(RunOptions)
            if (why := without.get(option.field) or option.absent.get(door))
            for flag in option.flags or [option.name]
        }
        return wrapped

    return decorate


def _parameters(options: list[Option], door: Door) -> Iterator[inspect.Parameter]:
    for option in options:
        for flag, (_, text) in option.flags.items():
            yield _parameter(flag, False, Annotated[bool, typer.Option(f"--{flag}", help=text)])
        if not option.flags:
            declared = typer.Option(f"--{option.name}", metavar=option.metavar, help=option.help)
            yield _parameter(option.name, shown(option, door), Annotated[str, declared])


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name.replace("-", "_"), kind, default=default, annotation=annotation)


def _given(option: Option, values: dict[str, Any], default: str) -> list[Any]:
    """Remove an option's parameters from ``values``; return a list with its value, empty if it was not set."""
    given = [flag for flag in option.flags if values.pop(flag.replace("-", "_"))]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(f'--{flag}' for flag in given)} exclude each other",
            hint=f"Leave out {' or '.join(f'--{flag}' for flag in given)}.",
        )
    if option.flags:
        return [option.flags[flag][0] for flag in given]
    text = values.pop(option.name.replace("-", "_"))
    if text == default:
        return []
    try:
        return [option.read(text)]
    except UsageError as error:
        raise UsageError(f"--{option.name}: {error.message}", hint=error.hint) from error
