# SPDX-License-Identifier: MIT
"""A plan operation as typed at a prompt: ``add-dimm 256MiB expect=refused``.

Names, fields and values come from the operations' own types. A new operation needs no code here.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import shlex
import textwrap
import tomllib
import types
import typing
from typing import Any, Literal

import msgspec

from harness.choice import suggest
from harness.config import from_plain, to_plain
from harness.errors import UsageError
from harness.run.operation import Operation
from harness.size import Size

KINDS: dict[str, Any] = {
    str(kind.__struct_config__.tag): kind for kind in sorted(typing.get_args(Operation), key=str)
}
"""Every operation's type by its name in a plan."""

WIDTH = 78
COLUMN = 42
"""Characters of a line of help, and those before its second column."""


class TypedField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of an operation: its name, a description of its values, its ``choices``, and its default as text, "" if
    required."""

    name: str
    takes: str
    choices: list[str]
    default: str
    required: bool


@functools.cache
def fields_of(name: str) -> list[TypedField]:
    """Return the fields of an operation, the required ones first. Words without a name are values of those, in this
    order."""
    hints = typing.get_type_hints(KINDS[name])
    found = []
    for field in msgspec.structs.fields(KINDS[name]):
        takes, choices = _takes(hints[field.name])
        required = field.default is msgspec.NODEFAULT and field.default_factory is msgspec.NODEFAULT
        shown = "" if required or field.default is None else _shown(field.default)
        found.append(
            TypedField(name=field.name, takes=takes, choices=choices, default=shown, required=required)
        )
    return sorted(found, key=lambda field: (not field.required, field.name == "timeout"))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if value != "" else '""'


def _takes(kind: Any) -> tuple[str, list[str]]:
    """Return a description of a type's values, and the values if they can be listed."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _takes(next(one for one in inside if one is not type(None)))
    if origin is Literal:
        return "|".join(map(str, inside)), [str(one) for one in inside]
    if origin is list:
        return "a list, [0,1]", []
    if kind is bool:
        return "true|false", ["true", "false"]
    if kind is Size:
        return 'a size, "256 MiB"', []
    return {int: "a whole number", float: "a number"}.get(kind, "a word"), []


def typed_operation(name: str, words: list[str]) -> Operation:
    """Return the operation that ``words`` describe: values of the required fields in order, then ``field=value``.

    Raises UsageError with a description of the field's values.
    """
    fields = {field.name: field for field in fields_of(name)}
    order = iter([field for field in fields.values() if field.required])
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]+", key):
            field = next((field for field in order if field.name not in given), None)
            if field is None:
                raise UsageError(
                    f"{name}: there is no field for the value {word!r}",
                    hint=f"Give optional fields as field=value. {_hint(name)}",
                )
            key, value = field.name, word
        if key not in fields:
            raise UsageError(f"{name} has no field {key!r}", hint=suggest(key, fields))
        if key in given:
            raise UsageError(f"{name}: {key} is given twice")
        given[key] = value
    if missing := [field.name for field in fields.values() if field.required and field.name not in given]:
        raise UsageError(f"{name} needs {' and '.join(missing)}", hint=_hint(name))
    plain: dict[str, Any] = {"op": name}
    for key, text in given.items():
        plain[key] = _converted(name, fields[key], text)
    try:
        found: Operation = from_plain(plain, Operation)
    except (msgspec.ValidationError, UsageError, ValueError) as error:
        raise UsageError(f"{name}: {error}", hint=_hint(name)) from error
    return found


def _converted(name: str, field: TypedField, text: str) -> Any:
    """Return the value of one field, as TOML or as plain text. Raises UsageError."""
    values = [text]
    with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
        values.insert(0, tomllib.loads(f"value = {text}")["value"])
    kind = typing.get_type_hints(KINDS[name], include_extras=True)[field.name]
    for value in values:
        try:
            from_plain(value, kind)
        except (msgspec.ValidationError, UsageError, ValueError) as error:
            said = str(error)
            continue
        return value
    raise UsageError(f"{name}: {field.name} takes {field.takes}, got {text!r}: {said}", hint=_hint(name))


def _hint(name: str) -> str:
    return f"help {name} shows its fields."


def usage(name: str) -> str:
    """Return an operation's line with its required fields: ``add-dimm SIZE [field=value …]``."""
    required = [field.name.upper() for field in fields_of(name) if field.required]
    return " ".join([name, *required])


def explained(name: str) -> list[str]:
    """Return the description of one operation for a terminal of 80 columns and 24 lines: its purpose, then its fields."""
    text = (inspect.getdoc(KINDS[name]) or "").replace("``", "")
    lines = [usage(name)]
    for paragraph in text.split("\n\n"):
        lines += wrapped(paragraph)
    return [*lines, "", *_columns([_described(field) for field in fields_of(name)])]


def _described(field: TypedField) -> str:
    default = "required" if field.required else f"default {field.default}" if field.default else "not set"
    return f"{field.name}= {field.takes} ({default})"


def wrapped(text: str) -> list[str]:
    """Return a paragraph as indented lines for a terminal of 80 columns."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _columns(cells: list[str]) -> list[str]:
    """Return cells as lines: two beside each other where both are short enough."""
    lines: list[str] = []
    for cell in cells:
        before = lines[-1] if lines else ""
        if before and len(before) <= COLUMN - 2 and len(cell) <= WIDTH - COLUMN:
            lines[-1] = f"{before:<{COLUMN}}{cell}"
        else:
            lines.append(f"  {cell}")
    return lines


def line_of(operation: Operation) -> str:
    """Return the typed form of an operation: ``add-dimm size='256 MiB'``."""
    kind = KINDS[str(type(operation).__struct_config__.tag)]
    defaults = {field.encode_name: field.default for field in msgspec.structs.fields(kind)}
    plain = to_plain(operation)
    words = [plain.pop("op")]
    for key, value in plain.items():
        if value is not None and value != defaults.get(key):
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            words.append(f"{key}={shlex.quote(text)}")
    return " ".join(words)
