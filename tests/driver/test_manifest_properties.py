# SPDX-License-Identifier: MIT
"""Any manifest that is compiled is read back as it was written, by a reader that shares nothing with the compiler."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

from driver.manifests import manifest
from driver.wevt_reader import read_messages, read_template
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.driver.instrumentation.compiler import compile_manifest

IN_TYPES = {
    "UnicodeString": (1, 1), "AnsiString": (2, 1), "Int8": (3, 3), "UInt8": (4, 4), "Int16": (5, 5), "UInt16": (6, 6),
    "Int32": (7, 7), "UInt32": (8, 8), "Int64": (9, 9), "UInt64": (10, 10), "Float": (11, 11), "Double": (12, 12),
    "Boolean": (13, 13), "Binary": (14, 15), "GUID": (15, 14), "Pointer": (16, 19), "FILETIME": (17, 2), "SYSTEMTIME": (18, 2),
    "SID": (19, 1), "HexInt32": (20, 18), "HexInt64": (21, 19), "CountedUnicodeString": (22, 1), "CountedAnsiString": (23, 1),
    "CountedBinary": (25, 15),
}  # fmt: skip
"""Input types with their number and that of their default output type (W32:WES/eventmanifestschema-inputtype-complextype.md)."""

STRINGS = {"UnicodeString", "AnsiString"}
INTEGERS = {name for name in IN_TYPES if "Int" in name}
names = st.text("abcXYZ019_.é", min_size=1, max_size=8).map("n".__add__)
texts = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cn", "Co"]), max_size=30).map(
    lambda text: text.replace("%", "").replace("\x7f", "")
)


@st.composite
def fields(draw: st.DrawFn, *, structures: bool) -> list[dict[str, Any]]:
    """Fields of a template or members of a structure, as dictionaries."""
    found: list[dict[str, Any]] = []
    for name in draw(st.lists(names, max_size=6, unique=True)):
        counts = [(index, each["name"]) for index, each in enumerate(found) if each.get("in") in INTEGERS]
        each: dict[str, Any] = {"name": name}
        extent = st.integers(1, 65535).map(lambda number: (number, str(number)))
        if counts:
            extent |= st.sampled_from(counts)
        each["count"] = draw(st.none() | extent)
        if structures and draw(st.integers(0, 4)) == 0:
            each["members"] = [
                *draw(fields(structures=False)),
                {"name": "last", "in": "UInt8", "count": None, "length": None},
            ]
            each["members"] = list({member["name"]: member for member in each["members"]}.values())
        else:
            each["in"] = draw(st.sampled_from(sorted(IN_TYPES)))
            sized = each["in"] == "Binary"
            each["length"] = (
                draw(extent if sized else st.none() | extent) if sized or each["in"] in STRINGS else None
            )
        found.append(each)
    return found


def written(each: dict[str, Any]) -> str:
    """The XML of a field."""
    count = f' count="{each["count"][1]}"' if each["count"] else ""
    if "members" in each:
        return f'<struct name="{each["name"]}"{count}>{"".join(map(written, each["members"]))}</struct>'
    length = f' length="{each["length"][1]}"' if each["length"] else ""
    return f'<data name="{each["name"]}" inType="win:{each["in"]}"{length}{count}/>'


def expected(each: dict[str, Any], base: int) -> dict[str, Any]:
    """What the reader says of a field whose references begin at ``base``; of a structure, not where its members are."""
    flags, numbers = 0, {}
    for what, fixed, variable in (("length", 2, 4), ("count", 8, 16)):
        extent = each.get(what)
        if extent is None:
            numbers[what] = 0
        elif extent[1].isdigit():
            flags |= fixed
            numbers[what] = extent[0]
        else:
            flags |= variable
            numbers[what] = base + extent[0]
    head = {"name": each["name"], **numbers}
    if "members" in each:
        return {**head, "flags": flags | 1, "members": len(each["members"])}
    number, shown = IN_TYPES[each["in"]]
    return {**head, "flags": flags, "in": number, "out": shown, "map": 0}


@settings(max_examples=examples(20), deadline=None)
@given(fields(structures=True))
def test_fields_come_back(made: list[dict[str, Any]]) -> None:
    """Names, types, lengths, counts and members of a template are those of the manifest, in its fragment too."""
    body = f'<templates><template tid="T">{"".join(map(written, made))}</template></templates>'
    (provider,) = read_template(compile_manifest(manifest(body), "made.man").template)
    (found,) = provider["TTBL"].values()
    firsts = [each.pop("first") for each in found["fields"] if "first" in each]
    assert found["fields"] == [expected(each, 0) for each in made]
    members = [each["members"] for each in made if "members" in each]
    bases = [len(made) + sum(map(len, members[:index])) for index in range(len(members))]
    assert firsts == bases
    assert found["members"] == [
        expected(member, base) for base, listed in zip(bases, members, strict=True) for member in listed
    ]
    kinds = [
        (14 if "members" in each else IN_TYPES[each["in"]][0]) | (0x80 if each["count"] else 0)
        for each in made
    ]
    assert found["xml"] == (
        "EventData",
        {},
        [
            ("ComplexData" if "members" in each else "Data", {"Name": each["name"]}, [(index, kinds[index])])
            for index, each in enumerate(made)
        ],
    )


@settings(max_examples=examples(20), deadline=None)
@given(fields(structures=True), fields(structures=True))
def test_equal_templates_have_equal_identifiers(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> None:
    """The identifier of a template is a GUID of version 5 that stands for names and types, whoever has it."""
    body = "".join(
        f'<template tid="{tid}">{"".join(map(written, made))}</template>'
        for tid, made in (("A", one), ("B", two), ("C", one))
    )
    (provider,) = read_template(compile_manifest(manifest(f"<templates>{body}</templates>"), "m").template)
    first, second, third = provider["TTBL"].values()
    assert first["guid"] == third["guid"]
    assert (first["xml"] == second["xml"]) == (first["guid"] == second["guid"])
    assert first["guid"][7] >> 4 == 5


@st.composite
def vocabularies(draw: st.DrawFn) -> dict[str, dict[str, tuple[int, str | None]]]:
    """Levels, tasks, opcodes and keywords by name, each with its value and its text."""
    bounds = {
        "level": st.integers(16, 255),
        "task": st.integers(0, 255),
        "opcode": st.integers(10, 239),
        "keyword": st.integers(0, 47).map(lambda bit: 1 << bit),
    }
    return {
        kind: {
            name: (value, draw(st.none() | texts))
            for name, value in zip(
                draw(st.lists(names, max_size=5, unique=True)),
                draw(st.lists(values, min_size=5, max_size=5, unique=True)),
                strict=False,
            )
        }
        for kind, values in bounds.items()
    }


NUMBERS = {"level": 0x50000000, "task": 0x70000000, "opcode": 0x30000000, "keyword": 0x10000000}
TAGS = {"level": "LEVL", "task": "TASK", "opcode": "OPCO", "keyword": "KEYW"}


@settings(max_examples=examples(20), deadline=None)
@given(vocabularies(), st.data())
def test_vocabulary_and_events_come_back(
    words: dict[str, dict[str, tuple[int, str | None]]], data: st.DataObject
) -> None:
    """What a provider defines, what its events refer to, and every text come back with their values and numbers."""
    body, strings = [], []
    numbers: dict[str, int] = {}
    for kind, defined in words.items():
        listed = []
        for name, (value, text) in defined.items():
            message = ""
            if text is not None:
                message = f' message="$(string.{kind}.{name})"'
                strings.append(f'<string id="{kind}.{name}" value={quoteattr(text)}/>')
                shown = value.bit_length() if kind == "keyword" else value
                numbers[f"{kind}.{name}"] = NUMBERS[kind] + shown
            attribute = f'mask="{value:#x}"' if kind == "keyword" else f'value="{value}"'
            listed.append(f'<{kind} name="{name}" {attribute}{message}/>')
        body.append(f"<{kind}s>{''.join(listed)}</{kind}s>")
    wanted = data.draw(
        st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 255)), max_size=6, unique=True)
    )
    events = []
    picked = []
    for value, version in wanted:
        chosen = {
            kind: data.draw(st.sampled_from(["", *words[kind]])) for kind in ("level", "task", "opcode")
        }
        keywords = data.draw(
            st.lists(st.sampled_from(sorted(words["keyword"])), unique=True)
            if words["keyword"]
            else st.just([])
        )
        given_ = "".join(f' {kind}="{name}"' for kind, name in chosen.items() if name)
        events.append(f'<event value="{value}" version="{version}" keywords="{" ".join(keywords)}"{given_}/>')
        picked.append((value, version, chosen, keywords))
    compiled = compile_manifest(
        manifest("".join(body) + f"<events>{''.join(events)}</events>", "".join(strings)), "m"
    )
    (provider,) = read_template(compiled.template)
    for kind, defined in words.items():
        rows = {row[0]: (row[1], row[-1]) for row in provider[TAGS[kind]].values()}
        assert rows == {
            name: (value, numbers.get(f"{kind}.{name}", 0xFFFFFFFF)) for name, (value, _) in defined.items()
        }
    places = {kind: {row[0]: place for place, row in provider[tag].items()} for kind, tag in TAGS.items()}
    found = sorted((event["value"], event["version"]) for event in provider.get("EVNT", []))
    assert found == sorted(wanted)
    assert [event["value"] for event in provider.get("EVNT", [])] == sorted(value for value, _ in wanted)
    by_number = {(event["value"], event["version"]): event for event in provider.get("EVNT", [])}
    for value, version, chosen, keywords in picked:
        event = by_number[value, version]
        for kind, name in chosen.items():
            assert event[kind] == (words[kind][name][0] if name else 0)
            assert event[f"{kind}_at"] == (places[kind][name] if name else 0)
        assert event["keywords"] == sum(words["keyword"][name][0] for name in keywords)
        assert sorted(event["keyword_places"]) == sorted(places["keyword"][name] for name in keywords)
    table = read_messages(compiled.tables.get("en-US", b""))
    assert table == {
        number: words[key.partition(".")[0]][key.partition(".")[2]][1] for key, number in numbers.items()
    }


@settings(max_examples=examples(20), deadline=None)
@given(
    st.dictionaries(
        names, st.dictionaries(st.integers(0, 0xFFFFFFFF), texts, min_size=1, max_size=5), max_size=4
    ),
    st.dictionaries(
        names.map("b".__add__),
        st.dictionaries(st.integers(0, 31).map(lambda bit: 1 << bit), texts, min_size=1, max_size=5),
        max_size=4,
    ),
)
def test_maps_come_back(values: dict[str, dict[int, str]], bits: dict[str, dict[int, str]]) -> None:
    """Maps have their items by value, and each item's number leads to its text."""
    bits = {name: items for name, items in bits.items() if name not in values}
    body, strings = [], []
    for tag, maps in (("valueMap", values), ("bitMap", bits)):
        for name, items in maps.items():
            listed = "".join(
                f'<map value="{value:#x}" message="$(string.{name}.{value})"/>' for value in items
            )
            body.append(f'<{tag} name="{name}">{listed}</{tag}>')
            strings += [
                f'<string id="{name}.{value}" value={quoteattr(text)}/>' for value, text in items.items()
            ]
    compiled = compile_manifest(manifest(f"<maps>{''.join(body)}</maps>", "".join(strings)), "m")
    (provider,) = read_template(compiled.template)
    table = read_messages(compiled.tables.get("en-US", b""))
    found = {
        name: (flags, [(value, table[number]) for value, number in pairs])
        for name, flags, pairs in provider.get("MAPS", {}).values()
    }
    assert list(found) == sorted({**values, **bits})
    assert found == {
        name: (name in bits, sorted(items.items())) for name, items in {**values, **bits}.items()
    }
