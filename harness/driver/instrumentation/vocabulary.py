# SPDX-License-Identifier: MIT
"""The vocabulary of every provider: the definitions of Windows' ``winmeta.xml`` in the namespace ``win``.

Names and values: W32:WES/eventmanifestschema-leveltype-complextype.md, -opcodetype-, -inputtype-, -outputtype-; those
that the pages omit are measured. The texts are those of the message table of Windows' wevtapi.dll
(libyal/winevt-kb: docs/sources/message-files/MessageFile-wevtapi.dll.md).
"""

from __future__ import annotations

from typing import NamedTuple

WIN = "http://manifests.microsoft.com/win/2004/08/windows/events"
XS = "http://www.w3.org/2001/XMLSchema"


class Standard(NamedTuple):
    """A level, task, opcode or keyword of Windows: its value and its text in English."""

    value: int
    text: str


LEVELS = {
    "LogAlways": Standard(0, "Log Always"),
    "Critical": Standard(1, "Critical"),
    "Error": Standard(2, "Error"),
    "Warning": Standard(3, "Warning"),
    "Informational": Standard(4, "Information"),
    "Verbose": Standard(5, "Verbose"),
}
TASKS = {"None": Standard(0, "None")}
OPCODES = {
    "Info": Standard(0, "Info"),
    "Start": Standard(1, "Start"),
    "Stop": Standard(2, "Stop"),
    "DC_Start": Standard(3, "DCStart"),
    "DC_Stop": Standard(4, "DCStop"),
    "Extension": Standard(5, "Extension"),
    "Reply": Standard(6, "Reply"),
    "Resume": Standard(7, "Resume"),
    "Suspend": Standard(8, "Suspend"),
    "Send": Standard(9, "Send"),
    "Receive": Standard(240, "Receive"),
}
KEYWORDS = {
    "AnyKeyword": Standard(0, "AnyKeyword"),
    "ResponseTime": Standard(1 << 48, "Response Time"),
    "WDIContext": Standard(1 << 49, "WDI Context"),
    "WDIDiag": Standard(1 << 50, "WDI Diag"),
    "SQM": Standard(1 << 51, "SQM"),
    "AuditFailure": Standard(1 << 52, "Audit Failure"),
    "AuditSuccess": Standard(1 << 53, "Audit Success"),
    "CorrelationHint": Standard(1 << 54, "Correlation Hint"),
    "EventlogClassic": Standard(1 << 55, "Classic"),
}


class StandardChannel(NamedTuple):
    """A channel of Windows, for import by providers. Its text is its name. ``kind`` is the type of its log."""

    value: int
    kind: str


CHANNELS = {
    "TraceClassic": StandardChannel(0, "Debug"),
    "System": StandardChannel(8, "Admin"),
    "Application": StandardChannel(9, "Admin"),
    "Security": StandardChannel(10, "Admin"),
    "TraceLogging": StandardChannel(11, "Debug"),
}
CLASSIC_LOGS = frozenset({"System", "Application", "Security"})
"""The events of these logs keep the message numbers of classic event logs."""

OUT_TYPES = {
    (XS, "string"): 1,
    (XS, "dateTime"): 2,
    (XS, "byte"): 3,
    (XS, "unsignedByte"): 4,
    (XS, "short"): 5,
    (XS, "unsignedShort"): 6,
    (XS, "int"): 7,
    (XS, "unsignedInt"): 8,
    (XS, "long"): 9,
    (XS, "unsignedLong"): 10,
    (XS, "float"): 11,
    (XS, "double"): 12,
    (XS, "boolean"): 13,
    (XS, "GUID"): 14,
    (XS, "hexBinary"): 15,
    (WIN, "HexInt8"): 16,
    (WIN, "HexInt16"): 17,
    (WIN, "HexInt32"): 18,
    (WIN, "HexInt64"): 19,
    (WIN, "PID"): 20,
    (WIN, "TID"): 21,
    (WIN, "Port"): 22,
    (WIN, "IPv4"): 23,
    (WIN, "IPv6"): 24,
    (WIN, "SocketAddress"): 25,
    (WIN, "CIMDateTime"): 26,
    (WIN, "ETWTIME"): 27,
    (WIN, "Xml"): 28,
    (WIN, "ErrorCode"): 29,
    (WIN, "Win32Error"): 30,
    (WIN, "NTSTATUS"): 31,
    (WIN, "HResult"): 32,
    (WIN, "DateTimeCultureInsensitive"): 33,
    (WIN, "Json"): 34,
    (WIN, "Utf8"): 35,
    (WIN, "Pkcs7WithTypeInfo"): 36,
    (WIN, "CodePointer"): 37,
    (WIN, "DateTimeUtc"): 38,
}
"""The output types by namespace and name."""

