# SPDX-License-Identifier: MIT
"""Doubles of what only Windows has, with the parameters of the real commands, and of the programs that the scripts start.

A double records its call, fails if it is the one that is to fail, and else does what ``model.ps1`` has for its name.
"""

from __future__ import annotations

from pathlib import Path

from powershell.windows51 import Command, commands

MODEL = Path(__file__).with_name("model.ps1")

REAL = {"Microsoft.PowerShell.Core", "Microsoft.PowerShell.Utility"}
"""Modules whose commands do on Linux what they do on Windows."""

REPLACED = {"New-Object", "Start-Sleep"}
"""Commands of them that have a double all the same: a serial port, and time."""

UNCOUNTED = {"New-Object", "Start-Sleep", "Join-Path", "Split-Path"}
"""Doubles that nothing outside PowerShell can make fail. A serial port counts when it is opened."""

TYPES = {
    "string": "string", "string[]": "string[]", "switch": "switch", "int": "int", "bool": "bool", "uint32": "uint32",
    "Object": "object", "Object[]": "object[]", "datetime": "datetime", "IDictionary": "Collections.IDictionary", "long": "long",
    "uint32[]": "uint32[]", "psobject": "psobject", "scriptblock": "scriptblock", "byte": "byte", "uri": "uri",
    "version": "version",
}  # fmt: skip

ENUMERATIONS = {
    # .NET: System.ServiceProcess.ServiceStartMode
    "ServiceStartMode": "Automatic Boot Disabled Manual System",
    # ML: Set-NetConnectionProfile, -NetworkCategory
    "NetworkCategory": "Public Private",
    # ML: New-NetFirewallRule
    "Direction": "Inbound Outbound",
    "Action": "NotConfigured Allow Block",
    "Profile": "Any Domain Private Public NotApplicable",
    # ML: Test-Path, -PathType
    "TestPathType": "Any Container Leaf",
}
"""Values of a parameter's type that exists on Windows alone."""

PROGRAM = r"""#!/bin/sh
# Records its call, and fails if it is the one that is to fail.
cd "$HPN_WORLD" || exit 99
name=${0##*/}
number=0
if [ -f count ]; then read -r number < count; fi
number=$((number + 1))
echo "$number" > count
printf '!%s\037%s' "$number" "$name" >> calls
for word in "$@"; do printf '\037%s' "$word" >> calls; done
echo >> calls
fails=0
if [ -f fail ]; then read -r fails < fail; fi
if [ "$number" = "$fails" ]; then
    echo "$name: call $number is refused"
    echo "$name: said on standard error" >&2
    exit 87
fi
if [ -f "programs/$name" ]; then . "./programs/$name"; fi
echo "$name: done"
"""
"""A program's double; what it does when it works is in the world's ``programs``."""


def needs_double(command: Command) -> bool:
    """True if a command is replaced."""
    return command.module not in REAL or command.name in REPLACED


def _parameter(command: Command, name: str) -> str:
    attributes = []
    kind = ""
    for number, given in enumerate(command.sets):
        places = [each.name for each in given if each.positional]
        for each in given:
            if each.name != name:
                continue
            kind = each.kind
            words = [f"ParameterSetName='set{number}'"]
            if each.mandatory:
                words.append("Mandatory=$true")
            if each.positional:
                words.append(f"Position={places.index(name)}")
            # The data does not say what the pipeline binds: objects by these names, in all commands that the scripts pipe to.
            if name in ("InputObject", "Path"):
                words.append("ValueFromPipeline=$true")
            attributes.append(f"[Parameter({', '.join(words)})]")
    if kind in ENUMERATIONS:
        values = ", ".join(f"'{each}'" for each in ENUMERATIONS[kind].split())
        attributes.append(f"[ValidateSet({values})]")
        kind = "string"
    return f"    {''.join(attributes)}[{TYPES.get(kind, 'object')}]${name}"


def double(command: Command) -> str:
    """Return the function that replaces a command."""
    names = list(dict.fromkeys(each.name for given in command.sets for each in given))
    parameters = ",\n".join(_parameter(command, name) for name in names)
    entered = "''" if command.name in UNCOUNTED else f"Enter-Double '{command.name}' $PSBoundParameters"
    return f"""
function global:{command.name} {{
    [CmdletBinding(DefaultParameterSetName='set0')]
    param(
{parameters}
    )
    begin {{ $piped = [Collections.ArrayList]@() }}
    process {{ if ($MyInvocation.ExpectingInput) {{ [void]$piped.Add($_) }} }}
    end {{
        if ($MyInvocation.ExpectingInput -and $piped.Count -eq 0) {{ return }}
        $failed = {entered}
        if ($failed) {{
            $wanted = if ($PSBoundParameters.ContainsKey('ErrorAction')) {{ $PSBoundParameters['ErrorAction'] }}
                elseif ('{command.kind}' -eq 'Function') {{ $global:ErrorActionPreference }}
                else {{ $PSCmdlet.SessionState.PSVariable.GetValue('ErrorActionPreference') }}
            Write-Error -Message $failed -ErrorId 'Double' -ErrorAction $wanted
            return
        }}
        Invoke-Model '{command.name}' $PSBoundParameters $piped
    }}
}}
"""


def doubles(names: set[str]) -> str:
    """Return the model and a double for each command of ``names`` that needs one. Raises KeyError for an unknown command."""
    known = commands()
    made = [known[name.lower()] for name in sorted(names)]
    return MODEL.read_text(encoding="utf-8") + "".join(double(each) for each in made if needs_double(each))
