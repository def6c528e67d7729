# SPDX-License-Identifier: MIT
"""Writes event trace logs, so that the reader can be shown what no recorded log happens to hold.

Everything is built from the layouts in docs/etl.md, independently of the reader: no constant is imported from it.
"""

from __future__ import annotations

import struct
import uuid

BUFFER = 1024
START = 1_000_000
HZ = 10_000_000
START_FILETIME = 133_000_000_000_000_000
PROVIDER = uuid.UUID(int=1)


def padded(raw: bytes, filler: bytes = b"\xff") -> bytes:
    """Pad a record to a multiple of eight bytes."""
    return raw + filler * (-len(raw) % 8)


def event(
    time: int,
    payload: bytes = b"",
    *,
    provider: uuid.UUID = PROVIDER,
    event_id: int = 1,
    version: int = 0,
    opcode: int = 0,
    level: int = 4,
    thread: int = 11,
    process: int = 22,
    items: list[tuple[int, bytes]] | None = None,
    wide: bool = True,
) -> bytes:
    """An EVENT_HEADER record; ``items`` are extended data items as (type, bytes)."""
    extended = b""
    for place, (kind, data) in enumerate(items or []):
        whole = (8 + len(data) + 7) & ~7
        more = 1 if place + 1 < len(items or []) else 0
        extended += (struct.pack("<HHHH", whole, kind, more, len(data)) + data).ljust(whole, b"\0")
    flags = (1 if items else 0) | (0x40 if wide else 0x20)
    size = 80 + len(extended) + len(payload)
    head = struct.pack(
        "<HBBHHIIq16sHBBBBHQQ16s",
        size, 19 if wide else 18, 0xC0, flags, 0, thread, process, time, provider.bytes_le,
        event_id, version, 0, level, opcode, 0, 0, 0, bytes(16),
    )  # fmt: skip
    return padded(head + extended + payload)


def system(time: int, hook: int, payload: bytes = b"", *, version: int = 2, header_type: int = 2) -> bytes:
    """A SYSTEM_TRACE_HEADER record (1, 2), or the compact form without processor times (3, 4)."""
    times = struct.pack("<Q", 0) if header_type in (1, 2) else b""
    size = 24 + len(times) + len(payload)
    head = struct.pack("<HBBHHIIq", version, header_type, 0xC0, size, hook, 4, 8, time)
    return padded(head + times + payload)


def perf(time: int, hook: int, payload: bytes = b"", *, version: int = 2, header_type: int = 17) -> bytes:
    """A PERFINFO_TRACE_HEADER record."""
    return padded(struct.pack("<HBBHHq", version, header_type, 0xC0, 16 + len(payload), hook, time) + payload)


def classic(
    time: int, provider: uuid.UUID, opcode: int, payload: bytes = b"", *, header_type: int = 20
) -> bytes:
    """An EVENT_TRACE_HEADER record."""
    size = 48 + len(payload)
    head = struct.pack(
        "<HBBBBHIIq16sQ", size, header_type, 0xC0, opcode, 3, 2, 4, 8, time, provider.bytes_le, 0
    )
    return padded(head + payload)


def instance(time: int, provider: uuid.UUID, opcode: int, payload: bytes = b"") -> bytes:
    """An EVENT_INSTANCE_GUID_HEADER record: instance 5, child of instance 6."""
    size = 72 + len(payload)
    head = struct.pack(
        "<HBBBBHIIq16sQII16s", size, 21, 0xC0, opcode, 3, 2, 4, 8, time, provider.bytes_le, 0, 5, 6, bytes(16)
    )
    return padded(head + payload)


def message(time: int | None, number: int, payload: bytes = b"", *, guid: uuid.UUID | None = None) -> bytes:
    """A MESSAGE_TRACE_HEADER record with a sequence number, and GUID, time and thread as asked for."""
    options = 1 | (2 if guid else 0) | (8 if time is not None else 0) | 32
    body = struct.pack("<I", 77) + (guid.bytes_le if guid else b"")
    body += b"" if time is None else struct.pack("<q", time)
    body += struct.pack("<II", 4, 8) + payload
    return padded(struct.pack("<HBBHH", 8 + len(body), 0, 0x90, number, options) + body)


def timed(time: int, payload: bytes = b"") -> bytes:
    """A TIMED_TRACE_HEADER record."""
    return padded(struct.pack("<HHIq", 16 + len(payload), 0xB000, 9, time) + payload)


def failed(payload: bytes = b"oops") -> bytes:
    """A record of header type 13, "error while logging event"."""
    return padded(struct.pack("<HBBI", 8 + len(payload), 13, 0xC0, 0) + payload)


