# SPDX-License-Identifier: MIT
"""The tree of commands: which module has which command, and the command to execute, with nothing else loaded.

Typer reads the signature of each command that it is given, which takes longer than most commands. So a command line gets a tree
with the one command that it names, and help at the top gets the commands' names and summaries only.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Annotated, Any

import typer
import typer.main

import harness
from harness.cli.output import say

COMMANDS = {
    "demo": "run",
    "run": "run",
    "show": "show",
    "check": "check",
    "report": "report",
    "diff": "diff",
    "repro": "repro",
    "attach": "attach",
    "bisect": "bisect",
    "explore": "explore",
    "evidence": "evidence",
    "nightly": "nightly",
    "worker": "worker",
    "fleet": "fleet",
    "history": "history",
    "store": "store",
    "accept": "accept",
    "rules": "rules",
    "doctor": "doctor",
    "setup": "setup",
    "ps": "ps",
    "reserve": "reserve",
    "gc": "gc",
    "import": "importing",
    "observe": "observe",
    "plan": "plan",
    "etl": "etl",
    "driver": "driver",
    "template": "template_group",
    "completion": "completion",
}
"""The module of this room that has each command: a function of its name, or the Typer ``group``."""

HELP = ("--help", "-h")


def _version(asked: bool) -> None:
    if asked:
        from pathlib import Path

        from harness.cli.revision import revision

        at = revision(Path(harness.__file__).parent)
        say(f"harness {harness.__version__}" + (f" ({at})" if at else ""))
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print version and revision and exit.", callback=_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


def application(modules: Sequence[str]) -> typer.Typer:
    """Return the application with the commands of ``modules``."""
    app = typer.Typer(
        name="harness",
        help="Hot-add vCPUs and DIMMs to guests under QEMU, and judge whether a driver was notified as Windows documents.",
        epilog="Exit codes: 0 holds, 1 violated, 3 unknown, 64 usage and plan, 69 infrastructure, 128 + N signal N.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"max_content_width": 100, "help_option_names": [*HELP]},
    )
    app.callback()(_options)
    for name, module in COMMANDS.items():
        if module in modules:
            loaded = importlib.import_module(f"harness.cli.{module}")
            if group := getattr(loaded, "group", None):
                app.add_typer(group, name=name)
            else:
                # The command import is import_.
                app.command(name)(getattr(loaded, name + "_" * iskeyword(name)))
    return app


def command_group(text: str, **commands: Callable[..., Any]) -> typer.Typer:
    """Return a group of ``commands`` by their names, in this order, whose help begins with ``text``."""
    group = typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)
    for name, command in commands.items():
        group.command(name)(command)
    return group


@functools.cache
def whole() -> typer.Typer:
    """Return the application with every command."""
    return application(list(COMMANDS.values()))


@functools.cache
def command_tree(module: str = "") -> Any:
    """Return the command of the application with the commands of ``module``, of every module without one."""
    command = typer.main.get_command(application([module]) if module else whole())
    _take_as_they_are(command)
    return command


def command_for(words: Sequence[str]) -> Any:
    """Return a command that executes the command line ``words`` as the whole tree would."""
    if not words or words[0] in HELP:
        return _summaries()
    return command_tree(COMMANDS.get(words[0], ""))


PLACES = ("--runs", "--into", "--out")
"""The options for the place where a command writes, those before the others if it has several."""

_GIVE_ANOTHER = re.compile(
    r",? or give (?:another place|one) with --runs DIR|Give (?:another|a writable) place with --runs DIR\."
)


def with_own_place(hint: str, words: Sequence[str]) -> str:
    """Return ``hint``, in which ``--runs DIR`` is the place for new files, with the option that the command of ``words``
    has for it. Leave the advice out if it has none."""
    if "--runs DIR" not in hint:
        return hint
    command = command_for(words)
    for word in words:
        command = getattr(command, "commands", {}).get(word, command)
    metavars = {name: one.metavar for one in command.params for name in one.opts}
    place = next((one for one in PLACES if one in metavars), "")
    if place:
        return hint.replace("--runs DIR", f"{place} {metavars[place] or 'DIR'}")
    return _GIVE_ANOTHER.sub("", hint).strip()


@functools.cache
def _summaries() -> Any:
    """Return the application with commands that have a summary and no parameters."""
    shown = application([])
    for info in whole().registered_commands:
        shown.command(info.name, help=info.help or (info.callback.__doc__ if info.callback else ""))(_nothing)
    for group in whole().registered_groups:
        inner = group.typer_instance
        text = next(
            (one for one in (group.help, inner.info.help if inner else "") if isinstance(one, str)), ""
        )
        shown.command(group.name or (inner.info.name if inner else ""), help=text)(_nothing)
    command = typer.main.get_command(shown)
    _take_as_they_are(command)
    return command


def _nothing() -> None:
    """Do nothing: only the summary of this command is displayed."""


_PLAIN = {
    str: re.compile(r".*", re.DOTALL),
    int: re.compile(r"[0-9]{1,15}"),
    float: re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?"),
}
"""Texts of which Python and pydantic make the same."""


class _AsItIs:
    """Converts a parameter's value only if it is neither of the parameter's type nor a path or a plain number as text.

    Typer's conversion loads pydantic, which takes longer than all other imports of a run together.
    """

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the converted value. Raises what Typer's own conversion raises."""
        from pathlib import Path

        kind = param.type_descriptor.annotation
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if not several and kind in (str, int, float):
            given = kind(value) if isinstance(value, str) and _PLAIN[kind].fullmatch(value) else value
            if type(given) is kind and self._allows(param, given):
                return given
        if several and isinstance(value, list | tuple):
            if kind == list[str] and {str} >= {*map(type, value)}:
                return list(value)
            if kind == list[Path] and all(map(_is_unquestioned, value)):
                return [*map(Path, value)]
        elif kind is Path and _is_unquestioned(value):
            return Path(value)
        return self._whole(param).coerce(value, param=param, ctx=ctx)

    @staticmethod
    def _allows(param: Any, value: Any) -> bool:
        """Return whether a value is within the bounds of its parameter."""
        least, most = (getattr(param.type_descriptor.parameter_info, name) for name in ("min", "max"))
        return (least is None or value >= least) and (most is None or value <= most)


def _is_unquestioned(value: object) -> bool:
    """Return whether Typer makes a path of a value without a complaint: it refuses a file that may not be read."""
    return isinstance(value, str | os.PathLike) and (not os.path.exists(value) or os.access(value, os.R_OK))  # noqa: PTH110 - as Typer asks


def _take_as_they_are(command: Any) -> None:
    """Set the conversion of each parameter of ``command`` and its subcommands, where this Typer converts by pydantic."""
    try:
        from typer._coercion import build_runtime_param
    except ImportError:
        return

    def whole(param: Any) -> Any:
        return build_runtime_param(param.type_descriptor)

    # Typer makes the help option on first use, and converts its absence too.
    shown = command.get_help_option(typer.Context(command, help_option_names=[*HELP]))
    for parameter in [*command.params, *([shown] if shown is not None else [])]:
        descriptor = getattr(parameter, "type_descriptor", None)
        info = getattr(descriptor, "parameter_info", None)
        # What has a parser is converted in any case.
        if info is not None and not info.parser:
            parameter._runtime_param = _AsItIs(whole)  # noqa: SLF001 - there is no public way; without it Typer is only slower
    for inner in getattr(command, "commands", {}).values():
        _take_as_they_are(inner)
