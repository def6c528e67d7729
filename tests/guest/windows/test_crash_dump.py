# SPDX-License-Identifier: MIT
"""Headers of crash dumps: one that Microsoft's debugger engine wrote, and arbitrary bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import GuestRefused
from harness.guest.windows.crash_dump import SIZE, decode_header

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "dump" / "mini-e2.dmp"


@pytest.mark.skipif(not REAL.is_file(), reason=f"no real dump: {REAL} is not there")
def test_a_real_header() -> None:
    """What its origin says of it: bug check 0xE2, four parameters, build 17763, four processors, a small dump."""
    header = decode_header(REAL.read_bytes()[:SIZE])
    assert (0xE2, (0x1111, 0x2222, 0x3333, 0x4444)) == (header.code, header.parameters)
    assert (17763, 4, "small", 0) == (header.build, header.processors, header.kind, header.size)


@settings(max_examples=examples(100))
@given(st.binary(max_size=SIZE + 8), st.booleans())
def test_any_bytes(data: bytes, signed: bool) -> None:
    """They are a header or refused in words."""
    if signed:
        data = b"PAGEDU64" + data
    if data.startswith(b"PAGEDU64") and len(data) >= SIZE:
        assert "bug check" in str(decode_header(data))
    else:
        words = "cut in its header" if data.startswith(b"PAGEDU64") else "no dump was written"
        with pytest.raises(GuestRefused, match=words):
            decode_header(data)
