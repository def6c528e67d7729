# SPDX-License-Identifier: MIT
"""Every script of the project: the files of the templates, and what Python code sends, with a value for each parameter."""

from __future__ import annotations

import base64
import functools
import re
from pathlib import Path
from typing import Any

from powershell.windows51 import commands

from harness.guest.windows import script
from harness.guest.windows.shell import ANSWERS
from harness.template.template import templates_directory
from harness.transport.powershell import BODIES, Windows

VALUES: dict[str, Any] = {
    "string": "it's",
    "int": 3,
    "long": 1 << 40,
    "bool": True,
    "string[]": ["/set a", "b"],
}
VERB_NOUN = re.compile(r"\b[A-Z][A-Za-z]+-[A-Z]\w+")
PROGRAM = re.compile(r"\b[a-z]+\.exe\b")


def files() -> list[Path]:
    """The files of scripts, of templates and of the harness."""
    folders = (templates_directory(), Path(script.__file__).with_name("scripts"))
    return sorted(
        path for folder in folders for path in folder.rglob("*.ps[1m]*") if path.suffix in (".ps1", ".psm1")
    )


def decoded(line: str) -> str:
    """What ``powershell.exe`` makes of a command line of ours: the text behind ``-EncodedCommand``."""
    return base64.b64decode(line.rpartition(" ")[2]).decode("utf-16-le")


def operations() -> dict[str, str]:
    """The operations of the transports."""
    ask, path = Windows(), "C:\\it's"
    return {
        "size": ask.operation("size", path=path),
        "digest": ask.operation("digest", path=path),
        "settle": ask.operation("settle", part=path, target=path, sha256="0" * 64),
        "remove": ask.operation("remove", path=path),
        "listing": ask.operation("listing", directory=path),
        "prepare": ask.operation("prepare", directory=path),
        "runner": ask.operation("runner", directory=path),
        "launch": ask.operation("launch", directory=path),
        "state": ask.operation("state", directory=path),
        "read": ask.operation("read", path=path, offset="0", length="9"),
        "write": ask.operation("write", path=path, offset="0"),
    }


def sent() -> dict[str, str]:
    """Every text that is sent to a guest, by what sends it."""
    assert set(BODIES) == set(operations())
    made = {f"operation {name}": decoded(Windows().invoke(text)) for name, text in operations().items()}
    made["command line of the guest agent"] = decoded(" ".join(Windows().arguments('"C:\\a b" "c"')))
    for name in script.names():
        if name == script.ONCE:
            continue
        values = {each: VALUES[kind] for each, kind in script.load(name).parameters.items()}
        made[f"script {name}"] = decoded(Windows().invoke(script.compose(name, **values)))
        made[f"script {name}, once"] = decoded(
            Windows().invoke(
                script.compose_once(name, directory=ANSWERS, command="0123456789abcdef", **values)
            )
        )
    return made


def everything() -> dict[str, str]:
    """Files and texts that are sent, by a name for people."""
    return {path.name: path.read_text(encoding="utf-8") for path in files()} | sent()


def used() -> set[str]:
    """The commands of Windows PowerShell that any script names."""
    known = commands()
    named = {word for text in everything().values() for word in VERB_NOUN.findall(text)}
    return {known[name.lower()].name for name in named if name.lower() in known}


@functools.cache
def programs() -> set[str]:
    """The programs that any script names, and those that its values name."""
    return {word for text in everything().values() for word in PROGRAM.findall(text)} | {
        "hpnctl.exe",
        "sshd.exe",
    }
