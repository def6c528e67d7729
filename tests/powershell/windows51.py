# SPDX-License-Identifier: MIT
"""The commands of Windows PowerShell 5.1 with their parameters: from published compatibility data, and from pages where that lacks some.

The data is ``windows-powershell-5.1.json`` in ``../shared/data/powershell``, beside the clone.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import NamedTuple

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "powershell" / "windows-powershell-5.1.json"


class Parameter(NamedTuple):
    """One parameter in one set."""

    name: str
    kind: str
    mandatory: bool
    positional: bool


class Command(NamedTuple):
    """A command: its module, whether it is a ``Cmdlet`` or a ``Function``, and its parameter sets."""

    name: str
    module: str
    kind: str
    sets: tuple[tuple[Parameter, ...], ...]

    @property
    def parameters(self) -> set[str]:
        """The names of all parameters, in lower case."""
        return {each.name.lower() for given in self.sets for each in given}


def _command(name: str, module: str, kind: str, *sets: str) -> Command:
    """Return a command of which a page tells the parameters: ``Name:string!`` is mandatory, ``Name:string@`` positional."""
    made = []
    for given in sets:
        words = [each.partition(":") for each in given.split()]
        made.append(
            tuple(Parameter(name, kind.rstrip("!@"), "!" in kind, "@" in kind) for name, _, kind in words)
        )
    return Command(name, module, kind, tuple(made))


LACKING = [
    # ML: Get-WindowsFeature, Uninstall-WindowsFeature (ServerManager); of servers alone, as functions with a workflow behind.
    _command(
        "Get-WindowsFeature", "ServerManager", "Cmdlet",
        "Name:string[]@ Vhd:string ComputerName:string Credential:pscredential LogPath:string",
    ),
    _command(
        "Uninstall-WindowsFeature", "ServerManager", "Cmdlet",
        "Name:Feature[]!@ Restart:switch IncludeManagementTools:switch Remove:switch ComputerName:string Credential:pscredential "
        "LogPath:string Vhd:string WhatIf:switch Confirm:switch",
    ),
]  # fmt: skip
"""Commands that the data does not have: it is of a client."""

DYNAMIC = {
    # ML: about_FileSystem_Provider, dynamic parameters; Get-ChildItem, Get-Content, Set-Content.
    "Get-ChildItem": "Attributes:object Directory:switch File:switch Hidden:switch ReadOnly:switch System:switch",
    "Get-Content": "Delimiter:string Wait:switch Raw:switch Encoding:string Stream:string",
    "Set-Content": "NoNewline:switch Encoding:string Stream:string",
    "Add-Content": "NoNewline:switch Encoding:string Stream:string",
    # ML: about_Registry_Provider.
    "New-ItemProperty": "Type:string",
    "Set-ItemProperty": "Type:string",
    # ML: about_WSMan_Provider.
    "New-Item": "Transport:string Address:string CertificateThumbPrint:string Port:uint32 HostName:string Enabled:bool",
}
"""Parameters that a provider adds, by command, in every set."""

COMMON = frozenset(
    {
        "verbose",
        "debug",
        "erroraction",
        "warningaction",
        "informationaction",
        "errorvariable",
        "warningvariable",
        "informationvariable",
        "outvariable",
        "outbuffer",
        "pipelinevariable",
    }
)
"""ML: about_CommonParameters, of 5.1."""


@functools.cache
def commands() -> dict[str, Command]:
    """Return every command by its name in lower case. Skips the test where the data is not beside the clone."""
    if not DATA.is_file():
        pytest.skip(
            "powershell: this machine lacks the table of Windows PowerShell 5.1's commands; "
            "no package supplies it: put windows-powershell-5.1.json into ../shared/data/powershell beside the clone"
        )
    known = {each.name.lower(): each for each in LACKING}
    for name, given in json.loads(DATA.read_text(encoding="utf-8")).items():
        more = _command(name, "", "", DYNAMIC.get(name, "")).sets[0]
        sets: dict[tuple[Parameter, ...], None] = {}
        for each in given["sets"]:
            made = [
                Parameter(word, kind, need == "mandatory", place == "positional")
                for word, kind, need, place in each
            ]
            there = {one.name.lower() for one in made}
            sets[(*made, *(one for one in more if one.name.lower() not in there))] = None
        known[name.lower()] = Command(name, given["module"], given["type"], tuple(sets))
    return known
