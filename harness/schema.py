# SPDX-License-Identifier: MIT
"""JSON Schemas (2020-12) of documents, generated from the types that decode them, so that an editor accepts what a decoder does.

TOML has no null, so an optional key is one that may be left out. Rules about two keys together, or about the machine, are
only in the decoder.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from harness.size import Size

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SIZE = {
    "type": "string",
    "pattern": r"^\s*[0-9]{1,20}\s*([KMGT]iB|B)?\s*$",
    "description": 'A size like "256 MiB": a number and one of B, KiB, MiB, GiB, TiB.',
    "examples": ["256 MiB"],
}

JsonSchema = dict[str, Any]


def toml_schema(kind: type, *, title: str, fields: Mapping[str, JsonSchema] | None = None) -> JsonSchema:
    """Return the schema of a TOML document that is decoded into ``kind``, a struct.

    ``fields`` are schemas that are more specific than the type, by struct and key: ``GuestRow.name``.
    """
    _, components = _components([kind])
    structs = {each.__name__: each for each in _structs(kind)}
    definitions = {name: _plain(schema) for name, schema in components.items()}
    for name, schema in definitions.items():
        struct = structs.get(name)
        for key, found in schema.get("properties", {}).items():
            said = sentences(struct, key) if struct is not None else ""
            if said and "description" not in found:
                found["description"] = said
            more = (fields or {}).get(f"{name}.{key}")
            if more is not None:
                schema["properties"][key] = {**found, **more}
    root = definitions.pop(kind.__name__)
    root.pop("title", None)
    if "description" not in root:
        root = {"description": _text(inspect.getdoc(kind.__base__) or ""), **root}
    return {"$schema": DIALECT, "title": title, **root, "$defs": definitions}


def output_schema(kinds: Sequence[Any], *, title: str, version: int) -> JsonSchema:
    """Return the schema of a JSON document of one of ``kinds``, structs or TypedDicts, preceded by its ``version``."""
    roots, components = _components(kinds)
    definitions = {name: _described(schema) for name, schema in components.items()}
    for root in roots:
        found = definitions[root["$ref"].rpartition("/")[2]]
        found["properties"] = {"version": {"const": version}, **found["properties"]}
        found["required"] = ["version", *found.get("required", [])]
    return {"$schema": DIALECT, "title": title, "anyOf": list(roots), "$defs": definitions}


def sentences(struct: type, key: str) -> str:
    """Return the description of a key in the docstrings of a struct and its bases: the sentences that name it in code style."""
    beginnings = (f"``{key}``", f"``{key} = ")
    said = [
        _text(part)
        for each in struct.__mro__
        for part in _parts(each)
        if any(beginning in part for beginning in beginnings)
    ]
    return " ".join(dict.fromkeys(said)).rstrip(";")


@functools.cache
def _parts(kind: type) -> list[str]:
    """Return the sentences of a docstring. A struct without one of its own has its signature."""
    text = " ".join(inspect.cleandoc(kind.__dict__.get("__doc__") or "").split())
    return re.split(r"(?<=[.;]) (?=[A-Z`:])", text)


def _components(kinds: Sequence[Any]) -> tuple[tuple[JsonSchema, ...], dict[str, JsonSchema]]:
    return msgspec.json.schema_components(kinds, schema_hook=_hook, ref_template="#/$defs/{name}")


def _hook(kind: type) -> JsonSchema:
    if issubclass(kind, Size):
        return dict(SIZE)
    raise NotImplementedError


def _structs(kind: Any) -> Iterator[type]:
    """Yield the structs in a type, each once."""
    seen: set[Any] = set()
    waiting = [msgspec.inspect.type_info(kind)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.StructType):
            if one.cls in seen:
                continue
            seen.add(one.cls)
            yield one.cls
            waiting += [field.type for field in one.fields]
        waiting += [*getattr(one, "types", ())]
        waiting += [
            inner for name in ("item_type", "key_type", "value_type") if (inner := getattr(one, name, None))
        ]


def _plain(schema: Any) -> Any:
    """Return a schema without null and OpenAPI's own keywords, with readable descriptions."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _plain(one) for key, one in schema.items() if key not in ("discriminator", "default")}
    if isinstance(found.get("description"), str):
        found["description"] = _text(found["description"])
    default = _without_null(schema.get("default"))
    if default not in (None, {}, [], ""):
        found["default"] = default
    if "anyOf" in found:
        found["anyOf"] = [one for one in found["anyOf"] if one != {"type": "null"}]
        if len(found["anyOf"]) == 1:
            (only,) = found.pop("anyOf")
            found = {**only, **found}
    return found


def _described(schema: Any) -> Any:
    """Return a schema without OpenAPI's own keywords, with readable descriptions."""
    if isinstance(schema, list | tuple):  # a default may be a tuple
        return [_described(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _described(one) for key, one in schema.items() if key != "discriminator"}
    if isinstance(found.get("description"), str):
        found["description"] = _text(found["description"])
    return found


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: found for key, one in value.items() if (found := _without_null(one)) is not None}
    return value


def _text(docstring: str) -> str:
    """Return a docstring as one paragraph, with code between single backquotes, for editors."""
    text = re.sub(r":[a-z]+:`~?([^`]*)`", r"`\1`", docstring)
    return " ".join(text.replace("``", "`").split())