def wnode(time: int, payload: bytes = b"") -> bytes:
    """A WNODE_HEADER record, the only one whose marker has no top bit."""
    return padded(struct.pack("<IIQq16sII", 48 + len(payload), 0, 0, time, bytes(16), 0, 0) + payload)


def buffer(
    *records: bytes,
    processor: int = 0,
    sequence: int = 1,
    size: int = BUFFER,
    flags: int = 0x20,
    kind: int = 0,
    time: int = 0,
    used: int | None = None,
    saved: int | None = None,
) -> bytes:
    """A whole buffer: WMI_BUFFER_HEADER, records, 0xFF to the end."""
    content = b"".join(records)
    end = 72 + len(content) if used is None else used
    head = struct.pack(
        "<IIIiqqQHHIIHH16s",
        size, end if saved is None else saved, end, 0, time, sequence, 0, processor, 3, 3, end, flags, kind, bytes(16),
    )  # fmt: skip
    assert len(head) + len(content) <= size
    return (head + content).ljust(size, b"\xff")


def log_header(
    *,
    time: int = START,
    size: int = BUFFER,
    events_lost: int = 0,
    buffers_lost: int = 0,
    end: int = START_FILETIME + 1,
    clock: int = 1,
    frequency: int = HZ,
    mhz: int = 2400,
    mode: int = 1,
    pointer: int = 8,
    written: int = 2,
    version: tuple[int, int] = (10, 0),
    name: str = "lab",
    file_name: str = "C:\\lab\\lab.etl",
) -> bytes:
    """The TRACE_LOGFILE_HEADER payload of the first record."""
    head = struct.pack(
        "<IBBBBIIqIIIIIIII",
        size, *version, 1, 5, 20348, 4, end, 156_250, 0, mode, written, 1, pointer, events_lost, mhz,
    )  # fmt: skip
    head += bytes(2 * pointer) + bytes(172)
    head += bytes(-len(head) % 8)
    head += struct.pack("<qqqII", START_FILETIME - 5, frequency, START_FILETIME, clock, buffers_lost)
    return head + f"{name}\0{file_name}\0".encode("utf-16-le")


def header_buffer(
    *,
    size: int = BUFFER,
    time: int = START,
    payload: bytes | None = None,
    **fields: int | str | tuple[int, int],
) -> bytes:
    """The first buffer of a log."""
    body = log_header(time=time, size=size, **fields) if payload is None else payload  # type: ignore[arg-type]
    return buffer(system(time, 0, body), sequence=0, size=size, kind=4)


def schema(name: str, *fields: bytes) -> bytes:
    """A TraceLogging description: tag byte, event name, fields."""
    body = b"\0" + name.encode() + b"\0" + b"".join(fields)
    return struct.pack("<H", 2 + len(body)) + body


def described(name: str, in_type: int, out_type: int = 0, *, tail: bytes = b"") -> bytes:
    """A field of a TraceLogging description; ``tail`` is a count or a custom schema."""
    types = bytes([in_type | 0x80, out_type]) if out_type else bytes([in_type])
    return name.encode() + b"\0" + types + tail


def traits(name: str) -> bytes:
    """A provider's traits with nothing but its name."""
    return struct.pack("<H", 3 + len(name.encode())) + name.encode() + b"\0"


def xpress(raw: bytes) -> bytes:
    """Compress by plain XPRESS (MS-XCA 2.3), taking the nearest earlier match of three bytes or more."""
    out = bytearray()
    seen: dict[bytes, int] = {}
    flags, count, flags_at, shared, at = 0, 32, 0, -1, 0

    def flag(bit: int) -> None:
        nonlocal flags, count, flags_at
        if count == 32:
            flags, count, flags_at = 0, 0, len(out)
            out.extend(bytes(4))
        flags |= bit << (31 - count)
        count += 1
        out[flags_at : flags_at + 4] = struct.pack("<I", flags)

    while at < len(raw):
        found = seen.get(raw[at : at + 3], -1)
        seen[raw[at : at + 3]] = at
        if found < 0 or at - found > 8192 or at + 3 > len(raw):
            flag(0)
            out.append(raw[at])
            at += 1
            continue
        size = 3
        while at + size < len(raw) and raw[found + size] == raw[at + size]:
            size += 1
        flag(1)
        out += struct.pack("<H", (at - found - 1) << 3 | min(size - 3, 7))
        if size >= 10:
            nibble = min(size - 10, 15)
            if shared < 0:
                shared = len(out)
                out.append(nibble)
            else:
                out[shared] |= nibble << 4
                shared = -1
            if nibble == 15:
                out.append(min(size - 25, 255))
                if size - 25 >= 255:
                    wide = size - 3
                    out += struct.pack("<H", wide) if wide < 65536 else struct.pack("<HI", 0, wide)
        at += size
    if count < 32:
        # What is left of the flags says that matches follow; the reader finds the end of the data there.
        out[flags_at : flags_at + 4] = struct.pack("<I", flags | ((1 << (32 - count)) - 1))
    return bytes(out)


