# SPDX-License-Identifier: MIT
"""``harness completion``: the completion of bash, zsh and fish, and the candidates for each parameter of a command.

A shell calls ``harness`` with the variable ``_HARNESS_COMPLETE`` at each press of Tab. Typer implements the
shells' protocols. The candidates come from the parameter's metavar or name, so commands need no declaration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import typer

VARIABLE = "_HARNESS_COMPLETE"
SHELLS = ("bash", "zsh", "fish")

MOST = 500
"""Maximum number of offered runs, the newest ones."""
PLAIN = re.compile(r"[\w./+@=,-]+")
"""A path that no shell splits; others are not offered, because the shell evaluates the candidates."""


def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="The shell to complete in.")],
) -> None:
    """Print the script that makes a shell complete commands, options, plans, guests and runs."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from harness.choice import check_choice
    from harness.cli.output import say

    check_choice("shell", shell, SHELLS)
    say(get_completion_script(prog_name="harness", complete_var=VARIABLE, shell=shell))


class Candidate(NamedTuple):
    """A candidate for a parameter, with its meaning; Typer reads these field names."""

    value: str
    help: str = ""
    type: str = "plain"


Candidates = Iterator[Candidate]


def completed_words() -> list[str]:
    """Return the words before the one that the shell completes, without the program's: enough to know the command.

    bash names them in COMP_WORDS, the others in _TYPER_COMPLETE_ARGS (Typer: _completion_shared.py).
    """
    text = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return re.split(r"\s", text)[1:-1]


def answer(command: Any) -> None:
    """Print what the shell requests in the variable. Exits with SystemExit, like Typer."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
    _prepare(command)
    command.main(args=[], prog_name="harness", complete_var=VARIABLE)


def _prepare(command: Any) -> None:
    """Set the candidates of the parameters of ``command`` and of its subcommands."""
    for parameter in command.params:
        if source := source_of(parameter):
            parameter.shell_complete = _matching(source)
    for inner in getattr(command, "commands", {}).values():
        _prepare(inner)


def source_of(parameter: Any) -> Callable[[str], Candidates] | None:
    """Return a function that lists a parameter's candidates for the word so far; None if the shell completes file names."""
    metavar = parameter.metavar or ""
    if "|" in metavar:
        return lambda _: map(Candidate, metavar.split("|"))
    return BY_NAME.get((parameter.param_type_name, parameter.name)) or BY_METAVAR.get(metavar.strip("[]"))


def _matching(source: Callable[[str], Candidates]) -> Callable[[Any, str], list[Candidate]]:
    def complete(_context: Any, word: str) -> list[Candidate]:
        try:
            return [each for each in source(word) if each.value.startswith(word)]
        except Exception:  # noqa: BLE001 - a broken template or an unreadable folder: the shell completes file names
            return []

    return complete


def runs(word: str) -> Candidates:
    """Yield the run directories in the folder that ``word`` names so far, by default ``runs``; and ``latest`` in it."""
    from harness.history.run_directory import HISTORY

    folder = os.path.dirname(word) if "/" in word else "runs"  # noqa: PTH120 - keeps "./" and "~" as they were typed
    with os.scandir(os.path.expanduser(folder or "/")) as entries:  # noqa: PTH111
        # Not with pathlib, which is slow: a folder may have thousands.
        found = sorted(
            (each.name for each in entries if os.path.isfile(f"{each.path}/{HISTORY}")),  # noqa: PTH113
            reverse=True,
        )
    for name in found[:MOST]:
        path = f"{folder.rstrip('/')}/{name}"
        if PLAIN.fullmatch(path):
            yield Candidate(path)


def plans() -> Candidates:
    """Yield the built-in plans."""
    from harness.run.plan import built_in_plans

    for plan in built_in_plans().values():
        yield Candidate(plan.name, plan.summary)


def guests() -> Candidates:
    """Yield the guests, including those of templates."""
    from harness.guest.guest_types import GUEST_TYPES

    yield from map(Candidate, GUEST_TYPES)


def templates() -> Candidates:
    """Yield the templates of Windows guests."""
    from harness.template.template import find_templates

    yield from map(Candidate, find_templates())


def faults() -> Candidates:
    """Yield the faults that can be injected."""
    from harness.guest.fault_injection import ALL_FAULTS

    for name, fault in ALL_FAULTS.items():
        yield Candidate(name, fault.does)


def rules() -> Candidates:
    """Yield the rules."""
    from harness.contract.rules.catalogue import all_rules

    for rule in all_rules():
        yield Candidate(rule.id)


def cases() -> Candidates:
    """Yield the acceptance cases."""
    from harness.acceptance.case import all_cases

    for case in all_cases():
        yield Candidate(case.name)


BY_METAVAR: dict[str, Callable[[str], Candidates]] = {
    "PLAN": lambda _: plans(),
    "RUN": runs,
    "RUN...": runs,
    "RUN-SET-A": runs,
    "RUN-SET-B": runs,
    "CASE...": lambda _: cases(),
}
BY_NAME: dict[tuple[str, str], Callable[[str], Candidates]] = {
    ("option", "guest"): lambda _: guests(),
    ("option", "inject_fault"): lambda _: faults(),
    ("option", "identifier"): lambda _: rules(),
    ("argument", "name"): lambda _: templates(),
}
