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
    $asked = ConvertFrom-Json $line
    $shell = [PowerShell]::Create().AddScript($asked.script)
    $said, $printed = '', @()
    try { $printed = @($shell.Invoke(@($asked.given)) | ForEach-Object { "$_" }) }
    catch { $said = [string]$_.Exception.InnerException.Message }
    [Console]::SetOut($console)
    $printed += @($written.ToString().Split("`n") | ForEach-Object { $_.TrimEnd("`r") } | Where-Object { $_ })
    $shell.Dispose()
    $console.WriteLine((ConvertTo-Json -Compress @{ failed = [bool]$said; printed = $printed; said = $said }))
}
"""
"""Runs each script of its stdin, one JSON object a line, in a runspace of its own: a start takes nearly a second. What it is given is
its ``$input``."""


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


class ManyScripts:
    """One real PowerShell that runs scripts one after the other, each in a runspace of its own."""

    def __init__(self, powershell: Path) -> None:
        many = powershell.with_name("many.ps1")
        many.write_text(MANY)
        self._said = powershell.with_name("many.err")
        words = [str(powershell), "-NoLogo", "-NoProfile", "-NonInteractive", "-File", str(many)]
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
            )

    def ask(self, *lines: str, before: str = "", stdin: bytes = b"") -> list[Replied]:
        """Run the scripts of command lines, each after ``before``, with the lines that a process would read from ``stdin``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        replies = []
        for line in lines:
            script = before + base64.b64decode(line.rpartition(" ")[2]).decode("utf-16-le")
            asked = {"script": script, "given": stdin.decode().splitlines()}
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
            assert answer, self._said.read_text()
            replies.append(Replied(**json.loads(answer)))
        return replies

    def close(self) -> None:
        """End it."""
        self._process.communicate()
        assert self._process.returncode == 0, self._said.read_text()
