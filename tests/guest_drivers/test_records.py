# SPDX-License-Identifier: MIT
"""The driver's table of records and the reader's are the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from harness.history import driver
from harness.history.driver import AnyDriverRecord, DriverRecord
from harness.history.record import Record

HEADER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify" / "src" / "records.h"
DEFINITION = re.compile(r"#define (HPN_RECORD_[A-Z_]+)\(FIELD, Type\) \\\n((?:    FIELD\(.*\)(?: \\)?\n)+)")
FIELD = re.compile(r"FIELD\(Type, (\w+), (\w+), (\w+)\)")
RECORD = re.compile(r"RECORD\((\w+), \"([a-z.]+)\", (HPN_RECORD_[A-Z_]+)\)")

Field = tuple[str, str]


@pytest.fixture(scope="module")
def table() -> dict[str, list[Field]]:
    """Each list of fields by the name of its macro: (key on the wire, format)."""
    return {
        name: [(wire, form) for _, wire, form in FIELD.findall(body)]
        for name, body in DEFINITION.findall(HEADER.read_text())
    }


def own_fields(kind: type[Record]) -> list[str]:
    """The fields of a record that neither Record nor DriverRecord has, in order."""
    inherited = set(DriverRecord.__struct_fields__)
    return [name for name in kind.__struct_fields__ if name not in inherited]


def expected_format(kind: type[Record], name: str) -> set[str]:
    """The formats that suit a field of the reader's table."""
    if name == "boot":
        return {"Nonce"}
    if name in driver.HEX:
        return {"Hexadecimal"}
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    return {"Decimal", "Signed"} if types[name] is int else {"Text", "WideText"}


def test_every_kind_has_its_tag(table: dict[str, list[Field]]) -> None:
    """The driver and the reader know the same kinds by the same tags and names."""
    written = {(kind, tag) for kind, tag, _ in RECORD.findall(HEADER.read_text())}
    read = {(kind.__name__, kind.__struct_config__.tag) for kind in get_args(AnyDriverRecord)}
    assert read == written


@pytest.mark.parametrize("kind", get_args(AnyDriverRecord), ids=lambda kind: kind.__name__)
def test_fields_of_a_kind(table: dict[str, list[Field]], kind: type[Record]) -> None:
    """A kind's own fields have the same keys, in the same order, written as they are read."""
    macros = {name: macro for name, _, macro in RECORD.findall(HEADER.read_text())}
    fields = table[macros[kind.__name__]]
    assert own_fields(kind) == [wire for wire, _ in fields]
    assert [] == [(wire, form) for wire, form in fields if form not in expected_format(kind, wire)]


def test_common_fields(table: dict[str, list[Field]]) -> None:
    """Head and sample together are what every driver record carries, in order."""
    common = table["HPN_RECORD_HEAD"] + table["HPN_RECORD_SAMPLE"]
    inherited = [
        name
        for name in DriverRecord.__struct_fields__
        if name not in Record.__struct_fields__ and name != "channel"
    ]
    assert inherited == [wire for wire, _ in common]
    assert [] == [(wire, form) for wire, form in common if form not in expected_format(DriverRecord, wire)]


WIDEST = {
    "seq": "9" * 13, "qpc": "9" * 18, "boot": "f" * 16, "driver": "x" * 16, "cpu": "511", "irql": "15",
    "group": "65535", "idx_group": "65535", "number": "63", "idx_number": "63", "groups": "65535", "state": "2",
    "call": "driver_entry", "cls": "memory", "version": "1.0", "mode": "nonpnp", "what": "thread",
    "enter": "9" * 13, "nonce": "x" * 32, "handle": "1", "back_idx": "511", "nt": "4294967295", "max_in_group": "64",
    "active": "512", "active_g0": "64", "active_g0_ex": "64", "maximum": "512",
}  # fmt: skip
"""The widest value that a field takes in practice: a sequence number of 10^13 is 300,000 years of ten records a second."""

WIDEST_OF_FORMAT = {
    "Decimal": "9" * 13,
    "Hexadecimal": "0x" + "f" * 16,
    "Text": "x" * 16,
    "WideText": "x" * 100,
}
NARROW_HEXADECIMAL = {"status", "op", "idx_status", "result", "ret", "flags"}


@pytest.mark.parametrize("kind", get_args(AnyDriverRecord), ids=lambda kind: kind.__name__)
def test_widest_line_fits(table: dict[str, list[Field]], kind: type[Record]) -> None:
    """No record outgrows the 512 bytes that one DbgPrintEx call transmits."""

    def words(fields: list[Field]) -> str:
        return "".join(
            f" {wire}={'0x' + 'f' * 8 if wire in NARROW_HEXADECIMAL else WIDEST.get(wire, WIDEST_OF_FORMAT.get(form))}"
            for wire, form in fields
        )

    macros = {name: (tag, macro) for name, tag, macro in RECORD.findall(HEADER.read_text())}
    tag, macro = macros[kind.__name__]
    line = (
        "HPN1" + words(table["HPN_RECORD_HEAD"]) + f" ev={tag}" + words(table["HPN_RECORD_SAMPLE"])
        + words(table[macro]) + " crc=01234567\n"
    )  # fmt: skip
    assert len(line) <= 512
