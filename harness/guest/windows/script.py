# SPDX-License-Identifier: MIT
"""The scripts that run in Windows: files of this package, whose parameters are typed and never pasted into text.

A script begins with a ``param`` block, one parameter a line: ``[string]$Name,``. Its values reach it as PowerShell
literals in which nothing is expanded, and PowerShell binds them to the declared types. A script prints its answer as
one line of JSON on its standard output.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import msgspec

from harness.transport.powershell import MARK, quoted

ONCE = "once"
"""The script that runs another one at most once."""

_PARAM = re.compile(r"\Aparam\(\n(.*?)\)\n", re.DOTALL)
_PARAMETER = re.compile(r"    \[(string|int|long|bool|string\[\]|scriptblock)\]\$([A-Z][A-Za-z]*)")
_WORD = re.compile(r"[0-9a-z]{1,64}")


def _switch(value: Any) -> str:
    return "$true" if value else "$false"


def _strings(value: Any) -> str:
    return "@(" + ", ".join(quoted(_string(each)) for each in value) + ")"


def _string(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError(f"{value!r} cannot be a script's text")
    return value


_LITERALS: dict[str, tuple[type, Callable[[Any], str]]] = {
    "string": (str, lambda value: quoted(_string(value))),
    "int": (int, lambda value: str(int(value))),
    "long": (int, lambda value: str(int(value))),
    "bool": (bool, _switch),
    "string[]": (list, _strings),
}


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One script: its parameters' types by name, in order, and its text from ``param`` on, without comments."""

    name: str
    parameters: dict[str, str]
    text: str

    def call(self, values: Mapping[str, Any]) -> str:
        """Return an expression that runs the script with ``values``.

        Raises TypeError for a parameter that is missing, unknown or of another type: an error of the caller.
        """
        if set(values) != set(self.parameters):
            raise TypeError(f"script {self.name} takes {sorted(self.parameters)}, given {sorted(values)}")
        words = []
        for name, kind in self.parameters.items():
            wanted, literal = _LITERALS[kind]
            value = values[name]
            if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is int):
                raise TypeError(f"script {self.name}: {name}={value!r} is not a {kind}")
            words.append(f"-{name} {literal(value)}")
        return " ".join(["& {\n" + self.text + "}", *words])


@functools.cache
def load(name: str) -> Script:
    """Read a script of this package."""
    source = resources.files(__package__).joinpath("scripts", f"{name}.ps1").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    text = "\n".join(lines) + "\n"
    head = _PARAM.match(text)
    if head is None:
        raise ValueError(f"script {name} does not begin with a param block")
    declared = [_PARAMETER.fullmatch(line.rstrip(",")) for line in head[1].splitlines()]
    if not all(declared):
        raise ValueError(f"script {name} declares a parameter in another form")
    return Script(name=name, parameters={found[2]: found[1] for found in declared if found}, text=text)


def names() -> list[str]:
    """Return the names of all scripts."""
    folder = resources.files(__package__).joinpath("scripts")
    return sorted(each.name.removesuffix(".ps1") for each in folder.iterdir() if each.name.endswith(".ps1"))


def compose(name: str, **values: Any) -> str:
    """Return the text of a script with its values, which may run any number of times."""
    return f"{MARK}windows.{name}\n{load(name).call(values)}\n"


def compose_once(name: str, *, directory: str, command: str, **values: Any) -> str:
    """Return the text of a script that does its work at most once for one ``command``, however often it is run.

    A later run gets the first one's answer, from a file in the guest's ``directory``. So the script may be sent again when a
    connection broke and it is not known whether it had arrived.
    """
    if not _WORD.fullmatch(command):
        raise TypeError(f"{command!r} is not a command's id")
    once = load(ONCE)
    words = f"-Directory {quoted(_string(directory))} -Command {quoted(command)}"
    work = "{ " + load(name).call(values) + " }"
    return f"{MARK}windows.{name}\n& {{\n{once.text}}} {words} -Work {work}\n"
