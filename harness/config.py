# SPDX-License-Identifier: MIT
"""TOML documents decoded into msgspec structs: unknown keys are refused with file:line and "Did you mean"."""

from __future__ import annotations

import codecs
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from harness.choice import suggest
from harness.errors import BadDocument
from harness.size import spelled

T = TypeVar("T")

LARGEST_DOCUMENT = 1 << 20
"""Bytes of the largest TOML document accepted."""

_AT = re.compile(r" - at `\$?(.*)`$")
_STEP = re.compile(r"\.?([A-Za-z0-9_-]+)|\[(\d+)\]")


def from_plain(tree: Any, kind: Any) -> Any:
    """Convert a decoded TOML or JSON document to ``kind``, its sizes included. Raises msgspec.ValidationError."""
    return msgspec.convert(tree, kind, dec_hook=lambda size, value: size(value))


def to_plain(value: Any) -> Any:
    """Return a struct as dictionaries and lists, with sizes as text: the reverse of :func:`from_plain`."""
    return msgspec.to_builtins(value, enc_hook=lambda size: size.text)


def read_document(path: Path) -> str:
    """Return the text of a document. Raises BadDocument if it is absent, unreadable, too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_DOCUMENT + 1)
    except (OSError, ValueError) as error:
        # A ValueError means a null byte in the name.
        raise BadDocument(f"{path}: {getattr(error, 'strerror', error)}") from error
    if len(data) > LARGEST_DOCUMENT:
        raise BadDocument(
            f"{path}: larger than {LARGEST_DOCUMENT} bytes, too large for a plan or a configuration"
        )
    try:
        # Editors on Windows write UTF-8 with a byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise BadDocument(
                f"{path}: UTF-16 text, and TOML is UTF-8",
                hint="Save it as UTF-8; PowerShell 5: Set-Content -Encoding utf8 instead of '>'.",
            ) from error
        raise BadDocument(f"{path}: not UTF-8 text: {error}", hint="Save it as UTF-8.") from error


def decode_toml(text: str, kind: type[T], *, name: str) -> T:
    """Decode ``text`` (called ``name`` in messages) into ``kind``, whose structs forbid unknown fields.

    Raises BadDocument: ``plan.toml:7: unknown key 'slto'`` with ``Did you mean 'slot'?`` in its hint.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        last = len(text.splitlines()) or 1
        raise BadDocument(f"{name}:{line[1] if line else last}: not TOML: {error}") from error
    except RecursionError as error:
        raise BadDocument(f"{name}:1: not TOML: nested too deeply") from error
    try:
        found: T = from_plain(tree, kind)
    except msgspec.ValidationError as error:
        raise _explained(error, tree, text, kind, name) from error
    return found


def _explained(error: msgspec.ValidationError, tree: Any, text: str, kind: Any, name: str) -> BadDocument:
    said = str(error)
    at = _AT.search(said)
    steps = [step[0] or int(step[1]) for step in _STEP.findall(at[1])] if at else []
    reason = _AT.sub("", said)
    unknown = re.match(r"Object contains unknown field `(.*)`", reason)
    if unknown:
        line = line_of(text, [*steps, unknown[1]])
        known = _keys(_kind_at(kind, tree, steps), _node_at(tree, steps))
        return BadDocument(
            f"{name}:{line}: unknown key {unknown[1]!r}", hint=suggest(unknown[1], sorted(known))
        )
    value = _node_at(tree, steps)
    hint = ""
    if re.match(r"Invalid (?:enum )?value", reason):
        parent = _chosen(_kind_at(kind, tree, steps[:-1]), _node_at(tree, steps[:-1]))
        choices = _choices(parent, steps[-1] if steps else "")
        hint = suggest(str(value), sorted(choices)) if choices else ""
    where = f"{_spoken(steps)}: " if steps else ""
    return BadDocument(f"{name}:{line_of(text, steps)}: {where}{_words(reason, value)}", hint=hint)


KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text in quotes",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
"""The users' names of msgspec's types."""

BOUNDS = {">=": "of at least", "<=": "of at most", ">": "greater than", "<": "less than"}


