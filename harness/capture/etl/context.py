# SPDX-License-Identifier: MIT
"""The data around an event's own values: its activity, its user, and the stack from which it was logged.

Layouts: W32:evntcons.h, EVENT_HEADER_EXT_TYPE_* and the EVENT_EXTENDED_ITEM_* structures.
"""

from __future__ import annotations

import struct

import msgspec

from harness.capture.etl import guid
from harness.capture.etl.field import Field, InType
from harness.capture.etl.layout import Layout
from harness.capture.etl.record import AnyLogRecord, EventRecord

RELATED_ACTIVITY, USER, SESSION, INSTANCE, STACK32, STACK64 = 1, 2, 3, 4, 5, 6
PROCESS_START_KEY, CONTAINER, STACK_KEY32, STACK_KEY64 = 13, 16, 17, 18
"""Types of extended data items."""

_SID = Layout((Field(name="user", in_type=InType.SID),))


class EventContext(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known around an event; unknown parts are left out.

    ``activity`` and ``related_activity`` are GUIDs, ``user`` a SID, ``session`` a terminal session, ``instance`` and
    ``parent_instance`` the numbers of TraceEventInstance(), ``stack`` return addresses, innermost first. ``stack_match``
    joins the kernel's part of a stack with the user's part. ``stack_key`` refers to a stack that was logged elsewhere.
    """

    activity: str = ""
    related_activity: str = ""
    user: str = ""
    session: int | None = None
    instance: int | None = None
    parent_instance: int | None = None
    process_start_key: int | None = None
    container: str = ""
    stack: tuple[int, ...] = ()
    stack_match: int | None = None
    stack_key: int | None = None


NOTHING = EventContext()
"""The context of a record without any data around its values."""


def of(record: AnyLogRecord) -> EventContext:
    """Return the context of a record. Only the headers of manifest and TraceLogging events have one."""
    if not isinstance(record, EventRecord):
        return NOTHING
    found: dict[str, object] = {}
    if record.activity != guid.NIL:
        found["activity"] = guid.text(record.activity)
    for item in record.extended:
        _take(found, item.type, item.data)
    return msgspec.convert(found, EventContext) if found else NOTHING


def _take(found: dict[str, object], kind: int, data: bytes) -> None:
    """Add the content of one extended item; a damaged item adds nothing."""
    if kind == RELATED_ACTIVITY and len(data) >= 16:
        found["related_activity"] = guid.text(data[:16])
    elif kind == USER:
        user = _SID.read(data, 8)[0].get("user")
        if user:
            found["user"] = user
    elif kind == SESSION and len(data) >= 4:
        found["session"] = int.from_bytes(data[:4], "little")
    elif kind == INSTANCE and len(data) >= 8:
        found["instance"], found["parent_instance"] = struct.unpack_from("<II", data)
    elif kind in (STACK32, STACK64) and len(data) >= 8:
        width = 4 if kind == STACK32 else 8
        count = (len(data) - 8) // width
        found["stack_match"] = int.from_bytes(data[:8], "little")
        found["stack"] = struct.unpack_from(f"<{count}{'I' if width == 4 else 'Q'}", data, 8)
    elif kind in (STACK_KEY32, STACK_KEY64) and len(data) >= 16 - 4 * (kind == STACK_KEY32):
        found["stack_match"] = int.from_bytes(data[:8], "little")
        found["stack_key"] = int.from_bytes(data[8:16], "little")
    elif kind == PROCESS_START_KEY and len(data) >= 8:
        found["process_start_key"] = int.from_bytes(data[:8], "little")
    elif kind == CONTAINER and len(data) >= 16:
        found["container"] = guid.text(data[:16])
