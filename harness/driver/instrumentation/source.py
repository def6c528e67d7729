# SPDX-License-Identifier: MIT
"""The source of a compilation: XML elements with their line numbers, and the errors that name them.

The XML comes from users. Its size, its depth and the number of its elements are bounded, and a DOCTYPE is refused. Without
one the only entities are XML's own five, and nothing outside the file is read.
"""

from __future__ import annotations

import stat
from collections import ChainMap
from collections.abc import Iterable, Iterator, MutableMapping
from itertools import islice
from pathlib import Path
from xml.parsers import expat

from harness.choice import closest, suggest
from harness.errors import BadDocument, UsageError, system_errors

LARGEST = 16 << 20
"""Bytes of the largest manifest."""

MOST_ELEMENTS = 100_000
DEEPEST = 64
LONGEST_SHOWN = 120
LONGEST_TEXT = 600
LONGEST_HINT = 6000
"""Characters of a value, a message and a hint that an error shows."""

MOST_SHOWN = 40
MOST_COMPARED = 1000
"""The numbers of existing names that an error shows, and that are compared with a mistyped one."""

EVENTS = "http://schemas.microsoft.com/win/2004/08/events"
"""The namespace of manifests (W32:WES/writing-an-instrumentation-manifest.md)."""

ASSEMBLY = "urn:schemas-microsoft-com:asm.v3"
"""The namespace of a manifest that is part of a component's: its root, its instrumentation and its strings."""

OWN = frozenset({EVENTS, ASSEMBLY})

_SEPARATOR = "\x01"
"""The separator of namespace and name in expat: a character that XML forbids."""


class Element:
    """An XML element: ``tag`` and ``namespace``, attributes without a namespace, ``content`` in order of appearance.

    ``foreign`` has the attributes with a namespace as (namespace, prefixed name, value). ``declared`` is what the element
    itself declares, ``prefixes`` all namespaces in scope, both by prefix ("" for the default).
    """

    __slots__ = (
        "attributes", "content", "declared", "file", "foreign", "line", "namespace", "prefix", "prefixes", "tag",
    )  # fmt: skip

    def __init__(self, file: str, line: int, name: str, prefixes: MutableMapping[str, str]) -> None:
        self.file = file
        self.line = line
        self.namespace, self.tag, self.prefix = _split(name)
        self.attributes: dict[str, str] = {}
        self.foreign: list[tuple[str, str, str]] = []
        self.declared: dict[str, str] = {}
        self.prefixes = prefixes
        self.content: list[Element | str] = []

    def children(self, *tags: str) -> Iterator[Element]:
        """Yield the child elements of the manifest's own namespaces that have one of ``tags``, or all of them."""
        for child in self.content:
            if isinstance(child, Element) and child.namespace in OWN and (not tags or child.tag in tags):
                yield child

    def grandchildren(self, tag: str, *tags: str) -> Iterator[Element]:
        """Yield the elements with one of ``tags`` in all children with ``tag``."""
        for child in self.children(tag):
            yield from child.children(*tags)

    def error(self, what: str, *, attribute: str = "", hint: str) -> BadDocument:
        """Return the error for this element: *FILE:LINE: <level value="7">: what*, with ``hint`` saying what to do."""
        shown = ""
        for name in (attribute,) if attribute else ("name", "id", "tid", "value"):
            if name in self.attributes:
                shown = f' {name}="{_cut(self.attributes[name])}"'
                break
        return BadDocument(
            f"{self.file}:{self.line}: <{_cut(self.tag)}{shown}>: {_cut(what, LONGEST_TEXT)}",
            hint=_cut(hint, LONGEST_HINT),
        )


def parse(data: bytes, name: str) -> Element:
    """Return the root element of a manifest. ``name`` is the file's name in errors.

    Raises BadDocument for XML that is not well-formed, a DOCTYPE, and too many or too deeply nested elements.
    """
    if len(data) > LARGEST:
        raise BadDocument(
            f"{name}: {len(data)} bytes are too many for a manifest",
            hint=f"The largest manifest has {LARGEST} bytes. Split the providers over several manifests.",
        )
    return _Builder(name).parse(data)


def read(path: Path) -> bytes:
    """Return the bytes of a manifest's file, at most one more than :func:`parse` accepts. Raises UsageError."""
    hint = "Name an instrumentation manifest (.man)."
    with system_errors(f"cannot read {path}", hint=hint, kind=UsageError):
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"cannot read {path}: not a file", hint=hint)
        with path.open("rb") as file:
            return file.read(LARGEST + 1)


def choices(wanted: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown name, like :func:`harness.choice.suggest`, from any number of names."""
    names = [_cut(name) for name in islice(known, MOST_COMPARED)]
    wanted = _cut(wanted)
    near = closest(wanted, names)
    return suggest(wanted, dict.fromkeys([*near, *names[:MOST_SHOWN]]))


def _split(name: str) -> tuple[str, str, str]:
    """Return the namespace, local name and prefix in expat's name of an element."""
    parts = name.split(_SEPARATOR)
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) > 2 else ""


def _cut(value: str, longest: int = LONGEST_SHOWN) -> str:
    return value if len(value) <= longest else f"{value[:longest]}…"


class _Builder:
    """A builder of the tree while expat reads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Element | None = None
        self.open: list[Element] = []
        self.count = 0
        self.declared: dict[str, str] = {}
        self.parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
        self.parser.namespace_prefixes = True
        self.parser.buffer_text = True
        self.parser.ordered_attributes = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartNamespaceDeclHandler = self._namespace
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def parse(self, data: bytes) -> Element:
        try:
            self.parser.Parse(data, True)
        except expat.ExpatError as error:
            raise BadDocument(
                f"{self.name}:{error.lineno}: not well-formed XML: {expat.errors.messages[error.code]}",
                hint="Open it in an editor that checks XML; & is written &amp; and < is written &lt;.",
            ) from error
        except (LookupError, ValueError) as error:
            raise BadDocument(
                f"{self.name}: unknown encoding: {error}", hint="Save the manifest as UTF-8."
            ) from error
        assert self.root is not None
        return self.root

    def _refuse(self, what: str, hint: str) -> BadDocument:
        return BadDocument(f"{self.name}:{self.parser.CurrentLineNumber}: {what}", hint=hint)

    def _doctype(self, *_: object) -> None:
        raise self._refuse(
            "a DOCTYPE is not allowed in a manifest", "Remove it, and write out what its entities stand for."
        )

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        self.declared[prefix or ""] = uri or ""

    def _start(self, name: str, attributes: list[str]) -> None:
        self.count += 1
        if self.count > MOST_ELEMENTS or len(self.open) >= DEEPEST:
            raise self._refuse(
                f"more than {MOST_ELEMENTS} elements, or more than {DEEPEST} one in another",
                "Split the providers over several manifests.",
            )
        prefixes: MutableMapping[str, str] = self.open[-1].prefixes if self.open else {}
        if self.declared:
            prefixes = ChainMap(self.declared, prefixes)
        element = Element(self.name, self.parser.CurrentLineNumber, name, prefixes)
        element.declared, self.declared = self.declared, {}
        for key, value in zip(attributes[::2], attributes[1::2], strict=True):
            namespace, local, prefix = _split(key)
            if namespace:
                element.foreign.append((namespace, f"{prefix}:{local}" if prefix else local, value))
            else:
                element.attributes[local] = value
        if self.open:
            self.open[-1].content.append(element)
        else:
            self.root = element
        self.open.append(element)

    def _end(self, _: str) -> None:
        self.open.pop()

    def _text(self, text: str) -> None:
        if self.open:
            self.open[-1].content.append(text)
