# SPDX-License-Identifier: MIT
"""WPP messages: arguments and text of a TraceMessage() record, by the trace message format file of its GUID.

The record holds only the arguments, each as its type writes it. In the text, ``%10!d!`` stands for the first
argument, with a printf specification. ``%0`` stands for the prefix of trace viewers, which is left out here.
``%!FUNC!``, ``%!LEVEL!`` and ``%!FLAGS!`` come from the format file. 1 to 9 are parts of the header.

Types: WDK:devtest/what-are-the-wpp-extended-format-specification-strings-.md; the WDK's defaultwpp.ini.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from harness.capture.etl import clock, guid
from harness.capture.etl.field import Field, InType, OutType
from harness.capture.etl.layout import Layout
from harness.capture.etl.record import MessageRecord
from harness.capture.etl.tmf import Argument, MessageFormat, Module

WIDEST = 256
"""Characters to which a specification may pad a value. A greater width is ignored."""

POINTER32, POINTER64 = 0x40, 0x80
"""Options of a message that give the size of its pointers. Without them it is that of the session's."""

_FIELDS: dict[str, tuple[int, int]] = {
    "ItemChar": (InType.INT8, 0),
    "ItemUChar": (InType.UINT8, 0),
    "ItemCharSign": (InType.INT8, 0),
    "ItemCharShort": (InType.INT8, 0),
    "ItemBool": (InType.UINT8, OutType.BOOLEAN),
    "ItemWChar": (InType.UINT16, OutType.STRING),
    "ItemShort": (InType.INT16, 0),
    "ItemUShort": (InType.UINT16, 0),
    "ItemLong": (InType.INT32, 0),
    "ItemULong": (InType.UINT32, 0),
    "ItemULongX": (InType.UINT32, OutType.HEX),
    "ItemEnum": (InType.INT32, 0),
    "ItemFlagsEnum": (InType.UINT32, 0),
    "ItemLongLong": (InType.INT64, 0),
    "ItemULongLong": (InType.UINT64, 0),
    "ItemLongLongX": (InType.UINT64, OutType.HEX),
    "ItemLongLongXX": (InType.UINT64, OutType.HEX),
    "ItemULongLongX": (InType.UINT64, OutType.HEX),
    "ItemULongLongXX": (InType.UINT64, OutType.HEX),
    "ItemLongLongO": (InType.UINT64, 0),
    "ItemQuad": (InType.INT64, 0),
    "ItemUQuad": (InType.UINT64, 0),
    "ItemFloat": (InType.FLOAT, 0),
    "ItemDouble": (InType.DOUBLE, 0),
    "ItemPtr": (InType.POINTER, 0),
    "ItemString": (InType.ANSI, 0),
    "ItemRString": (InType.ANSI, 0),
    "ItemMLString": (InType.ANSI, 0),
    "ItemWString": (InType.UTF16, 0),
    "ItemRWString": (InType.UTF16, 0),
    "ItemNWString": (InType.REST_UTF16, 0),
    "ItemPString": (InType.COUNTED_ANSI, 0),
    "ItemPWString": (InType.COUNTED_UTF16, 0),
    "ItemHexDump": (InType.COUNTED_BINARY, 0),
    "ItemHEXDump": (InType.COUNTED_BINARY, 0),
    "ItemSid": (InType.SID, 0),
    "ItemGuid": (InType.GUID, 0),
    "ItemGUID": (InType.GUID, 0),
    "ItemCLSID": (InType.GUID, 0),
    "ItemIID": (InType.GUID, 0),
    "ItemLIBID": (InType.GUID, 0),
    "ItemIPAddr": (InType.UINT32, OutType.IPV4),
    "ItemPort": (InType.UINT16, OutType.PORT),
    "ItemTimestamp": (InType.FILETIME, 0),
    "ItemTimeDelta": (InType.INT64, 0),
    "ItemWaitTime": (InType.INT64, 0),
    "ItemDueTime": (InType.INT64, 0),
    "ItemHRESULT": (InType.UINT32, OutType.HRESULT),
    "ItemNTSTATUS": (InType.UINT32, OutType.NTSTATUS),
    "ItemNTerror": (InType.UINT32, OutType.NTSTATUS),
    "ItemMerror": (InType.UINT32, OutType.WIN32_ERROR),
    "ItemWINERROR": (InType.UINT32, OutType.WIN32_ERROR),
    "ItemNDIS_STATUS": (InType.UINT32, OutType.NTSTATUS),
    "ItemNDIS_OID": (InType.UINT32, OutType.HEX),
    "ItemListByte": (InType.UINT8, 0),
    "ItemListShort": (InType.UINT16, 0),
    "ItemListLong": (InType.UINT32, 0),
    "ItemSetByte": (InType.UINT8, 0),
    "ItemSetShort": (InType.UINT16, 0),
    "ItemSetLong": (InType.UINT32, 0),
}
_BYTES = {"ItemIPV6Addr": (16, OutType.IPV6), "ItemMACAddr": (6, 0), "ItemChar4": (4, 0)}

_INSERT = re.compile(
    r"%!(?P<word>[A-Za-z]\w*)!|%(?P<number>\d{1,3})(?:!(?P<form>[^!\s]{0,24})!)?|%(?P<plain>[nt%])"
)
_FORM = re.compile(
    r"(?P<flags>[-+ 0#]*)(?P<width>\d*)(?:\.(?P<digits>\d*))?(?:hh?|ll?|I64|I32|I|w|L)?(?P<kind>[a-zA-Z])"
)
_INTEGERS = {"d": "d", "i": "d", "u": "d", "x": "x", "X": "X", "o": "o"}


