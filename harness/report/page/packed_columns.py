# SPDX-License-Identifier: MIT
"""What a page draws, as columns of numbers: a long history's millions of numbers are read at once and never parsed.

A table is base64 of gzip of its columns one after the other: those of 64-bit floating point numbers, then those of 32-bit
whole ones, little-endian. ``harness/report/web/src/columns.ts`` reads it; how many rows it has follows from its length.
"""

from __future__ import annotations

import array
import base64
import gzip
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

WHOLE = range(-(1 << 31), 1 << 31)


def packed_columns(document: dict[str, Any]) -> dict[str, str]:
    """Take records, spans and known orders out of a report's document, and return each table packed, by its name.

    The labels of spans go with them, as packed JSON; the reasons of orders stay in the document as a list.
    """
    records, spans, order = (document.pop(name) for name in ("records", "spans", "order"))
    reasons = document["order_reasons"]
    document["order_reasons"] = list(reasons.values())
    labels: dict[str, int] = {}
    looks: dict[str, int] = {}
    texts = [
        (labels.setdefault(span[5], len(labels)), looks.setdefault(span[6], len(looks))) for span in spans
    ]
    place = {why: number for number, why in enumerate(reasons)}
    return {
        "records": _table(
            [records["t"]],
            [records[name] for name in ("n", "lane", "kind", "source", "cpu", "nt", "told")],
        ),
        "spans": _table(
            [[span[1] for span in spans], [max(0, span[2] - span[1]) for span in spans]],
            [
                *([span[column] for span in spans] for column in (0, 3, 4)),
                [label for label, _ in texts],
                [look for _, look in texts],
            ],
        ),
        "labels": _pack(msgspec.json.encode([list(labels), list(looks)])),
        "order": _table(
            [],
            [[one[0] for one in order], [one[1] for one in order], [place[one[2]] for one in order]],
        ),
    }


def _table(real: Sequence[Iterable[int]], whole: Sequence[Iterable[int]]) -> str:
    columns: list[array.array[Any]] = [array.array("d", column) for column in real]
    columns += [array.array("i", (one if one in WHOLE else -1 for one in column)) for column in whole]
    if sys.byteorder == "big":
        for column in columns:
            column.byteswap()
    return _pack(b"".join(column.tobytes() for column in columns))


def _pack(data: bytes) -> str:
    # Without a time, or no two reports of a run would be the same.
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode("ascii")
