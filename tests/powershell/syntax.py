# SPDX-License-Identifier: MIT
"""What Windows PowerShell 5.1 would not take of a script, found in the tree that the real parser makes of it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from powershell.windows51 import COMMON, Command, commands

SCRIPT = Path(__file__).with_name("syntax.ps1")

FRAMEWORK = {
    "[Array]::Reverse", "[BitConverter]::ToString", "[Console]::Error", "[Console]::Out", "[Console]::OutputEncoding",
    "[Convert]::FromBase64String", "[Convert]::ToBase64String", "[Diagnostics.Process]::Start",
    "[DateTimeKind]::Utc", "[DateTime]::UtcNow", "[Diagnostics.Stopwatch]::GetTimestamp",
    "[IO.Compression.CompressionMode]::Compress", "[Math]::Abs", "[Math]::Max",
    "[Diagnostics.Stopwatch]::StartNew", "[Environment]::ProcessorCount", "[IO.Directory]::CreateDirectory",
    "[IO.Directory]::Exists", "[IO.File]::AppendAllLines", "[IO.File]::AppendAllText", "[IO.File]::Create", "[IO.File]::Delete",
    "[IO.File]::Exists", "[IO.File]::Move", "[IO.File]::Open", "[IO.File]::OpenRead", "[IO.File]::ReadAllText",
    "[IO.File]::WriteAllText", "[Math]::Min", "[Security.Cryptography.SHA256]::Create", "[System.BitConverter]::ToString", "[System.Environment]::OSVersion",
    "[System.Runtime.InteropServices.Marshal]::ReadInt32", "[Math]::Ceiling", "[System.Convert]::ToBase64String",
    "[System.IO.Compression.CompressionMode]::Compress", "[System.IO.File]::Open", "[System.IO.FileAccess]::Read",
    "[System.IO.FileMode]::Open",
    "[System.Security.Cryptography.SHA256]::Create", "[Text.Encoding]::UTF8", "[Text.Encoding]::Unicode", "[regex]::Escape",
}  # fmt: skip
"""Static members of .NET that the scripts may use: each is in .NET Framework 4.6 (its page on Microsoft Learn, "Applies to"),
which Windows Server 2016 has, and later ones."""

NEWER_EDITIONS = {
    "get-wmiobject",
    "set-wmiinstance",
    "invoke-wmimethod",
    "register-wmievent",
    "remove-wmiobject",
}
"""Commands of 5.1 that are not to be used for what comes after it (ML: Deprecated features for Windows client: WMIC)."""

ASKING = {"read-host", "get-credential", "out-gridview", "show-command", "pause", "out-host"}
"""Commands that ask a person, or show something to one."""

FORCED = {"remove-item", "set-item"}
"""Commands that ask unless they are told not to (ML: Remove-Item, children without -Recurse; about_WSMan_Provider)."""

TEXT_OF_CODE = {"invoke-expression", "invoke-webrequest", "invoke-restmethod", "start-bitstransfer"}
"""Commands that make code of text, or fetch something."""


def read(powershell: Path, texts: list[str], folder: Path) -> list[dict[str, Any]]:
    """Return what the parser says of each text."""
    file = folder / "texts.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    words = [str(powershell), "-NoLogo", "-NoProfile", "-NonInteractive", "-File", str(SCRIPT), str(file)]
    ended = subprocess.run(words, capture_output=True, timeout=120, check=False, text=True)
    assert (0, "") == (ended.returncode, ended.stderr)
    return [json.loads(line) for line in ended.stdout.splitlines()]


def faults(tree: dict[str, Any], own: set[str]) -> list[str]:
    """Return what is wrong with a script; ``own`` are the functions that it may use besides its own, in lower case."""
    known = commands()
    own = own | {each["name"].lower() for each in tree["functions"]}
    found = [f"does not parse: {each}" for each in tree["errors"]]
    found += [f"newer than 5.1: {each}" for each in tree["new"]]
    found += [
        f"not in .NET Framework: {each}"
        for each in tree["statics"]
        if f"[{each.replace('::', ']::')}" not in FRAMEWORK
    ]
    found += [f"may be $null: {each}" for each in tree["casts"]]
    for call in tree["commands"]:
        name, where = call["name"].lower(), f"{call['name']} (line {call['line']})"
        if name in ASKING:
            found.append(f"asks: {where}")
        if name in TEXT_OF_CODE or name in NEWER_EDITIONS:
            found.append(f"not to be used: {where}")
        if call["merged"] and call["first"] != "$ErrorActionPreference = 'Continue'":
            found.append(f"stderr merged under Stop: {where}")
        if not name or name in own or re.fullmatch(r"[a-z]+\.exe", name):
            continue
        command = known.get(name)
        if command is None:
            found.append(f"not in 5.1: {where}")
            continue
        given = {each.lower() for each in call["parameters"]}
        found += [
            f"no parameter -{each}: {where}"
            for each in call["parameters"]
            if each.lower() not in command.parameters | COMMON
        ]
        unasked = "confirm" not in given or "confirm:$false" in map(str.lower, call["switches"])
        if not unasked or (name in FORCED and "force" not in given):
            found.append(f"may ask: {where}")
        if name == "start-process" and "wait" in given:
            found.append(f"waits for grandchildren: {where}")
        if not call["piped"] and not call["splatted"] and not _bound(command, call["elements"]):
            found.append(f"a mandatory parameter is missing: {where}")
    return found


def _bound(command: Command, elements: list[str]) -> bool:
    """True if a set has all its mandatory parameters, by name or by place, or if a name is unknown to all sets."""
    switches = {one.name.lower() for each in command.sets for one in each if one.kind == "switch"}
    given: set[str] = set()
    places = 0
    taken = False
    for element in elements:
        if element:
            name = element.lstrip("-").rstrip(":").lower()
            given.add(name)
            taken = not element.endswith(":") and name not in switches
        else:
            places += not taken
            taken = False
    given -= COMMON
    if not given <= command.parameters:
        return True
    for each in command.sets:
        lacking = [one for one in each if one.mandatory and one.name.lower() not in given]
        if (
            given <= {one.name.lower() for one in each}
            and all(one.positional for one in lacking)
            and len(lacking) <= places
        ):
            return True
    return False