def _field(argument: Argument, name: str) -> Field:
    if argument.kind in _BYTES:
        length, out_type = _BYTES[argument.kind]
        return Field(name=name, in_type=InType.BINARY, out_type=out_type, length=length)
    # An unknown type has no known size: the number of an unused type stops the reading with that reason.
    in_type, out_type = _FIELDS.get(argument.kind, (0xFFFF, 0))
    bits = argument.kind.startswith("ItemSet") or argument.kind == "ItemFlagsEnum"
    return Field(name=name, in_type=in_type, out_type=out_type, labels=argument.labels, bits=bits)


def layout(module: Module, message: MessageFormat) -> Layout:
    """Return the layout of a message's arguments, made on first use. Each is named by the source's expression for it."""
    known = module.layouts.get(message.number)
    if known is None:
        fields = tuple(_field(one, one.expression or f"%{one.number}") for one in message.arguments)
        known = module.layouts[message.number] = Layout(fields)
    return known


def pointer_size(record: MessageRecord, session_pointer: int) -> int:
    """Return the size in bytes of the pointers in a message's arguments."""
    if record.options & POINTER64:
        return 8
    return 4 if record.options & POINTER32 else session_pointer


def text(module: Module, message: MessageFormat, record: MessageRecord, values: dict[str, Any]) -> str:
    """Return a message's text with its arguments' ``values`` put in. An insert without a value stays unchanged."""
    fields = layout(module, message).fields
    known = {
        one.number: (value, one, field)
        for one, value, field in zip(message.arguments, values.values(), fields, strict=False)
    }
    words = {"FUNC": message.function, "LEVEL": message.level, "FLAGS": message.flags, "FILE": module.source}
    header: dict[int, Any] = {
        0: "",
        1: module.name,
        2: message.place,
        3: record.thread,
        7: record.sequence,
        8: record.process,
        9: record.processor,
    }

    def insert(match: re.Match[str]) -> str:
        if match["word"]:
            return words.get(match["word"].upper()) or match[0]
        if match["plain"]:
            return {"n": "\n", "t": "\t", "%": "%"}[match["plain"]]
        number, form = int(match["number"]), match["form"] or "s"
        if number in known:
            return _formatted(*known[number], form)
        if number in header:
            value = header[number]
            return _printf(form, value, str(value)) if number else ""
        return match[0]

    return _INSERT.sub(insert, message.text)


def _formatted(value: Any, argument: Argument, field: Field, form: str) -> str:
    if form.endswith("p") and isinstance(value, int):
        return f"{value:016X}" if value >> 32 else f"{value:08X}"
    return _printf(
        form, value, shown(value, argument, field), width=4 if field.in_type == InType.INT32 else 8
    )


def _printf(form: str, value: Any, string: str, *, width: int = 8) -> str:
    """Format a value by a printf specification. For an unusable one, return the value as text for people."""
    match = _FORM.fullmatch(form)
    if match is None or int(match["width"] or 0) > WIDEST or int(match["digits"] or 0) > WIDEST:
        return string
    flags, digits = match["flags"], match["digits"]
    kind = match["kind"]
    if kind in _INTEGERS and isinstance(value, int) and not isinstance(value, bool):
        if kind in "xXou" and value < 0:
            value += 1 << 8 * width
        made = str(
            f"%{flags}{match['width']}{'' if digits is None else '.' + digits}{_INTEGERS[kind]}" % value
        )
    elif kind in "eEfFgG" and isinstance(value, float):
        made = f"%{flags}{match['width']}{'' if digits is None else '.' + digits}{kind}" % value
    elif kind in "cC" and isinstance(value, int):
        made = chr(value & 0xFF)
    else:
        made = (
            f"%{'-' if '-' in flags else ''}{match['width']}{'' if digits is None else '.' + digits}s"
            % string
        )
    return made


def shown(value: Any, argument: Argument, field: Field) -> str:
    """Return an argument as a trace viewer shows it."""
    kind = argument.kind
    if isinstance(value, int) and kind.startswith("ItemList"):
        name = field.labels.get(value)
        return f"0x{value:08x}({name})" if name is not None else f"0x{value:08x}"
    if isinstance(value, int) and kind == "ItemEnum":
        return field.labels.get(value, str(value))
    if isinstance(value, int) and (kind.startswith("ItemSet") or (kind == "ItemFlagsEnum" and field.labels)):
        return "[" + ",".join(name for bit, name in field.labels.items() if value & bit) + "]"
    if isinstance(value, int) and kind in ("ItemHRESULT", "ItemNTSTATUS", "ItemNTerror"):
        return f"0x{value:08x}"
    if isinstance(value, int) and kind in ("ItemWaitTime", "ItemDueTime", "ItemTimeDelta", "ItemTimestamp"):
        # Kernel convention: a negative time is an interval from now, a positive one a date (WDK: KeWaitForSingleObject).
        absolute = kind == "ItemTimestamp" or (kind != "ItemTimeDelta" and value > 0)
        return clock.iso(value) if absolute else f"{value / clock.FILETIME_HZ:.7f} s"
    if isinstance(value, bytes):
        if kind == "ItemMACAddr":
            return value.hex("-")
        return value.decode("latin-1") if kind == "ItemChar4" else value.hex(" ")
    return str(value)


_IDENTITY = struct.Struct("<16sI")


def pdb_identity(payload: bytes) -> str:
    """Return file, GUID and age of the PDB that a DbgIdRsds record of the log header's class names; "" for others."""
    if len(payload) <= _IDENTITY.size:
        return ""
    signature, age = _IDENTITY.unpack_from(payload)
    name = payload[_IDENTITY.size :].split(b"\0", 1)[0].decode("utf-8", "replace")
    return f"{name} {{{guid.text(signature)}}} age {age}"
