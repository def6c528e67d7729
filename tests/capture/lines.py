# SPDX-License-Identifier: MIT
"""Writes driver records as the driver would: the encoder that the decoder's tests are checked against."""

from __future__ import annotations

import urllib.parse
import zlib

import msgspec

from harness.history.driver import HEX, DriverRecord

LEADING = ("seq", "qpc", "boot", "driver")
UNQUOTED = "".join(chr(code) for code in range(33, 127) if chr(code) not in "%=")


def encode_line(record: DriverRecord) -> bytes:
    """Return the line of ``record``, newline included."""
    values = {k: v for k, v in msgspec.structs.asdict(record).items() if k not in ("n", "host_ns", "channel")}
    ordered = [*LEADING, "ev", *(key for key in values if key not in LEADING)]
    values["ev"] = str(type(record).__struct_config__.tag)
    words = []
    for key in ordered:
        value = values[key]
        if isinstance(value, str):
            text = urllib.parse.quote(value, safe=UNQUOTED)
        else:
            text = f"{value:#x}" if key in HEX else str(value)
        words.append(f"{key}={text}")
    body = ("HPN1 " + " ".join(words)).encode()
    return body + f" crc={zlib.crc32(body):08x}\n".encode()
