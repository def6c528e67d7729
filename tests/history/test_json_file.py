# SPDX-License-Identifier: MIT
"""JSON files that somebody else may have written are decoded, or passed over."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.history.json_file import decoded, read_json


class Thing(msgspec.Struct):
    name: str
    more: dict[str, int] = {}


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_taken(data: bytes) -> None:
    """Whatever it is, it is a thing or nothing."""
    assert isinstance(decoded(data, Thing), Thing | None)


DEEP = b'{"name":"x","z":' + b"[" * 100_000


@pytest.mark.parametrize(
    "data", [DEEP, b"[" * 100_000, b'{"name":"\xff"}', b'{"\xff":1}', b"", b"null", b"[]"]
)
def test_nonsense_is_nothing(tmp_path: Path, data: bytes) -> None:
    """Deep nesting and bytes that are no UTF-8 raise nothing, from memory or from a file."""
    (tmp_path / "file").write_bytes(data)
    assert [None, None] == [decoded(data, Thing), read_json(tmp_path / "file", Thing)]


def test_only_small_regular_files_are_read(tmp_path: Path) -> None:
    """A link, a FIFO, a directory, a large file and a name that cannot be are nothing."""
    good = tmp_path / "good"
    good.write_bytes(b'{"name":"x"}')
    (tmp_path / "link").symlink_to(good)
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.write(b'{"name":"x"}')
        file.truncate(1 << 40)
    assert Thing("x") == read_json(good, Thing)
    assert read_json(good, Thing, largest=11) is None
    for name in ("link", "pipe", ".", "large", "none", "\0"):
        assert read_json(tmp_path / name, Thing) is None
