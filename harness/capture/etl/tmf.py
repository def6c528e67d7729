# SPDX-License-Identifier: MIT
"""Trace message format files (.tmf): the texts and arguments of the messages that WPP leaves out of a log.

WPP puts a message's text into the program's symbols and only its number into the log. Tracepdb extracts the text
from a PDB into a file named after the message GUID. A file has one or more sections::

    9b93a332-c452-3e71-64f7-55130c7de2e4 module // SRC=source.cpp MJ= MN=
    #typev source_cpp36 10 "%0id=%10!d! status=0x%11!x!" //   LEVEL=ERROR FUNC=main
    {
    id, ItemLong -- 10
    (unsigned)status, ItemLong -- 11
    }

``source_cpp36`` is the source file and the line. In the log, arguments follow one another in the order of their
numbers, which begin at 10.

Sources: WDK:devtest/trace-message-format-file.md, WDK:devtest/tracepdb-commands.md; the arguments' types are those
of the WDK's defaultwpp.ini (harness.capture.etl.wpp).
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from harness.capture.etl import guid
from harness.capture.etl.layout import Layout
from harness.errors import BadDocument, UsageError, system_errors

LARGEST = 32 << 20
"""Bytes of the largest file that is read; those of Windows' own drivers stay below 1 MB."""

MOST_FILES = 100_000
"""Files of one directory that are examined."""

MOST_NAMES = 65_536
"""Names of the values of one argument."""

_SECTION = re.compile(
    r"\s*\{?([0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12})\}?(?:\s+([^\s/]+))?"
    r"\s*(?://\s*(?:SRC=(.*?))?(?:\s+MJ=.*)?)?\s*"
)
_MESSAGE = re.compile(r'\s*#typev\s+(\S+)\s+(\d{1,6})\s+"(.*?)"\s*(?://(.*))?')
_ARGUMENT = re.compile(r"\s*(.*),\s*(Item\w+)\s*(?:\((.*)\))?\s*(?:--|//)\s*(\d{1,4})\s*")
_NOTE = re.compile(r"\b(LEVEL|FLAGS|FUNC)=(\S+)")


_ENUMERATED = frozenset({"ItemEnum", "ItemFlagsEnum"})


class Argument(msgspec.Struct, frozen=True):
    """One argument: its number, the source's expression for it, its type, and the brackets after the type.

    ``labels`` are the names of values (of bits for sets), from the brackets or from the enumeration named there.
    """

    number: int
    expression: str
    kind: str
    names: tuple[str, ...] = ()
    labels: dict[int, str] = {}


class MessageFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a program. ``place`` is the source file and the line as the file has them: ``source_cpp36``."""

    number: int
    place: str
    text: str
    level: str = ""
    flags: str = ""
    function: str = ""
    arguments: tuple[Argument, ...] = ()


class Module(msgspec.Struct, frozen=True):
    """The messages of one GUID, by number; the program's name and its source file.

    ``layouts`` are those of the messages decoded so far (harness.capture.etl.wpp).
    """

    guid: bytes
    name: str
    source: str
    messages: dict[int, MessageFormat]
    layouts: dict[int, Layout] = {}


def parse(raw: bytes, name: str) -> list[Module]:
    """Read the sections of a file; messages call it ``name``. Raises BadDocument with file:line."""
    return _Parser(_decoded(raw).splitlines(), name).modules()


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


class _Parser:
    """Reads a file line by line. A block in braces may follow a directive, on its own line or on lines of its own."""

    def __init__(self, lines: list[str], name: str) -> None:
        self.lines = lines
        self.name = name
        self.at = 0
        self.enumerations: dict[str, dict[int, str]] = {}

    def bad(self, number: int, what: str, hint: str = "") -> BadDocument:
        return BadDocument(f"{self.name}:{number}: {what}", hint=hint)

    def modules(self) -> list[Module]:
        modules: list[Module] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if not line.strip() or line.lstrip().startswith("//"):
                continue
            section = _SECTION.fullmatch(line)
            message = _MESSAGE.fullmatch(line)
            if section:
                source = (section[3] or "").strip()
                modules.append(Module(guid.parse(section[1]), section[2] or "", source, {}))
            elif message:
                if not modules:
                    raise self.bad(self.at, "a message stands before any message GUID")
                found = self.message(message)
                modules[-1].messages[found.number] = found
            elif line.lstrip().startswith("#"):
                self.directive(line)
            else:
                raise self.bad(
                    self.at,
                    f"neither a message GUID nor a message: {line.strip()[:60]!r}",
                    "Give .tmf files as Tracepdb writes them: tracepdb -f DRIVER.pdb -p DIR.",
                )
        return modules

    def block(self) -> list[tuple[int, str]]:
        """Return the lines of the following block in braces, with their numbers; empty if no brace follows."""
        begin = self.at
        while begin < len(self.lines) and not self.lines[begin].strip():
            begin += 1
        if begin >= len(self.lines) or self.lines[begin].strip() != "{":
            return []
        for end in range(begin + 1, len(self.lines)):
            # The text after the brace belongs to the annotation in the program's symbols.
            if self.lines[end].lstrip().startswith("}"):
                self.at = end + 1
                inside = enumerate(self.lines[begin + 1 : end], begin + 2)
                return [(number, line) for number, line in inside if line.strip()]
        raise self.bad(len(self.lines), "the file ends within a message")

    def message(self, found: re.Match[str]) -> MessageFormat:
        notes = dict(_NOTE.findall(found[4] or ""))
        return MessageFormat(
            number=int(found[2]),
            place=found[1],
            text=found[3],
            level=notes.get("LEVEL", ""),
            flags=notes.get("FLAGS", ""),
            function=notes.get("FUNC", ""),
            arguments=tuple(
                sorted((self.argument(*one) for one in self.block()), key=lambda one: one.number)
            ),
        )

    def argument(self, number: int, line: str) -> Argument:
        found = _ARGUMENT.fullmatch(line)
        if found is None:
            raise self.bad(number, f"not an argument of a message: {line.strip()[:60]!r}")
        names = tuple(one.strip() for one in found[3].split(",")) if found[3] else ()
        expression, kind = found[1].strip(), found[2]
        if kind in _ENUMERATED and names:
            return Argument(int(found[4]), expression, kind, (), self.enumerations.get(names[0], {}))
        labels = dict(enumerate(names[:MOST_NAMES]))
        if kind.startswith("ItemSet"):
            labels = {1 << place: one for place, one in enumerate(names[:32])}
        return Argument(int(found[4]), expression, kind, names, labels)

    def directive(self, line: str) -> None:
        """Read an enumeration, ``#enumv NAME`` and lines ``name,0x1`` in braces; skip any other directive."""
        words = line.split()
        body = [] if "{" in line else self.block()
        if "{" in line and "}" not in line:
            while self.at < len(self.lines) and "}" not in self.lines[self.at]:
                self.at += 1
            self.at += 1
        if words[0] == "#enumv" and len(words) > 1:
            named: dict[int, str] = {}
            for _number, one in body[:MOST_NAMES]:
                name, _, value = one.strip().rstrip(",").rpartition(",")
                try:
                    named[int(value, 0)] = name.strip()
                except ValueError:
                    continue
            self.enumerations[words[1]] = named


class FormatFiles:
    """The format files of some directories. Files named after a GUID are read when that GUID is needed."""

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
        with (
            system_errors(
                str(path), hint="Name a directory of .tmf files, or one such file.", kind=UsageError
            ),
            path.open("rb") as file,
        ):
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise BadDocument(f"{path}: larger than the {LARGEST >> 20} MB that a format file may have")
        modules = parse(raw, str(path))
        if not modules:
            raise BadDocument(
                f"{path}: there is no message GUID in this file",
                hint="Give .tmf files as Tracepdb writes them: tracepdb -f DRIVER.pdb -p DIR.",
            )
        for module in modules:
            known = self._modules.setdefault(module.guid, module)
            known.messages.update(module.messages)

    def find(self, message_guid: bytes) -> Module | None:
        """Return the messages of a GUID, or None when no file has them. Raises BadDocument for a broken file."""
        path = self._files.pop(message_guid, None)
        if path is not None:
            self._load(path)
        return self._modules.get(message_guid)
