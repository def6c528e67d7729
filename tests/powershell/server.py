# SPDX-License-Identifier: MIT
"""One real PowerShell that runs scripts with doubles, each in a small Windows of its own, and tells what they did."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from powershell.doubles import doubles
from transport.real_powershell import program

TABLES = ("Registry", "Returned", "Cim")
PATIENCE = 120


class Call(NamedTuple):
    """One call of a double: its number, its name, its parameters or words, and where it was made (``file:line``)."""

    number: int
    name: str
    bound: dict[str, Any]
    words: list[str]
    frames: list[str]


class Shown(NamedTuple):
    """What one script did: whether it ended with an error and which, its output, and what its error stream held."""

    failed: bool
    said: str
    trace: str
    printed: list[str]
    out: str
    err: str
    errors: list[str]


class World:
    """A folder that stands for a Windows: its files by their paths, its programs, and what its commands return.

    Scripts reach the folder by ``link``, which all worlds share: PowerShell compiles a file once for its path and content.
    All programs are one file, ``double``: making a file takes much longer than giving it one more name.
    """

    def __init__(self, folder: Path, link: Path, double: Path, programs: set[str]) -> None:
        self.folder = folder
        self.link = link
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        (folder / "programs").mkdir()
        for name in programs:
            (self.bin / name).hardlink_to(double)
        self.registry: dict[str, dict[str, Any]] = {}
        self.returned: dict[str, list[Any]] = {}
        self.cim: dict[str, list[dict[str, Any]]] = {}

    def program(self, name: str, text: str) -> None:
        """Say what a program does when it works: lines of ``sh``."""
        (self.folder / "programs" / name).write_text(text + "\n")

    def file(self, path: str, content: bytes = b"") -> None:
        """Make a file by its path in Windows."""
        (self.folder / path).write_bytes(content)

    def fail(self, number: int) -> None:
        """Have one call of a double fail, and count from one again."""
        (self.folder / "fail").write_text(f"{number}\n")
        for name in ("count", "calls", "com1"):
            (self.folder / name).unlink(missing_ok=True)

    @property
    def calls(self) -> list[Call]:
        """The calls of doubles, in order."""
        path = self.folder / "calls"
        found = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            if line.startswith("!"):
                number, name, *words = line[1:].split("\x1f")
                found.append(Call(int(number), name, {}, words, []))
            else:
                told = json.loads(line)
                found.append(Call(told["number"], told["name"], told["bound"], [], told["frames"]))
        return found

    def lines(self, name: str) -> list[str]:
        """The lines of a file of the folder."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def before(self) -> str:
        """Return the script that fills the model."""
        tables = zip(TABLES, (self.registry, self.returned, self.cim), strict=True)
        made = [
            f"$global:{name} = ConvertFrom-Json -AsHashtable @'\n{json.dumps(value)}\n'@"
            for name, value in tables
        ]
        made += [
            "foreach ($one in @($global:Cim.Keys)) { $global:Cim[$one] = @($global:Cim[$one] | ForEach-Object { [pscustomobject]$_ }) }",
            "foreach ($one in @($global:Returned.Keys)) { $global:Returned[$one] = @($global:Returned[$one] | ForEach-Object { if ($_ -is [Collections.IDictionary]) { [pscustomobject]$_ } else { $_ } }) }",
        ]
        return "\n".join(made)


class Server:
    """The PowerShell. ``names`` are the commands that the scripts use."""

    def __init__(self, folder: Path, names: set[str]) -> None:
        folder.mkdir()
        text = doubles(names)
        file = folder / "doubles.ps1"
        file.write_text(text, encoding="utf-8")
        model = text.partition("function ")[0]
        self._fresh = model
        words = [
            "-NoLogo",
            "-NoProfile",
            "-NonInteractive",
            "-File",
            str(Path(__file__).with_name("server.ps1")),
            str(file),
        ]
        self._process = subprocess.Popen(
            [str(program(folder)), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("wb"),
            text=True,
        )
        self._stderr = folder / "stderr"

    def run(self, world: World, *scripts: str, **environment: str) -> list[Shown]:
        """Run scripts one after the other in one runspace, as powershell.exe runs the text of a command."""
        world.link.unlink(missing_ok=True)
        world.link.symlink_to(world.folder, target_is_directory=True)
        job = {
            "world": str(world.link),
            "environment": {
                "HPN_WORLD": str(world.link),
                "PATH": f"{world.link}/bin:/usr/bin:/bin",
                "SystemRoot": "C:\\Windows",
                "SystemDrive": "C:",
                "ProgramData": "C:\\ProgramData",
                "ProgramFiles": "C:\\Program Files",
                "TEMP": "C:\\Temp",
                "COMPUTERNAME": "HPN-GUEST",
                **environment,
            },
            "before": self._fresh + world.before(),
            "scripts": list(scripts),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._stderr.read_text()
        reset, filled, *shown = [Shown(**each) for each in json.loads(line)]
        assert not reset.failed, reset
        assert not filled.failed, filled
        return shown

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
