# SPDX-License-Identifier: MIT
"""Compressed buffers: expands plain XPRESS, and recognises XPRESS Huffman and LZNT1 by their form.

A session or a merge that compresses its log (EVENT_TRACE_COMPRESSED_MODE) leaves each buffer's header unchanged and
compresses the data after it. No documented field of the header names the format, so the content must: an expanded
buffer begins with a record, an XPRESS Huffman block with the lengths of a complete prefix code, an LZNT1 block with
a chain of chunks that ends where the data does.

Plain XPRESS is LZ77 without entropy coding: 32 flags, most significant first, then a literal byte for each 0 and a
match for each 1. The offset of a match has 13 bits; its length has 3, which continue in a nibble that two matches
share, a byte, a 16-bit and a 32-bit number.

Formats: MS-XCA, sections 2.3 and 2.4 (plain LZ77), 2.1 and 2.2 (LZ77+Huffman), 2.5 (LZNT1). The sizes come from a
guest: the output never exceeds the size that the caller expects.
"""

from __future__ import annotations

import struct

MOST_RATIO = 1024
"""Bytes that one compressed byte may expand to. Beyond ``SPARE``, a buffer that expands further is refused."""

SPARE = 64 << 10
"""Bytes that any buffer may expand to, even a short one."""

ENDS, LONG_FORM, TOO_FAR_BACK, TOO_FEW = range(1, 5)
"""Why expanding fails (fast/expand.c has the same numbers)."""

_U16 = struct.Struct("<H")
_U32 = struct.Struct("<I")

_HUFFMAN_TABLE = 256
_LONGEST_CODE = 15


class CompressionError(ValueError):
    """Compressed bytes end early or contradict themselves. ``expanded`` is the output before that."""

    def __init__(self, message: str, expanded: bytes) -> None:
        super().__init__(message)
        self.expanded = expanded


def expand(raw: bytes, size: int) -> bytes:
    """Expand plain XPRESS to ``size`` bytes; further input is not read. Raises CompressionError."""
    out = bytearray()
    at, end, done = 0, len(raw), 0
    shared = -1  # the position of the byte whose upper nibble is still unused
    u16 = _U16.unpack_from
    try:
        while done < size:
            (flags,) = _U32.unpack_from(raw, at)
            at += 4
            left = 32
            while left:
                # Flags that were used are cleared, so the bits before the next 1 are a run of literals.
                run = left - flags.bit_length()
                if run:
                    out += raw[at : at + run]
                    at += run
                    done += run
                    left -= run
                    if not left:
                        break
                if at >= end or done >= size:
                    break
                left -= 1
                flags ^= 1 << left
                token = raw[at] | raw[at + 1] << 8
                at += 2
                distance = (token >> 3) + 1
                length = token & 7
                if length == 7:
                    if shared < 0:
                        length = raw[at] & 15
                        shared = at
                        at += 1
                    else:
                        length = raw[shared] >> 4
                        shared = -1
                    if length == 15:
                        length = raw[at]
                        at += 1
                        if length == 255:
                            (length,) = u16(raw, at)
                            at += 2
                            if not length:
                                (length,) = _U32.unpack_from(raw, at)
                                at += 4
                            if length < 22:
                                raise CompressionError(
                                    reason(LONG_FORM, end, len(out), size, length), bytes(out)
                                )
                            length -= 22
                        length += 15
                    length += 7
                length += 3
                begin = done - distance
                if begin < 0:
                    raise CompressionError(reason(TOO_FAR_BACK, end, len(out), size, distance), bytes(out))
                if length <= distance:
                    out += out[begin : begin + length]
                else:
                    length = min(length, size - done)
                    period = out[begin:]
                    out += (period * (length // distance + 1))[:length]
                done += length
            if at >= end:
                break
    except (struct.error, IndexError):
        raise CompressionError(reason(ENDS, end, len(out), size), bytes(out)) from None
    if len(out) < size:
        raise CompressionError(reason(TOO_FEW, end, len(out), size), bytes(out))
    return bytes(out[:size])


def reason(why: int, compressed: int, expanded: int, size: int, number: int = 0) -> str:
    """Return why expanding failed; ``number`` is the length or the distance of the invalid match."""
    return {
        ENDS: f"the compressed data ends within a match, at byte {compressed}",
        LONG_FORM: f"a match of {number} bytes is written as a long one",
        TOO_FAR_BACK: f"a match {number} bytes back stands after {expanded} bytes",
        TOO_FEW: f"{compressed} compressed bytes expand to {expanded} bytes, not to the {size} that the header names",
    }[why]


def limit(compressed: int) -> int:
    """Return how many bytes a buffer with this many compressed bytes may expand to."""
    return SPARE + MOST_RATIO * compressed


def foreign(raw: bytes) -> str:
    """Return the format of ``raw`` by its form, XPRESS Huffman or LZNT1; "" for neither."""
    if _is_huffman(raw):
        return "XPRESS Huffman"
    return "LZNT1" if _is_lznt1(raw) else ""


def _is_huffman(raw: bytes) -> bool:
    """Return whether the first 256 bytes are 512 code lengths of 4 bits that make a complete prefix code."""
    if len(raw) <= _HUFFMAN_TABLE:
        return False
    room = 0
    for pair in raw[:_HUFFMAN_TABLE]:
        for length in (pair & 15, pair >> 4):
            if length:
                room += 1 << (_LONGEST_CODE - length)
    return room == 1 << _LONGEST_CODE


def _is_lznt1(raw: bytes) -> bool:
    """Return whether chunks with the signature 3 follow one another to the end, or to a header of zeros."""
    at, end = 0, len(raw)
    while at + 2 <= end:
        (head,) = _U16.unpack_from(raw, at)
        if not head:
            return at > 0
        if head & 0x7000 != 0x3000:
            return False
        at += 3 + (head & 0x0FFF)
    return 0 < at == end
