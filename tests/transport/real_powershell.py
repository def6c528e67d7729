# SPDX-License-Identifier: MIT
"""A real PowerShell 7 on Linux in the place of powershell.exe, asked as the harness asks Windows' own."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import NamedTuple

from part_markers import POWERSHELL

MANY = r"""
$ErrorActionPreference = 'Stop'
$console = [Console]::Out
while ($null -ne ($line = [Console]::In.ReadLine())) {
    $written = New-Object IO.StringWriter
    [Console]::SetOut($written)
    $shell = [PowerShell]::Create().AddScript([string](ConvertFrom-Json $line))
    $said, $printed = '', @()
    try { $printed = @($shell.Invoke() | ForEach-Object { "$_" }) }
    catch { $said = [string]$_.Exception.InnerException.Message }
    [Console]::SetOut($console)
    $printed += @($written.ToString().Split("`n") | ForEach-Object { $_.TrimEnd("`r") } | Where-Object { $_ })
    $shell.Dispose()
    $console.WriteLine((ConvertTo-Json -Compress @{ failed = [bool]$said; printed = $printed; said = $said }))
}
"""
"""Runs each script of its stdin, one JSON string a line, in a runspace of its own: a start takes nearly a second."""


class Replied(NamedTuple):
    """Whether a script failed, the lines that it printed, its error, and its exit code if it had a process of its own."""

    failed: bool
    printed: list[str]
    said: str
    code: int = 0


def program(folder: Path) -> Path:
    """Make a ``powershell.exe`` in ``folder`` that starts the real one with ``folder`` as its home, and return it."""
    made = folder / "powershell.exe"
    home = shlex.quote(str(folder))
    made.write_text(
        f"#!/bin/sh\nexport HOME={home} XDG_CACHE_HOME={home} XDG_CONFIG_HOME={home} PATH={home}:$PATH\n"
        "export DOTNET_TieredPGO=0 DOTNET_gcConcurrent=0\n"
        f'exec {shlex.quote(POWERSHELL.needs[0].found())} "$@"\n'
    )
    made.chmod(0o755)
    return made


def ask(powershell: list[str], line: str, stdin: bytes = b"") -> Replied:
    """Run a command line of the harness with ``powershell`` for its first word, and feed it ``stdin``."""
    words = [*powershell, *shlex.split(line)[1:]]
    ended = subprocess.run(words, input=stdin, capture_output=True, timeout=120, check=False)
    said = os.fsdecode(ended.stderr)
    return Replied(ended.returncode != 0, ended.stdout.decode().splitlines(), said, ended.returncode)


def ask_many(powershell: Path, lines: list[str], *, before: str = "") -> list[Replied]:
    """Run the scripts of command lines, each after ``before``, one after the other in one real PowerShell."""
    scripts = [before + base64.b64decode(line.rpartition(" ")[2]).decode("utf-16-le") for line in lines]
    many = powershell.with_name("many.ps1")
    many.write_text(MANY)
    words = [str(powershell), "-NoLogo", "-NoProfile", "-NonInteractive", "-File", str(many)]
    stdin = "".join(json.dumps(each) + "\n" for each in scripts)
    ended = subprocess.run(words, input=stdin, capture_output=True, timeout=120, check=True, text=True)
    return [Replied(**json.loads(line)) for line in ended.stdout.splitlines()]
