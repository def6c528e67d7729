# SPDX-License-Identifier: MIT
"""The compiled part as a shared library: its functions, and the structure of its answers (fast.h)."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from harness.capture.etl import compression
from harness.capture.etl.compression import CompressionError
from harness.capture.etl.counts import KINDS

SOURCES = tuple(sorted(Path(__file__).parent.glob("*.c")))
HEADER = Path(__file__).parent / "fast.h"

(WANTS_BUFFER, WANTS_ROOM, WANTS_KEY, WANTS_RECORD, WANTS_SECOND, NO_MEMORY) = range(6)
_SLACK = 64 << 10
"""Bytes that expanding may write past the requested size."""

_i64, _u64, _i32, _pointer = ctypes.c_int64, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p


class FoundDamage(ctypes.Structure):
    """Why a walk ended within a buffer, the start of that sequence of records, and two numbers with details."""

    _fields_ = (
        ("offset", _u64),
        ("at", _u64),
        ("expanded", _i64),
        ("code", _i64),
        ("first", _i64),
        ("second", _i64),
    )


class ReaderState(ctypes.Structure):
    """The visible state of a reader: the text so far, the record that it asks for, the counts."""

    _fields_ = (
        ("out", _pointer),
        ("out_size", _u64),
        ("record", _pointer),
        ("record_size", _u64),
        ("record_time", _i64),
        ("record_processor", _i64),
        ("second", _i64),
        ("records", _u64),
        ("late", _u64),
        ("damages", ctypes.POINTER(FoundDamage)),
        ("damage_count", _u64),
        ("kinds", _u64 * len(KINDS)),
        ("processors", _u64 * 2048),
        ("counts", ctypes.POINTER(_u64)),
        ("count_size", _u64),
    )


_reader = ctypes.POINTER(ReaderState)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "fast_new": (_reader, (_i32, _i64, _i64, _i64)),
    "fast_free": (None, (_reader,)),
    "fast_open": (_i64, (_reader, ctypes.c_char_p, _u64, _u64, _i32, _i64, _i32)),
    "fast_run": (_i32, (_reader, _i32, _i64)),
    "fast_answer": (_i32, (_reader, ctypes.c_char_p, _u64)),
    "fast_second": (None, (_reader, _i64, ctypes.c_char_p, _u64, ctypes.c_char_p, _u64)),
    "fast_taken": (None, (_reader,)),
    "fast_noted": (None, (_reader,)),
    "fast_count": (_i32, (_reader, _u64)),
    "fast_define": (_i32, (_reader, _pointer, _pointer, ctypes.c_char_p, _u64)),
    "fast_learn": (_i32, (_reader, ctypes.c_int32)),
    "fast_forget": (None, (_reader,)),
    "fast_between": (None, (_reader, _i32, _i64, _i32, _i64)),
    "fast_only": (_i32, (_reader, _i32, _pointer, _u64)),
    "fast_expand": (
        _i32,
        (ctypes.c_char_p, _u64, _pointer, _u64, ctypes.POINTER(_u64), ctypes.POINTER(_u64)),
    ),
}


class Library:
    """A loaded library. Raises OSError when ``path`` is not a library, AttributeError when it is another library."""

    def __init__(self, path: Path) -> None:
        loaded = ctypes.CDLL(str(path))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
        self.functions: Any = loaded

    def expand(self, raw: bytes, size: int) -> bytes:
        """Expand like :func:`harness.capture.etl.compression.expand`."""
        room = ctypes.create_string_buffer(size + _SLACK)
        made, number = _u64(), _u64()
        why = self.functions.fast_expand(raw, len(raw), room, size, made, number)
        expanded = ctypes.string_at(room, made.value if why else size)
        if why:
            raise CompressionError(
                compression.reason(why, len(raw), len(expanded), size, number.value), expanded
            )
        return expanded
