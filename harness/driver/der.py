# SPDX-License-Identifier: MIT
"""DER: the encoding of ASN.1 in which catalogs are written (ITU-T X.690)."""

from __future__ import annotations

import datetime

INTEGER, BIT_STRING, OCTET_STRING, NULL, OBJECT, UTC_TIME, BMP_STRING = (
    0x02,
    0x03,
    0x04,
    0x05,
    0x06,
    0x17,
    0x1E,
)
SEQUENCE, SET, CONTEXT, CONSTRUCTED = 0x30, 0x31, 0x80, 0x20


def element(tag: int, content: bytes = b"") -> bytes:
    """Return an element: tag, length, content."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*elements: bytes) -> bytes:
    """Return a SEQUENCE."""
    return element(SEQUENCE, b"".join(elements))


def set_of(*elements: bytes) -> bytes:
    """Return a SET OF, with its elements in the order of their encodings."""
    return element(SET, b"".join(sorted(elements)))


def explicit(number: int, *elements: bytes) -> bytes:
    """Return elements under a context tag."""
    return element(CONTEXT | CONSTRUCTED | number, b"".join(elements))


def implicit(number: int, content: bytes = b"") -> bytes:
    """Return primitive content whose context tag replaces its own."""
    return element(CONTEXT | number, content)


def integer(value: int) -> bytes:
    """Return a non-negative INTEGER."""
    return element(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octets(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return element(OCTET_STRING, content)


def null() -> bytes:
    """Return a NULL."""
    return element(NULL)


def bmp_string(text: str) -> bytes:
    """Return a BMPString."""
    return element(BMP_STRING, text.encode("utf-16-be"))


def utc_time(moment: datetime.datetime) -> bytes:
    """Return a UTCTime."""
    return element(UTC_TIME, f"{moment:%y%m%d%H%M%SZ}".encode("ascii"))


def identifier(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER from its numbers."""
    first, second, *others = map(int, dotted.split("."))
    content = bytearray([40 * first + second])
    for number in others:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        content += bytes(reversed(groups))
    return element(OBJECT, bytes(content))
