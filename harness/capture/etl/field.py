# SPDX-License-Identifier: MIT
"""The description of one field of an event: the layout of its bytes, and how people want to see them.

Types: W32:ETW tdh.h (_TDH_IN_TYPE, _TDH_OUT_TYPE); TraceLogging and manifests share them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import msgspec


class InType(IntEnum):
    """The layout of bytes (TDH_INTYPE_*; the numbers are also TraceLogging's)."""

    NULL = 0
    UTF16 = 1
    ANSI = 2
    INT8 = 3
    UINT8 = 4
    INT16 = 5
    UINT16 = 6
    INT32 = 7
    UINT32 = 8
    INT64 = 9
    UINT64 = 10
    FLOAT = 11
    DOUBLE = 12
    BOOLEAN = 13
    BINARY = 14
    GUID = 15
    POINTER = 16
    FILETIME = 17
    SYSTEMTIME = 18
    SID = 19
    HEX32 = 20
    HEX64 = 21
    COUNTED_UTF16 = 22
    COUNTED_ANSI = 23
    STRUCT = 24
    COUNTED_BINARY = 25
    REST_UTF16 = 304
    REST_ANSI = 305
    WBEM_SID = 310


class OutType(IntEnum):
    """How a value should be shown (TDH_OUTTYPE_* as TraceLogging numbers them)."""

    NULL = 0
    NO_PRINT = 1
    STRING = 2
    BOOLEAN = 3
    HEX = 4
    PID = 5
    TID = 6
    PORT = 7
    IPV4 = 8
    IPV6 = 9
    SOCKET_ADDRESS = 10
    XML = 11
    JSON = 12
    WIN32_ERROR = 13
    NTSTATUS = 14
    HRESULT = 15
    FILETIME = 16
    SIGNED = 17
    UNSIGNED = 18
    DATE_TIME = 33
    UTF8 = 35
    PKCS7 = 36
    CODE_POINTER = 37
    DATE_TIME_UTC = 38


COUNTED = -1
"""A count or length that is in the payload, as a 16-bit number before the values."""

REST = -2
"""A count of as many values as the payload still has room for."""


class SystemTime(NamedTuple):
    """A SYSTEMTIME as it is in the payload; not checked against any calendar."""

    year: int
    month: int
    day_of_week: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int

    def iso(self) -> str:
        """Return it as ISO 8601; UTC is assumed."""
        return (
            f"{self.year:04}-{self.month:02}-{self.day:02}T"
            f"{self.hour:02}:{self.minute:02}:{self.second:02}.{self.millisecond:03}Z"
        )


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One field. ``count`` and ``length``: a number, an earlier field's name, COUNTED, REST (count only), or None.

    ``labels`` names values (``bits``: each set bit). ``in_type`` is a plain int: unknown ones must not fail to load.
    """

    name: str
    in_type: int
    out_type: int = 0
    count: int | str | None = None
    length: int | str | None = None
    members: tuple[Field, ...] = ()
    labels: dict[int, str] = {}
    bits: bool = False
