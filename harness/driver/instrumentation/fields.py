# SPDX-License-Identifier: MIT
"""Templates: the fields of an event, their types, lengths, counts and maps (W32:WES/eventmanifestschema-datadefinitiontype-complextype.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from harness.driver.instrumentation import attributes
from harness.driver.instrumentation import model as m
from harness.driver.instrumentation.source import Element, choices
from harness.driver.instrumentation.vocabulary import IN_TYPES, OUT_ALIASES, OUT_TYPES, WIN, XS, InputType

MOST_FIELDS = 99
"""FormatMessage inserts no more, and the message compiler refuses a template with more."""

BINARY = IN_TYPES["Binary"].value
_DATA = frozenset({"name", "inType", "outType", "map", "length", "count"})
_SHORT = re.compile(r"\+?[0-9]{1,5}")
_INSERT = re.compile(r"%([0-9]{1,3})")


class _Named(NamedTuple):
    """A field with its type, None for a structure."""

    place: int
    kind: InputType | None


def read_template(element: Element, maps: Mapping[str, m.MapDefinition]) -> m.TemplateDefinition:
    """Return the template of an element. ``maps`` are the provider's by name. Raises BadDocument."""
    attributes.check_names(
        element, frozenset({"tid", "name"}), frozenset({"data", "struct", "binary", "UserData"})
    )
    tid = attributes.token(element, "tid") or attributes.text(element, "tid")
    for child in element.children("binary"):
        raise child.error("is not supported", hint='Use <data inType="win:Binary" length="…"/>.')
    members = list(element.children("data", "struct"))
    if len(members) > MOST_FIELDS:
        raise element.error(
            f"has {len(members)} fields, and a template can have {MOST_FIELDS}",
            hint="Put fields that belong together into a <struct>, or make two events of it.",
        )
    return m.TemplateDefinition(
        tid=tid,
        name=element.attributes.get("name", ""),
        fields=_read_fields(members, maps),
        user_data=_user_data(element, len(members)),
    )


def _read_fields(elements: list[Element], maps: Mapping[str, m.MapDefinition]) -> list[m.FieldDefinition]:
    """Return the fields of a template or of a structure, with the references among them resolved."""
    known: dict[str, _Named] = {}
    fields = []
    for index, element in enumerate(elements):
        name = attributes.text(element, "name")
        if name in known:
            raise element.error(
                "another field has this name", attribute="name", hint="Give each field its own name."
            )
        if element.tag == "struct":
            fields.append(_read_struct(element, name, known, maps))
            known[name] = _Named(index, None)
        else:
            kind = _in_type(element)
            fields.append(_read_data(element, name, kind, known, maps))
            known[name] = _Named(index, kind)
    return fields


def _read_struct(
    element: Element, name: str, known: Mapping[str, _Named], maps: Mapping[str, m.MapDefinition]
) -> m.FieldDefinition:
    attributes.check_names(element, frozenset({"name", "count", "length"}), frozenset({"data"}))
    if "length" in element.attributes:
        raise element.error(
            "a structure has no length", attribute="length", hint="Remove it: its members say how long it is."
        )
    members = list(element.children("data"))
    if not members:
        raise element.error("has no member", hint="Add <data …/>, or remove the structure.")
    return m.FieldDefinition(
        name=name,
        in_type=BINARY,
        out_type=0,
        count=_extent(element, "count", known),
        members=_read_fields(members, maps),
    )


def _read_data(
    element: Element,
    name: str,
    kind: InputType,
    known: Mapping[str, _Named],
    maps: Mapping[str, m.MapDefinition],
) -> m.FieldDefinition:
    attributes.check_names(element, _DATA, frozenset())
    if "length" in element.attributes and not kind.length:
        raise element.error(
            f"a field of type {element.attributes['inType']} has no length",
            attribute="length",
            hint="Remove it: the type says how long the field is. For an array write count.",
        )
    length = _extent(element, "length", known)
    if kind.sized and "length" not in element.attributes:
        raise element.error(
            f"a field of type {element.attributes['inType']} needs a length",
            hint='Add length="16", or the name of the field that says it.',
        )
    return m.FieldDefinition(
        name=name,
        in_type=kind.value,
        out_type=_out_type(element, kind),
        length=length,
        count=_extent(element, "count", known),
        map=_map(element, kind, maps),
    )


