# SPDX-License-Identifier: MIT
"""Every script, parsed by the real parser: nothing that Windows PowerShell 5.1 lacks, no alias, nothing that asks."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from part_markers import needs
from powershell import syntax, texts
from transport.real_powershell import program

pytestmark = pytest.mark.powershell


class Parsed(NamedTuple):
    """What the parser says of every script, by its name, and of each text of :data:`FAULTS`."""

    scripts: dict[str, dict[str, Any]]
    wrong: list[dict[str, Any]]


@pytest.fixture(scope="module")
@needs("powershell")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Parsed:
    """All read by one parser."""
    folder = tmp_path_factory.mktemp("parser") / "home"
    folder.mkdir()
    everything = texts.everything()
    wrong = [text for text, _ in FAULTS]
    read = syntax.read(program(folder), [*everything.values(), *wrong], tmp_path_factory.mktemp("texts"))
    count = len(everything)
    return Parsed(dict(zip(everything, read[:count], strict=True)), read[count:])


@pytest.fixture
def trees(parsed: Parsed) -> dict[str, dict[str, Any]]:
    """What the parser says of every script."""
    return parsed.scripts


def module_functions(trees: dict[str, dict[str, Any]]) -> set[str]:
    """The functions that provisioning steps may use."""
    return {each["name"].lower() for each in trees["Provision.psm1"]["functions"]}


def test_every_script_is_one_of_5_1(trees: dict[str, dict[str, Any]]) -> None:
    """Syntax, operators, commands, parameters, members of .NET, and what would stop and ask."""
    own = module_functions(trees)
    found = {name: syntax.faults(tree, own) for name, tree in trees.items()}
    assert {} == {name: faults for name, faults in found.items() if faults}


FAULTS = [
    ("if (", "does not parse: Missing condition in if statement after 'if ('. (line 1)"),
    ("$a ? 1 : 2", "newer than 5.1: ?:"),
    ("Get-Date && Get-Date", "newer than 5.1: && or ||"),
    ("$a ?? 1", "newer than 5.1: ??"),
    ("$a ??= 1", "newer than 5.1: ??="),
    ("${a}?.Length", "newer than 5.1: ?."),
    ("Get-Date &", "newer than 5.1: &"),
    ("$a = 0b11", "newer than 5.1: 0b11"),
    ("$a = 1u", "newer than 5.1: 1u"),
    ('$a = "`u{41}"', 'newer than 5.1: "`u{41}"'),
    ("'a' -replace 'a', { 'b' }", "newer than 5.1: -replace { }"),
    ("[Convert]::ToHexString($a)", "not in .NET Framework: Convert::ToHexString"),
    ("[string](Get-Date)", "may be $null: [string](Get-Date)"),
    ("gci C:\\", "not in 5.1: gci (line 1)"),
    ("Get-Uptime", "not in 5.1: Get-Uptime (line 1)"),
    ("$a | ConvertFrom-Json -AsHashtable", "no parameter -AsHashtable: ConvertFrom-Json (line 1)"),
    ("Get-ChildItem -Pa x", "no parameter -Pa: Get-ChildItem (line 1)"),
    ("$a | ForEach-Object -Parallel { 1 }", "no parameter -Parallel: ForEach-Object (line 1)"),
    ("Read-Host", "asks: Read-Host (line 1)"),
    ("Remove-Item -LiteralPath x", "may ask: Remove-Item (line 1)"),
    ("Stop-Service -Name x -Confirm", "may ask: Stop-Service (line 1)"),
    ("Invoke-Expression 'x'", "not to be used: Invoke-Expression (line 1)"),
    ("Get-WmiObject -Class x", "not to be used: Get-WmiObject (line 1)"),
    ("Start-Process x -Wait", "waits for grandchildren: Start-Process (line 1)"),
    ("sc.exe query 2>&1", "stderr merged under Stop: sc.exe (line 1)"),
    ("Restart-Service", "a mandatory parameter is missing: Restart-Service (line 1)"),
    ("New-ItemProperty -LiteralPath x", "a mandatory parameter is missing: New-ItemProperty (line 1)"),
    ("function f { $ErrorActionPreference = 'Continue'; sc.exe query 2>&1 }; f", ""),
    (
        "Remove-Item x -Force; Restart-Service x; Start-Process x; ConvertTo-Json -InputObject 1; [string]$a",
        "",
    ),
]
"""A text, and what is wrong with it."""


def test_each_rule_sees_its_fault(parsed: Parsed) -> None:
    """A rule that found nothing ever would prove nothing."""
    found = [(text, syntax.faults(tree, set())) for (text, _), tree in zip(FAULTS, parsed.wrong, strict=True)]
    assert [(text, [fault] if fault else []) for text, fault in FAULTS] == found


def test_programs_are_run_in_one_way(trees: dict[str, dict[str, Any]]) -> None:
    """A file has no other to take it from, so each script has its copy of one function; no program is run otherwise."""
    files = {path.name: trees[path.name] for path in texts.files() if path.parent.name == "scripts"}
    copies = {
        one["text"] for tree in files.values() for one in tree["functions"] if one["name"] == "Invoke-Native"
    }
    assert 1 == len(copies)
    bare = {
        name: one["name"] for name, tree in files.items() for one in tree["commands"] if ".exe" in one["name"]
    }
    assert {} == bare


def test_stdin_is_read_where_powershell_feeds_it(trees: dict[str, dict[str, Any]]) -> None:
    """Only a text that names $input outside nested script blocks gets it (ConsoleHost, IsUsingDollarInput)."""
    reading = {name for name, tree in trees.items() if tree["inputs"]}
    assert {"operation write"} == reading
    assert all(trees["operation write"]["inputs"])