def lznt1(raw: bytes) -> bytes:
    """Store by LZNT1 (MS-XCA 2.5): chunks of at most 4,096 bytes, none of them compressed."""
    chunks = [raw[at : at + 4096] for at in range(0, len(raw), 4096)]
    return b"".join(struct.pack("<H", 0x3000 | (len(chunk) - 1)) + chunk for chunk in chunks)


def huffman(raw: bytes) -> bytes:
    """Store by XPRESS Huffman (MS-XCA 2.1): every literal byte has a code of eight bits, its own number."""
    words = raw.ljust((len(raw) + 1) & ~1, b"\0")
    return bytes([0x88] * 128 + [0] * 128) + b"".join(
        words[at + 1 : at - 1 if at else None : -1] for at in range(0, len(words), 2)
    )


def compressed(whole: bytes, content: bytes | None = None) -> bytes:
    """Compress a buffer as ETW does: its header stays, but for its size; 0xFF to the end is left out."""
    used = struct.unpack_from("<I", whole, 4)[0]
    content = xpress(whole[72:used]) if content is None else content
    raw = bytearray(whole[:72] + content)
    struct.pack_into("<I", raw, 0, len(raw))
    struct.pack_into("<H", raw, 0x34, struct.unpack_from("<H", raw, 0x34)[0] | 0x40)
    return bytes(raw)


def event_info(
    provider: uuid.UUID,
    event_id: int,
    properties: list[dict[str, int | str]],
    *,
    version: int = 0,
    opcode: int = 0,
    task: int = 0,
    top: int | None = None,
    source: int = 0,
    event_class: uuid.UUID | None = None,
    texts: dict[str, str] | None = None,
) -> bytes:
    """A TRACE_EVENT_INFO. A property has flags, name, in_type, out_type, map, count, length as its structure does;

    ``texts`` may have provider, task, opcode, message. Strings follow the array, as Windows writes them.
    """
    texts = texts or {}
    strings = b""
    end = 112 + 24 * len(properties)

    def put(text: str | None) -> int:
        nonlocal strings
        if text is None:
            return 0
        at = end + len(strings)
        strings += f"{text}\0".encode("utf-16-le")
        return at

    array = b""
    for one in properties:
        named = one.get("map")
        array += struct.pack(
            "<IIHHIHHI",
            one.get("flags", 0),
            put(str(one["name"])),
            one.get("in_type", 8),
            one.get("out_type", 0),
            put(named if isinstance(named, str) else None),
            one.get("count", 1),
            one.get("length", 0),
            0,
        )
    offsets = [0] * 13
    for place, name in ((0, "provider"), (4, "task"), (5, "opcode"), (6, "message")):
        offsets[place] = put(texts.get(name))
    head = struct.pack(
        "<16s16sHBBBBHQI",
        provider.bytes_le, (event_class or uuid.UUID(int=0)).bytes_le,
        event_id, version, 0, 4, opcode, task, 0, source,
    )  # fmt: skip
    counts = struct.pack("<III", len(properties), len(properties) if top is None else top, 0)
    return head + struct.pack("<12I", *offsets[:12]) + counts + array + strings


def map_info(provider: uuid.UUID, name: str, entries: dict[int, str], *, flags: int = 1) -> bytes:
    """A provider's GUID and an EVENT_MAP_INFO; texts end in a blank, as those of message tables do."""
    at = 16 + 8 * len(entries)
    strings = f"{name}\0".encode("utf-16-le")
    array = b""
    for value, text in entries.items():
        array += struct.pack("<II", at + len(strings), value)
        strings += f"{text} \0".encode("utf-16-le")
    return provider.bytes_le + struct.pack("<IIII", at, flags, len(entries), 0) + array + strings


METADATA = uuid.UUID("bbccf6c1-6cd1-48c4-80ff-839482e37671")


def manifest_chunks(time: int, provider: uuid.UUID, xml: bytes, size: int) -> list[bytes]:
    """The events by which an EventSource sends its manifest, in chunks of ``size`` bytes."""
    parts = [xml[at : at + size] for at in range(0, len(xml), size)]
    records = []
    for number, part in enumerate(parts):
        payload = struct.pack("<BBBBHH", 1, 1, 0, 0x5B, len(parts), number) + part
        head = struct.pack(
            "<HBBHHIIq16sHBBBBHQQ16s",
            80 + len(payload), 19, 0xC0, 0x40, 0, 11, 22, time + number, provider.bytes_le,
            0xFFFE, 1, 0, 0, 0xFE, 0xFFFE, 0, 0, bytes(16),
        )  # fmt: skip
        records.append(padded(head + payload))
    return records
