# SPDX-License-Identifier: MIT
"""Reads the columns of a page, as its script does, but by the layout that the page's documentation gives."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Mapping
from typing import Any


def unpacked(told: Mapping[str, Any], packed: Mapping[str, str]) -> dict[str, Any]:
    """Return a document with what is drawn in it: ``told`` is the page's JSON, ``packed`` its tables by name."""
    data = {name: gzip.decompress(base64.b64decode(text)) for name, text in packed.items()}
    times, *records = _columns(data["records"], "d" + "i" * 7)
    begins, lengths, *spans = _columns(data["spans"], "dd" + "i" * 5)
    labels, looks = json.loads(data["labels"])
    reasons = told["order_reasons"]
    return {
        **told,
        "records": {
            "t": times,
            **dict(zip(("n", "lane", "kind", "source", "cpu", "nt", "told"), records, strict=True)),
        },
        "spans": [
            [lane, begin, begin + length, first, last, labels[label], looks[look]]
            for begin, length, lane, first, last, label, look in zip(begins, lengths, *spans, strict=True)
        ],
        "order": [
            [before, after, reasons[why]]
            for before, after, why in zip(*_columns(data["order"], "iii"), strict=True)
        ],
    }


def _columns(data: bytes, kinds: str) -> list[list[int]]:
    rows, rest = divmod(len(data), struct.calcsize(f"<{kinds}"))
    assert 0 == rest
    values = iter(struct.unpack("<" + "".join(f"{rows}{kind}" for kind in kinds), data))
    return [[int(next(values)) for _ in range(rows)] for _ in kinds]
