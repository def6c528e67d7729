# SPDX-License-Identifier: MIT
"""The schemas of plans and of a lab.toml say what the decoders say, as far as a schema can."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from json_schema import check_schema, subschemas, validate

from harness.config import from_plain
from harness.errors import BadDocument, UsageError
from harness.lab.lab_document import document_kind, lab_schema
from harness.lab.matrix import decode_matrix
from harness.run.operation import AddDimm
from harness.run.options import options_at
from harness.run.plan import Plan, decode_plan, plan_schema
from harness.schema import sentences

ROOT = Path(__file__).resolve().parents[1]
GIVEN = ROOT.parent / "shared" / "data" / "plans"
BUILT_IN = sorted((ROOT / "harness" / "run" / "plans").glob("*.toml"))

PLAN, LAB = plan_schema(), lab_schema()
PLANS = [tomllib.loads(file.read_text("utf-8")) for file in BUILT_IN]
LABS = [
    tomllib.loads((ROOT / "lab.toml").read_text("utf-8")),
    tomllib.loads(
        'timeout = 9.5\n[budget]\nvcpus = 3\nmemory = "2 GiB"\n[[plan]]\nplan = "veto"\nrepeat = 2\n'
    ),
]

VALUES = st.one_of(
    st.sampled_from(
        ["", "x", "added", "refused", "add-cpu", "settle", "256 MiB", "4 Gb", "hpnotify", "sync", True, False]
    ),
    st.integers(-3, 5000),
    st.sampled_from([0.5, -1.5, 1e9]),
    st.sampled_from([[], {}, ["x"], {"x": 1}, [{"op": "reset"}]]),
)
"""What a key may be given by mistake. A whole number with a fraction of zero is one to a schema and none to the decoder."""


def decodes(tree: Any, kind: Any) -> bool:
    """Return whether the types take a document."""
    try:
        from_plain(tree, kind)
    except msgspec.ValidationError:
        return False
    return True


def tables(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every table of a document."""
    if isinstance(tree, dict):
        yield tree
    for one in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else []:
        yield from tables(one)


@st.composite
def mistaken(draw: st.DrawFn, documents: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """One of the documents with a key that is changed, added or left out."""
    tree = copy.deepcopy(draw(st.sampled_from(documents)))
    table = draw(st.sampled_from(list(tables(tree))))
    key = draw(st.sampled_from(sorted({*table, *names})))
    if draw(st.booleans()):
        table.pop(key, None)
    else:
        table[key] = copy.deepcopy(draw(VALUES))
    return tree


NAMES = sorted(
    {name for schema in (PLAN, LAB) for _, one in subschemas(schema) for name in one.get("properties", {})}
)


@pytest.mark.parametrize("schema", [PLAN, LAB], ids=["plan", "lab"])
def test_a_schema_is_one(schema: dict[str, Any]) -> None:
    """Every keyword is one of the dialect, every reference leads somewhere, every default is legal."""
    check_schema(schema)


@pytest.mark.parametrize("path", [*BUILT_IN, *sorted(GIVEN.glob("*.toml"))], ids=lambda path: path.name)
def test_a_plan_is_legal_to_both(path: Path) -> None:
    """What is wrong with the given plans is what no schema can tell: more than one key, or the machine."""
    text = path.read_text("utf-8")
    decode_plan(text, name=path.name)
    assert [] == validate(PLAN, tomllib.loads(text))


@pytest.mark.parametrize("tree", LABS)
def test_a_lab_is_legal_to_both(tree: dict[str, Any]) -> None:
    """The lab.toml of this repository, and one with every kind of value."""
    assert (True, []) == (decodes(tree, document_kind()), validate(LAB, tree))


@settings(max_examples=examples(150))
@given(tree=mistaken(PLANS, NAMES))
def test_the_schema_of_a_plan_agrees_with_its_decoder(tree: dict[str, Any]) -> None:
    """A key that is changed, added or left out is a mistake to both or to neither."""
    assert decodes(tree, Plan) == (not validate(PLAN, tree))


@settings(max_examples=examples(100))
@given(
    tree=mistaken(LABS, [name for name in NAMES if name not in {one.key("lab") for one in options_at("lab")}])
)
def test_the_schema_of_a_lab_agrees_with_its_decoder(tree: dict[str, Any]) -> None:
    """The same; that a guest or a backend exists is no question of types, and the schema knows it."""
    legal = not validate(LAB, tree)
    assert legal <= decodes(tree, document_kind())
    if not legal and decodes(tree, document_kind()):
        known = LAB["$defs"]["GuestRow"]["properties"]["name"]["enum"]
        names = [row.get("name") for row in tree.get("guest", []) if isinstance(row, dict)]
        backends = [row.get("backend", "qemu") for row in tree.get("qemu", []) if isinstance(row, dict)]
        assert set(names) - set(known) or set(backends) - {"qemu", "libvirt"}


@pytest.mark.parametrize(
    ("key", "value", "legal"),
    [
        ("accel", "tcg", True),
        ("accel", "fast", False),
        ("restore", True, True),
        ("restore", "cold", True),
        ("restore", 1, False),
        ("kd", "listen", True),
        ("kd", "loud", False),
        ("boot_timeout", 90, True),
        ("boot_timeout", 0.5, False),
        ("boot_timeout", 604801, False),
        ("dump", "4 GiB", True),
        ("dump", "4 Gb", False),
    ],
)
def test_the_options_of_a_run_are_in_the_schema_of_a_lab(key: str, value: object, legal: bool) -> None:
    """Their values are those that every other place takes."""
    spelled = str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')
    text = f'{key} = {spelled}\n[[plan]]\nplan = "veto"\n'
    taken = True
    try:
        decode_matrix(text, name="lab.toml", base=Path())
    except (BadDocument, UsageError):
        taken = False
    assert (legal, legal) == (taken, not validate(LAB, tomllib.loads(text)))


def test_what_a_key_means_is_said() -> None:
    """The sentences of a docstring that name a key are its description, for whoever hovers over it."""
    assert "`unaligned = true` selects this negative case." == sentences(AddDimm, "unaligned")
    described = PLAN["$defs"]["AddDimm"]["properties"]
    assert "overrides the operation's own budget" in described["timeout"]["description"]
    assert (
        "`id`, `expect`, `saying` and `settle` are those of `add-cpu`." == described["expect"]["description"]
    )
    assert "A lab.toml" in LAB["description"].replace("`", "")


def test_no_schema_has_null() -> None:
    """TOML has none: a key that is not wanted is left out."""
    for schema in (PLAN, LAB):
        for place, one in subschemas(schema):
            assert one.get("type") != "null", place
            assert "default" not in one or one["default"] is not None, place
