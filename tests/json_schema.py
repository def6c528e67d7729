# SPDX-License-Identifier: MIT
"""A validator for the part of JSON Schema 2020-12 that the harness's schemas use, written from the specification.

A keyword that it does not know, or whose value is not of the kind that the metaschema asks for, is an error of the schema:
nothing is passed over. Sections are those of draft-bhutton-json-schema-validation-01.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"

TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    # Section 6.1.1: an integer is a number with a zero fractional part.
    "integer": lambda value: _number(value) and float(value).is_integer(),
    "number": lambda value: _number(value),
}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _schemas(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())


def _length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(one, str) for one in value)
        and len(set(value)) == len(value)
    )


def _type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(name in TYPES for name in names)


def _several(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


METASCHEMA: dict[str, Callable[[Any], bool]] = {
    "$schema": lambda value: value == DIALECT,
    "$ref": lambda value: isinstance(value, str) and value.startswith("#/$defs/"),
    "$defs": _schemas,
    "title": lambda value: isinstance(value, str),
    "format": lambda value: value == "date",
    "description": lambda value: isinstance(value, str),
    "default": lambda _: True,
    "examples": lambda value: isinstance(value, list),
    "type": _type,
    "enum": lambda value: isinstance(value, list),
    "const": lambda _: True,
    "anyOf": _several,
    "properties": _schemas,
    "additionalProperties": lambda value: isinstance(value, bool | dict),
    "required": _names,
    "items": lambda value: isinstance(value, dict),
    "minItems": _length,
    "maxItems": _length,
    "minLength": _length,
    "maxLength": _length,
    "pattern": lambda value: isinstance(value, str) and bool(re.compile(value)),
    "minimum": _number,
    "maximum": _number,
    "exclusiveMinimum": _number,
    "exclusiveMaximum": _number,
}
"""Each keyword with what its value must be."""


def check_schema(schema: dict[str, Any]) -> None:
    """Raise AssertionError where something is no schema, or refers to nothing."""
    for place, one in subschemas(schema):
        for keyword, value in one.items():
            assert keyword in METASCHEMA, f"{place}: unknown keyword {keyword}"
            assert METASCHEMA[keyword](value), f"{place}/{keyword}: {value!r}"
        if "$ref" in one:
            assert one["$ref"].removeprefix("#/$defs/") in schema["$defs"], f"{place}: {one['$ref']}"
        if "default" in one:
            found = list(errors(schema, one, one["default"]))
            assert not found, f"{place}/default: {found}"


def subschemas(schema: dict[str, Any], place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a schema and all schemas in it, with their places."""
    yield place, schema
    for keyword in ("$defs", "properties"):
        for name, one in schema.get(keyword, {}).items():
            yield from subschemas(one, f"{place}/{keyword}/{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from subschemas(schema[keyword], f"{place}/{keyword}")
    for at, one in enumerate(schema.get("anyOf", [])):
        yield from subschemas(one, f"{place}/anyOf/{at}")


def validate(schema: dict[str, Any], value: Any, *, closed: bool = False) -> list[str]:
    """Return what is wrong with a value; ``closed`` also takes keys that a schema with keys does not name as wrong."""
    return list(errors(schema, schema, value, closed=closed))


def errors(
    root: dict[str, Any], schema: dict[str, Any], value: Any, place: str = "$", *, closed: bool = False
) -> Iterator[str]:
    """Yield what is wrong with ``value`` by ``schema``, a part of ``root``."""

    def inner(one: dict[str, Any], of: Any, step: str = "") -> Iterator[str]:
        return errors(root, one, of, f"{place}{step}", closed=closed)

    if "$ref" in schema:
        yield from inner(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], value)
    kinds = schema.get("type", [])
    if kinds and not any(TYPES[kind](value) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        yield f"{place}: {value!r:.60} is not of type {kinds}"
        return
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield f"{place}: {value!r:.60} is not one of {schema['enum']}"
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{place}: {value!r:.60} is not {schema['const']!r}"
    # The first mistake of a branch is enough to leave it; all are found only for what is told.
    if "anyOf" in schema and all(next(inner(one, value), "") for one in schema["anyOf"]):
        branches = [list(inner(one, value)) for one in schema["anyOf"]]
        yield f"{place}: none of these: {min(branches, key=len)}"
    if _number(value):
        for keyword, wrong in BOUNDS.items():
            if keyword in schema and wrong(value, schema[keyword]):
                yield f"{place}: {value} breaks {keyword} {schema[keyword]}"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield f"{place}: {value!r} is too short"
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{place}: {value!r:.60} is too long"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{place}: {value!r:.60} does not match {schema['pattern']}"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{place}: {len(value)} items"
        for at, one in enumerate(value):
            yield from inner(schema.get("items", {}), one, f"[{at}]")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{place}: no {name}" for name in schema.get("required", []) if name not in value)
        others = schema.get("additionalProperties", not (closed and known))
        for name, one in value.items():
            if name in known:
                yield from inner(known[name], one, f".{name}")
            elif others is False:
                yield f"{place}: unknown key {name}"
            elif isinstance(others, dict):
                yield from inner(others, one, f".{name}")


BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": lambda value, bound: not value >= bound,
    "maximum": lambda value, bound: not value <= bound,
    "exclusiveMinimum": lambda value, bound: not value > bound,
    "exclusiveMaximum": lambda value, bound: not value < bound,
}


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are equal; true and 1 are not (JSON Schema core, section 4.2.2)."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other
