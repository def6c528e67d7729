# SPDX-License-Identifier: MIT
"""docs/cli.md lists exactly the commands, options, exit codes and JSON keys that there are."""

import re
from pathlib import Path

import msgspec
import pytest

from harness.cli.command_tree import command_tree
from harness.contract.coverage import RuleCoverage
from harness.contract.rules.catalogue import all_rules
from harness.contract.verdict import RunVerdict
from harness.errors import ExitCode
from harness.host.budget import HostBudget
from harness.host.preflight import HostPart
from harness.lab.inventory import ListedMachine
from harness.report.junit import COUNTED
from harness.report.observations import AnswerComparison, ComparisonResult
from harness.report.rule_text import rule_document

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
COMMAND = command_tree()


def section(title: str) -> str:
    """Return the text below the heading ``title``, up to the next heading of any level."""
    return re.split(r"^##+ ", re.split(rf"^##+ {title}\n", PAGE, flags=re.MULTILINE)[1], flags=re.MULTILINE)[
        0
    ]


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


def commands() -> dict[str, object]:
    """Return every command by its words, those of a group after the group itself."""
    found: dict[str, object] = {}
    for name, command in COMMAND.commands.items():  # type: ignore[attr-defined]
        found[name] = command
        found |= {f"{name} {inner}": one for inner, one in getattr(command, "commands", {}).items()}
    return found


def test_every_command_has_its_section() -> None:
    """The page's sections are the app's commands, in the app's order; a group's commands have theirs inside the group's."""
    titles = [f"{'#' * (1 + len(name.split()))} harness {name}" for name in commands()]
    assert sorted(titles) == sorted(re.findall(r"^##+ harness .+$", PAGE, flags=re.MULTILINE))
    assert re.findall(r"^## harness (.+)$", PAGE, flags=re.MULTILINE) == list(COMMAND.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", list(commands()))
def test_every_option_is_documented_and_exists(name: str) -> None:
    """A command's table of options and its real ones are the same, in the same order but for the common ones."""
    documented = first_column(section(f"harness {name}"), "option")
    assert sorted(options(commands()[name])) == sorted(documented)


def test_the_options_of_the_program_itself() -> None:
    """The table before the first section lists --version and the two forms of --help."""
    assert ["--version", "--help", "-h"] == first_column(PAGE.partition("\n## ")[0], "option")


def test_the_exit_codes_are_those_of_the_code() -> None:
    """Every exit code of the harness is in the table, and no other."""
    documented = [int(code) for code in first_column(section("Exit codes"), "code")]
    assert sorted(map(int, ExitCode)) == sorted(documented)


@pytest.mark.parametrize(
    ("title", "prefix", "struct"),
    [
        ("harness check", "coverage[].", RuleCoverage),
        ("harness doctor", "parts[].", HostPart),
        ("harness ps", "machines[].", ListedMachine),
        ("harness ps", "budget.", HostBudget),
        ("harness observe diff", "questions[].", AnswerComparison),
    ],
)
def test_the_documented_json_keys_are_the_fields(title: str, prefix: str, struct: type) -> None:
    """What is printed for each of many has exactly the keys of the table."""
    keys = [key.removeprefix(prefix) for key in first_column(section(title), "key") if key.startswith(prefix)]
    assert sorted(field.encode_name for field in msgspec.structs.fields(struct)) == sorted(keys)


def test_the_documented_keys_of_a_verdict_exist() -> None:
    """The keys of a verdict in the table are fields of it."""
    keys = {
        key.rpartition(".")[2] for key in first_column(section("harness check"), "key") if ".verdict." in key
    }
    fields = {field.encode_name for field in msgspec.structs.fields(RunVerdict)}
    assert [True, set()] == [bool(keys), keys - fields]


def test_the_documented_keys_of_a_rule_are_those_printed() -> None:
    """harness rules --json prints the table's keys, examples only with --id."""
    document = rule_document(all_rules()[0])
    assert [*document, "examples"] == first_column(section("harness rules"), "key")


def test_the_results_of_a_comparison_are_those_of_the_code() -> None:
    """The table lists the results in the order in which questions are sorted."""
    assert list(ComparisonResult) == first_column(section("harness observe diff"), "result")


def test_the_kinds_of_junit_cases_are_those_of_the_code() -> None:
    """The table names every result that a test case can have."""
    assert sorted([*COUNTED, "passed"]) == sorted(first_column(section("harness check"), "case"))
