# SPDX-License-Identifier: MIT
"""Trace message format files (.tmf): the texts and arguments of the messages that WPP leaves out of a log.

WPP puts a message's text into the program's symbols and only its number into the log; Tracepdb writes what it finds
in a PDB into a file named after the message GUID. A file has one or more sections::

    9b93a332-c452-3e71-64f7-55130c7de2e4 module // SRC=source.cpp MJ= MN=
    #typev source_cpp36 10 "%0id=%10!d! status=0x%11!x!" //   LEVEL=ERROR FUNC=main
    {
    id, ItemLong -- 10
    (unsigned)status, ItemLong -- 11
    }

``source_cpp36`` is the source file and the line. Arguments stand in the log one after another in the order of their
numbers, which begin with 10.

Sources: WDK:devtest/trace-message-format-file.md, WDK:devtest/tracepdb-commands.md; the arguments' types are those
of the WDK's defaultwpp.ini (harness.capture.etl.wpp).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from harness.capture.etl import guid
from harness.errors import BadDocument, UsageError

LARGEST = 32 << 20
"""Bytes of the largest file that is read; those of Windows' own drivers stay below 1 MB."""

MOST_FILES = 100_000
"""Files of one directory that are looked at."""

MOST_ARGUMENTS = 128
"""Arguments of one message; WPP itself stops far below."""

FIRST_ARGUMENT = 10
"""Number of the first argument; lower ones stand for parts of the header."""

_SECTION = re.compile(
    r"\s*([0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})\s+(\S+)\s*(?://\s*(?:SRC=(.*?))?(?:\s+MJ=.*)?)?\s*"
)
_MESSAGE = re.compile(r'\s*#typev\s+(\S+)\s+(\d{1,6})\s+"(.*?)"\s*(?://(.*))?')
_ARGUMENT = re.compile(r"\s*(.*),\s*(Item\w+)\s*(?:\((.*)\))?\s*--\s*(\d{1,4})\s*")
_NOTE = re.compile(r"\b(LEVEL|FLAGS|FUNC)=(\S+)")


class Argument(msgspec.Struct, frozen=True):
    """One argument: its number, the source's expression for it, its type, the names of its values."""

    number: int
    expression: str
    kind: str
    names: tuple[str, ...] = ()


class MessageFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a program. ``place`` is the source file and the line as the file names them: ``source_cpp36``."""

    number: int
    place: str
    text: str
    level: str = ""
    flags: str = ""
    function: str = ""
    arguments: tuple[Argument, ...] = ()


class Module(msgspec.Struct, frozen=True):
    """The messages that one GUID stands for, by number; the program's name and its source file."""

    guid: bytes
    name: str
    source: str
    messages: dict[int, MessageFormat]


def parse(raw: bytes, name: str) -> list[Module]:
    """Read the sections of a file; ``name`` stands in messages. Raises BadDocument with file:line."""
    modules: list[Module] = []
    lines = iter(enumerate(_decoded(raw).splitlines(), 1))
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("//"):
            continue
        section = _SECTION.fullmatch(line)
        if section:
            modules.append(Module(guid.parse(section[1]), section[2], (section[3] or "").strip(), {}))
            continue
        found = _MESSAGE.fullmatch(line)
        if found is None:
            if line.lstrip().startswith("#"):
                _skip(lines, line)
                continue
            raise BadDocument(
                f"{name}:{number}: neither a message GUID nor a message: {line.strip()[:60]!r}",
                hint="Give .tmf files as Tracepdb writes them: tracepdb -f DRIVER.pdb -p DIR.",
            )
        if not modules:
            raise BadDocument(f"{name}:{number}: a message stands before any message GUID")
        notes = dict(_NOTE.findall(found[4] or ""))
        modules[-1].messages[int(found[2])] = MessageFormat(
            number=int(found[2]),
            place=found[1],
            text=found[3],
            level=notes.get("LEVEL", ""),
            flags=notes.get("FLAGS", ""),
            function=notes.get("FUNC", ""),
            arguments=_arguments(lines, name),
        )
    return modules


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


_Lines = Iterator[tuple[int, str]]


def _skip(lines: _Lines, line: str) -> None:
    """Skip the body of a directive other than a message, if it has one."""
    if "{" in line and "}" not in line:
        for _number, inside in lines:
            if "}" in inside:
                return


def _arguments(lines: _Lines, name: str) -> tuple[Argument, ...]:
    """Read the block behind a message. Raises BadDocument when it is none or never ends."""
    found: list[Argument] = []
    number = 0
    opened = False
    for number, line in lines:
        text = line.strip()
        if text == "{" and not opened:
            opened = True
        elif text == "}" and opened:
            return tuple(sorted(found, key=lambda one: one.number))
        elif text and opened:
            match = _ARGUMENT.fullmatch(line)
            if match is None or len(found) >= MOST_ARGUMENTS:
                raise BadDocument(f"{name}:{number}: not an argument of a message: {text[:60]!r}")
            names = tuple(one.strip() for one in match[3].split(",")) if match[3] else ()
            found.append(Argument(int(match[4]), match[1].strip(), match[2], names))
        elif text:
            raise BadDocument(f"{name}:{number}: expected '{{' behind a message, not {text[:60]!r}")
    raise BadDocument(f"{name}:{number}: the file ends within a message")


class FormatFiles:
    """The format files of some directories: those named after a GUID are read when that GUID is asked for."""

    def __init__(self, paths: list[Path]) -> None:
        self._files: dict[bytes, Path] = {}
        self._modules: dict[bytes, Module] = {}
        for path in paths:
            self._add(path)

    def __bool__(self) -> bool:
        return bool(self._files or self._modules)

    def _add(self, path: Path) -> None:
        """Note the files below ``path``. Raises UsageError when there is none."""
        if path.is_dir():
            found = sorted(one for one in path.iterdir() if one.suffix.lower() == ".tmf")[:MOST_FILES]
            if not found:
                raise UsageError(
                    f"{path}: there is no .tmf file in this directory",
                    hint="Extract them from the driver's symbols: tracepdb -f DRIVER.pdb -p DIR.",
                )
        else:
            found = [path]
        for one in found:
            try:
                self._files[guid.parse(one.stem)] = one
            except ValueError:
                self._load(one)

    def _load(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                raw = file.read(LARGEST + 1)
        except OSError as error:
            raise UsageError(
                f"{path}: {error.strerror}", hint="Name a directory of .tmf files, or one such file."
            ) from error
        if len(raw) > LARGEST:
            raise BadDocument(f"{path}: larger than the {LARGEST >> 20} MB that a format file may have")
        for module in parse(raw, str(path)):
            known = self._modules.setdefault(module.guid, module)
            known.messages.update(module.messages)

    def find(self, message_guid: bytes) -> Module | None:
        """Return the messages of a GUID, None when no file has them. Raises BadDocument for a broken file."""
        path = self._files.pop(message_guid, None)
        if path is not None:
            self._load(path)
        return self._modules.get(message_guid)