OUT_ALIASES = {(XS, name): (WIN, name) for name in ("HexInt8", "HexInt16", "HexInt32", "HexInt64")}
"""Names that are also accepted: Microsoft's own manifests use xs:HexInt64."""


class InputType(NamedTuple):
    """An input type: its value, the output types it can have (the first is the default), and the attributes of its size.

    ``length``: an attribute ``length`` is allowed; ``sized``: it is required; ``counts``: a field of the type can be another
    field's length or count; ``maps``: a map can name its values.
    """

    value: int
    outputs: tuple[str, ...]
    length: bool = False
    sized: bool = False
    counts: bool = False
    maps: bool = False


IN_TYPES = {
    "UnicodeString": InputType(1, ("xs:string", "win:Xml", "win:Json"), length=True),
    "AnsiString": InputType(2, ("xs:string", "win:Xml", "win:Json", "win:Utf8"), length=True),
    "Int8": InputType(3, ("xs:byte", "xs:string"), counts=True),
    "UInt8": InputType(4, ("xs:unsignedByte", "win:HexInt8", "xs:string", "xs:boolean"), counts=True, maps=True),
    "Int16": InputType(5, ("xs:short",), counts=True),
    "UInt16": InputType(
        6, ("xs:unsignedShort", "win:Port", "win:HexInt16", "xs:string"), counts=True, maps=True
    ),
    "Int32": InputType(7, ("xs:int", "win:HResult"), counts=True),
    "UInt32": InputType(
        8,
        (
            "xs:unsignedInt", "win:PID", "win:TID", "win:IPv4", "win:ETWTIME", "win:ErrorCode", "win:Win32Error",
            "win:NTSTATUS", "win:HexInt32", "win:CodePointer",
        ),
        counts=True,
        maps=True,
    ),
    "Int64": InputType(9, ("xs:long",), counts=True),
    "UInt64": InputType(
        10, ("xs:unsignedLong", "win:ETWTIME", "win:HexInt64", "win:CodePointer"), counts=True
    ),
    "Float": InputType(11, ("xs:float",)),
    "Double": InputType(12, ("xs:double",)),
    "Boolean": InputType(13, ("xs:boolean",)),
    "Binary": InputType(
        14,
        ("xs:hexBinary", "win:IPv6", "win:SocketAddress", "win:Pkcs7WithTypeInfo"),
        length=True,
        sized=True,
    ),
    "GUID": InputType(15, ("xs:GUID",)),
    "Pointer": InputType(16, ("win:HexInt64", "win:CodePointer", "xs:long", "xs:unsignedLong")),
    "FILETIME": InputType(17, ("xs:dateTime", "win:DateTimeCultureInsensitive", "win:DateTimeUtc")),
    "SYSTEMTIME": InputType(18, ("xs:dateTime", "win:DateTimeCultureInsensitive", "win:DateTimeUtc")),
    "SID": InputType(19, ("xs:string",), length=True),
    "HexInt32": InputType(
        20,
        ("win:HexInt32", "win:ErrorCode", "win:Win32Error", "win:NTSTATUS", "win:CodePointer"),
        counts=True,
        maps=True,
    ),
    "HexInt64": InputType(21, ("win:HexInt64", "win:CodePointer"), counts=True),
    "CountedUnicodeString": InputType(22, ("xs:string", "win:Xml", "win:Json")),
    "CountedAnsiString": InputType(23, ("xs:string", "win:Xml", "win:Json", "win:Utf8")),
    "CountedBinary": InputType(25, ("xs:hexBinary", "win:IPv6", "win:SocketAddress", "win:Pkcs7WithTypeInfo")),
}  # fmt: skip
"""The input types by name."""