def _in_type(element: Element) -> InputType:
    wanted = attributes.qualified(element, "inType")
    kind = IN_TYPES.get(wanted.local) if wanted.namespace == WIN else None
    if kind is None:
        raise element.error(
            "there is no such input type",
            attribute="inType",
            hint=choices(element.attributes["inType"], [f"win:{name}" for name in IN_TYPES]),
        )
    return kind


def _out_type(element: Element, kind: InputType) -> int:
    """Return the number of the output type: the given one, or the default of the input type."""
    allowed = {_out_key(each): each for each in kind.outputs}
    if "outType" not in element.attributes:
        return OUT_TYPES[next(iter(allowed))]
    wanted = attributes.qualified(element, "outType").key
    wanted = OUT_ALIASES.get(wanted, wanted)
    if wanted not in allowed:
        known = wanted in OUT_TYPES
        raise element.error(
            f"{element.attributes['inType']} cannot be shown as this"
            if known
            else "there is no such output type",
            attribute="outType",
            hint=choices(element.attributes["outType"], allowed.values()),
        )
    return OUT_TYPES[wanted]


def _out_key(shown: str) -> tuple[str, str]:
    prefix, _, local = shown.partition(":")
    return (WIN if prefix == "win" else XS), local


def _map(element: Element, kind: InputType, maps: Mapping[str, m.MapDefinition]) -> m.MapDefinition | None:
    if "map" not in element.attributes:
        return None
    name = element.attributes["map"]
    if name not in maps:
        raise element.error("there is no such map", attribute="map", hint=choices(name, maps))
    if not kind.maps:
        raise element.error(
            f"a field of type {element.attributes['inType']} has no map",
            attribute="map",
            hint="Maps are for win:UInt8, win:UInt16, win:UInt32 and win:HexInt32.",
        )
    return maps[name]


def _extent(element: Element, name: str, known: Mapping[str, _Named]) -> m.Extent:
    """Return a length or count: a number, or an earlier field that holds it."""
    if name not in element.attributes:
        return m.NO_EXTENT
    value = element.attributes[name]
    if _SHORT.fullmatch(value.strip()):
        if int(value) > 0xFFFF:
            raise element.error("is more than 65535", attribute=name, hint="Write a number up to 65535.")
        return m.Extent(fixed=int(value))
    found = known.get(value)
    if found is None:
        raise element.error(
            "no field before this one has this name",
            attribute=name,
            hint=f"Write a number, or a field that comes before. {choices(value, known)}",
        )
    if found.kind is None or not found.kind.counts:
        raise element.error(
            "the field that it names is not a number",
            attribute=name,
            hint="Name a field of an integer type, as win:UInt16.",
        )
    return m.Extent(reference=found.place)


def _user_data(element: Element, fields: int) -> Element | None:
    """Return the one element in UserData, after a check of its inserts."""
    for holder in element.children("UserData"):
        roots = [each for each in holder.content if isinstance(each, Element)]
        if len(roots) != 1:
            raise holder.error(
                f"has {len(roots)} elements instead of one", hint="Put what there is into one element."
            )
        _check_user_data(roots[0], fields)
        return roots[0]
    return None


def _check_user_data(element: Element, fields: int) -> None:
    """Raise BadDocument unless each element has elements, or a text that is an insert or has none."""
    children = [each for each in element.content if isinstance(each, Element)]
    text = "".join(each for each in element.content if isinstance(each, str)).strip()
    if len(text) > attributes.LONGEST or any(
        len(each) > attributes.LONGEST for each in element.attributes.values()
    ):
        raise element.error(f"has a text of more than {attributes.LONGEST} characters", hint="Shorten it.")
    if children and text:
        raise element.error("has text beside elements", hint="Put the text into its own element.")
    insert = _INSERT.fullmatch(text)
    if "%" in text and (insert is None or not 1 <= int(insert[1]) <= fields):
        raise element.error(
            f"{text[:40]!r} is not one of the template's {fields} fields",
            hint="Write one insert and nothing else: %1 is the first field.",
        )
    for child in children:
        _check_user_data(child, fields)
