# SPDX-License-Identifier: MIT
"""docs/cli.md lists exactly the commands, options, exit codes and JSON keys that there are."""

import re
from pathlib import Path

import msgspec
import pytest
import typer.main

from harness.cli.main import BROKEN_PIPE, app
from harness.contract.verdict import RunVerdict
from harness.errors import ExitCode
from harness.machine.preflight import Part

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
COMMAND = typer.main.get_command(app)


def section(title: str) -> str:
    """Return the text below the heading ``title``."""
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], flags=re.MULTILINE)[0]


def first_column(text: str, heading: str) -> list[str]:
    """Return the code spans in the first column of the tables whose first column is called ``heading``."""
    spans: list[str] = []
    for table in re.findall(rf"^\| {heading} \|.*\n\|[- |]+\n((?:\|.*\n)*)", text, flags=re.MULTILINE):
        for row in table.splitlines():
            spans += re.findall(r"`([^`]+)`", row.split("|")[1]) or [row.split("|")[1].strip()]
    return spans


def options(command: object) -> list[str]:
    """Return the options of a command, its help left out."""
    return [
        name
        for parameter in command.params  # type: ignore[attr-defined]
        if parameter.param_type_name == "option"
        for name in parameter.opts
        if name not in ("--help", "-h")
    ]


def test_every_command_has_its_section() -> None:
    """The page's sections are the app's commands, in the app's order."""
    assert re.findall(r"^## harness (.+)$", PAGE, flags=re.MULTILINE) == list(COMMAND.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", list(COMMAND.commands))  # type: ignore[attr-defined]
def test_every_option_is_documented_and_exists(name: str) -> None:
    """A command's table of options and its real ones are the same, in the same order but for the common ones."""
    documented = first_column(section(f"harness {name}"), "option")
    assert sorted(options(COMMAND.commands[name])) == sorted(documented)  # type: ignore[attr-defined]


def test_the_options_of_the_program_itself() -> None:
    """The table before the first section lists --version and the two forms of --help."""
    assert ["--version", "--help", "-h"] == first_column(PAGE.partition("\n## ")[0], "option")


def test_the_exit_codes_are_those_of_the_code() -> None:
    """Every exit code of the harness is in the table, and no other."""
    documented = [int(code) for code in first_column(section("Exit codes"), "code")]
    assert sorted([*map(int, ExitCode), BROKEN_PIPE]) == sorted(documented)


def test_the_documented_json_keys_exist() -> None:
    """Keys of a verdict and of a part of the machine are fields of what is printed."""
    verdict = [
        key.rpartition(".")[2] for key in first_column(section("harness check"), "key") if ".verdict." in key
    ]
    parts = [key.partition("[].")[2] for key in first_column(section("harness doctor"), "key") if "[]" in key]
    fields = {field.encode_name for field in msgspec.structs.fields(RunVerdict)}
    assert [set(), [field.encode_name for field in msgspec.structs.fields(Part)]] == [
        set(verdict) - fields,
        parts,
    ]
