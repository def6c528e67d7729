# SPDX-License-Identifier: MIT
"""Compressed buffers: plain XPRESS is expanded, other formats are named, and no size from a guest is believed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture.etl import compression
from harness.capture.etl.compression import CompressionError
from harness.capture.etl.tracelog import TraceLog
from harness.errors import UsageError
from tests.capture.etl import encoder

T = encoder.START


def rows(count: int, begin: int = 0) -> list[bytes]:
    """Records that resemble one another, as those of one provider do."""
    return [encoder.event(T + begin + number, f"event {number}".encode()) for number in range(count)]


def write(tmp_path: Path, *buffers: bytes) -> Path:
    """Write a log of these buffers."""
    path = tmp_path / "packed.etl"
    path.write_bytes(b"".join(buffers))
    return path


def test_the_examples_of_the_specification_are_expanded() -> None:
    """The two blocks of MS-XCA section 3.1, "Plain LZ77"."""
    alphabet = bytes.fromhex("3f000000") + b"abcdefghijklmnopqrstuvwxyz"
    assert compression.expand(alphabet, 26) == b"abcdefghijklmnopqrstuvwxyz"
    repeated = bytes.fromhex("ffffff1f 616263 1700 0f ff 2601")
    assert compression.expand(repeated, 300) == b"abc" * 100


texts = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(bytes.__mul__, st.binary(min_size=1, max_size=5), st.integers(0, 400)),
        st.just(bytes(70_000)),
    ),
    max_size=6,
).map(b"".join)


@given(texts, st.integers(0, 100))
@settings(max_examples=examples(30), deadline=None)
def test_what_was_compressed_is_expanded_whole_or_in_part(raw: bytes, most: int) -> None:
    """Matches of every length and the flags behind the last one; a beginning is the beginning of the whole."""
    packed = encoder.xpress(raw)
    assert compression.expand(packed, len(raw)) == raw
    begun = min(most, len(raw))
    assert compression.expand(packed, begun) == raw[:begun]
    assert compression.foreign(packed) == ""


@given(st.binary(max_size=300), st.integers(0, 3000))
@settings(max_examples=examples(70))
def test_any_bytes_are_expanded_or_refused_within_the_size(raw: bytes, size: int) -> None:
    """Bytes from nowhere never give more than was asked for, and what came before the fault is kept."""
    try:
        expanded, wanted = compression.expand(raw, size), [size]
    except CompressionError as error:
        expanded, wanted = error.expanded, range(size + 8192 + 32)
    assert len(expanded) in wanted


def test_a_match_before_the_beginning_is_refused() -> None:
    """The second token points four bytes back behind one byte."""
    with pytest.raises(CompressionError, match="4 bytes back stands after 1 bytes") as caught:
        compression.expand(struct.pack("<I", 1 << 30) + b"a" + struct.pack("<H", 3 << 3), 10)
    assert caught.value.expanded == b"a"


def test_a_compressed_log_reads_as_it_did_before(tmp_path: Path) -> None:
    """A merged log: header buffer of 512 bytes, buffers of any length; every record and its order is the same."""
    buffers = [
        encoder.buffer(*rows(300), size=32768, sequence=1),
        encoder.buffer(*rows(200, 150), size=32768, sequence=2, processor=1),
        encoder.buffer(size=32768, sequence=3),
    ]
    plain = write(tmp_path, encoder.header_buffer(), *buffers)
    with TraceLog(plain) as log:
        wanted = [(one.time, one.processor, one.payload) for one in log][1:]
    header = bytearray(encoder.header_buffer(mode=0x04010001, name="Relogger", file_name=""))
    struct.pack_into("<I", header, 0, 512)
    path = write(tmp_path, bytes(header[:512]), *(encoder.compressed(one) for one in buffers))
    with TraceLog(path) as log:
        assert [(one.time, one.processor, one.payload) for one in log][1:] == wanted
        assert len(wanted) == 500
        assert (log.account.reasons(), log.account.compressed) == ([], 3)
        assert log.session.modes == ["sequential", "relogged", "compressed"]


@pytest.mark.parametrize(("name", "pack"), [("LZNT1", encoder.lznt1), ("XPRESS Huffman", encoder.huffman)])
def test_other_formats_are_refused_by_name(tmp_path: Path, name: str, pack: object) -> None:
    """Nothing in the header says the format, so the bytes do."""
    whole = encoder.buffer(*rows(60), size=8192)
    used = struct.unpack_from("<I", whole, 4)[0]
    packed = encoder.compressed(whole, pack(whole[72:used]))  # type: ignore[operator]
    path = write(tmp_path, encoder.header_buffer(mode=0x04000001), packed)
    with pytest.raises(UsageError, match=f"byte 1024 is compressed with {name}; only plain XPRESS") as caught:
        TraceLog(path)
    assert "Record without compression" in caught.value.hint


def test_a_buffer_that_claims_too_much_is_damage(tmp_path: Path) -> None:
    """A hundred bytes that say they are 16 MB: the others are read, and nothing was expanded."""
    bomb = bytearray(encoder.compressed(encoder.buffer(*rows(1))))
    struct.pack_into("<I", bomb, 4, 16 << 20)
    after = encoder.compressed(encoder.buffer(*rows(2, 5), sequence=2))
    path = write(tmp_path, encoder.header_buffer(), bytes(bomb), after)
    with TraceLog(path) as log:
        assert [one.time - T for one in log][1:] == [5, 6]
        assert [one.reason for one in log.account.damages] == [
            f"{len(bomb)} compressed bytes cannot be {16 << 20} bytes"
        ]


def test_damage_in_a_compressed_buffer_costs_its_rest(tmp_path: Path) -> None:
    """A cut buffer, and one whose header is gone: records before the damage and the next buffers are read."""
    parts = [encoder.compressed(encoder.buffer(*rows(9, 10 * n), sequence=n + 1)) for n in range(3)]
    lost = bytes.fromhex("0badf00d") * 20 + parts[1][80:]
    path = write(tmp_path, encoder.header_buffer(), parts[0], lost, parts[2])
    with TraceLog(path) as log:
        assert [one.time - T for one in log][1:] == [*range(9), *range(20, 29)]
        assert log.account.damaged == 1
        assert log.account.absent == 1
    cut = write(tmp_path, encoder.header_buffer(), parts[0], parts[1][: len(parts[1]) // 2])
    with TraceLog(cut) as log:
        times = [one.time - T for one in log][1:]
        assert times == list(range(9)) + list(range(10, 10 + len(times) - 9))
        assert log.account.truncated
        assert "the file ends within a buffer" in log.account.reasons()