def _words(reason: str, value: Any) -> str:
    """Return msgspec's reason in a user's terms, unchanged if it is not a known one."""
    if missing := re.fullmatch(r"Object missing required field `(.*)`", reason):
        return f"the key {missing[1]!r} is missing"
    if re.match(r"Invalid (?:enum )?value", reason):
        return f"{spelled(value)} is not one of its values"
    found = re.fullmatch(r"Expected `([a-z |]+)`(?:, got `\w+`)?(.*)", reason)
    if found is None or not (names := [one for one in found[1].split(" | ") if one != "null"]):
        return reason[:1].lower() + reason[1:]
    what = " or ".join(KINDS.get(one, one) for one in names)
    rest = found[2]
    if length := re.fullmatch(r" of length ([<>]=?) (\d+)", rest):
        one, many = ("entry", "entries") if "array" in names else ("character", "characters")
        rest = f" {BOUNDS[length[1]]} {length[2]} {one if length[2] == '1' else many}"
    elif bound := re.fullmatch(r" ([<>]=?) (\S+)", rest):
        rest = f" {BOUNDS[bound[1]]} {bound[2].removesuffix('.0')}"
    elif pattern := re.fullmatch(r" matching regex '(.*)'", rest):
        rest = f" that matches {pattern[1]}"
    return f"expected {what}{rest}, got {spelled(value)}"


def _spoken(steps: list[Any]) -> str:
    """Return ``do[2].slot`` for a path; entries count from 1."""
    return "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in steps).lstrip(".")


def _node_at(tree: Any, steps: list[Any]) -> Any:
    for step in steps:
        tree = tree[step]
    return tree


def _alternatives(kind: Any) -> list[Any]:
    """Return the struct types in a field's type, with Optional and unions expanded."""
    arguments = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [struct for argument in arguments for struct in _alternatives(argument)]


def _chosen(kind: Any, node: Any) -> list[Any]:
    """Return the struct types that ``node`` selects: by tag where the union is tagged."""
    found = _alternatives(kind)
    tags = [struct for struct in found if struct.__struct_config__.tag is not None]
    if isinstance(node, dict) and tags:
        named = [s for s in tags if node.get(s.__struct_config__.tag_field) == s.__struct_config__.tag]
        return named or found
    return found


def _kind_at(kind: Any, tree: Any, steps: list[Any]) -> Any:
    for step in steps:
        if isinstance(step, int):
            kind = (get_args(kind) or (Any,))[0]
        else:
            fields = {f.encode_name: f.type for s in _chosen(kind, tree) for f in msgspec.structs.fields(s)}
            kind = fields.get(step, Any)
        tree = tree[step] if isinstance(tree, (dict, list)) else None
    return kind


def _keys(kind: Any, node: Any) -> list[str]:
    keys: list[str] = []
    for struct in _chosen(kind, node):
        keys += [field.encode_name for field in msgspec.structs.fields(struct)]
        if struct.__struct_config__.tag is not None:
            keys.append(struct.__struct_config__.tag_field)
    return keys


def _choices(parents: list[Any], field: Any) -> set[str]:
    """Return the allowed values of a field in one of several structs: a Literal's, or the tags of a tagged union."""
    found: set[str] = set()
    for struct in parents:
        if struct.__struct_config__.tag_field == field:
            found.add(str(struct.__struct_config__.tag))
        for known in msgspec.structs.fields(struct):
            if known.encode_name == field:
                found |= {a for a in _literals(known.type) if isinstance(a, str)}
    return found


def _literals(kind: Any) -> list[Any]:
    arguments = get_args(kind)
    if not arguments:
        return [kind] if isinstance(kind, str) else []
    return [value for argument in arguments for value in _literals(argument)]


def line_of(text: str, steps: list[Any]) -> int:
    """Return the line of the key at the path ``steps``, or of the nearest table that holds it."""
    best, depth = 1, -1
    counts: dict[str, int] = {}
    table: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[\s*([^\]]+?)\s*\]\]", line):
            counts[header[1]] = counts.get(header[1], -1) + 1
            table = [*header[1].split("."), counts[header[1]]]
            here = table
        elif header := re.match(r"\s*\[\s*([^\[\]]+?)\s*\]", line):
            table = header[1].split(".")
            here = table
        elif key := re.match(r"\s*([A-Za-z0-9_.\"'-]+?)\s*=", line):
            here = [*table, *(part.strip("\"'") for part in key[1].split("."))]
        else:
            continue
        if here == steps[: len(here)] and len(here) > depth:
            best, depth = number, len(here)
    return best
