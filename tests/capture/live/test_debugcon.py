# SPDX-License-Identifier: MIT
"""The debug port: every record of the driver is read, everything else is counted."""

from __future__ import annotations

import typing

import msgspec
import pytest
from capture.lines import encode_line
from hypothesis import given
from hypothesis import strategies as st

from harness.capture.live.debugcon import LONGEST_LINE, BadLine, DebugPortDecoder, decode_line
from harness.capture.offline.ring import Ring
from harness.history.driver import AnyDriverRecord, CallEnter, DriverRecord, Hello, Mark, SyncEnter

COMMON: dict[str, typing.Any] = {
    "channel": "debugcon",
    "qpc": 5,
    "boot": "00c0ffee00c0ffee",
    "driver": "hpnotify",
    "cpu": 0,
    "irql": 0,
    "thread": 0xFFFF8880DEADBEEF,
    "active": 2,
    "active_g0": 2,
    "active_g0_ex": 2,
    "maximum": 6,
    "groups": 1,
}


def mark(seq: int, nonce: str = "n", **changes: typing.Any) -> Mark:
    """Return a small record."""
    return Mark(seq=seq, nonce=nonce, **(COMMON | changes))


def _values(kind: type[DriverRecord]) -> st.SearchStrategy[DriverRecord]:
    strategies: dict[str, st.SearchStrategy[typing.Any]] = {"channel": st.just("debugcon")}
    for field in msgspec.structs.fields(kind):
        if field.name in ("n", "host_ns", "channel"):
            continue
        if field.name == "boot":
            strategies[field.name] = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
        elif field.name == "driver":
            strategies[field.name] = st.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True)
        elif field.type is int:
            strategies[field.name] = st.integers(min_value=0, max_value=2**64 - 1)
        elif field.type is str:
            strategies[field.name] = st.text(max_size=8)
        else:
            strategies[field.name] = st.sampled_from(typing.get_args(field.type))
    return st.builds(kind, **strategies)


RECORDS = st.one_of([_values(kind) for kind in typing.get_args(AnyDriverRecord)])


@given(record=RECORDS)
def test_every_record_survives_the_wire(record: DriverRecord) -> None:
    """A record of any kind, written as the driver writes it, is read back equal."""
    assert decode_line(encode_line(record).rstrip(b"\n"), channel="debugcon") == record


@given(seqs=st.lists(st.booleans(), min_size=1, max_size=30), size=st.integers(min_value=1, max_value=700))
def test_chunks_do_not_matter(seqs: list[bool], size: int) -> None:
    """However the stream is cut into pieces, the same records come out and every missing one is counted."""
    present = [seq for seq, kept in enumerate(seqs, 1) if kept]
    stream = b"".join(encode_line(mark(seq)) for seq in present)
    port = DebugPortDecoder()
    records = [r for at in range(0, len(stream), size) for r in port.feed(stream[at : at + size])]
    port.finish()
    assert [record.seq for record in records] == present
    missing = present[-1] - present[0] + 1 - len(present) if present else 0
    assert port.account().lost == missing
    assert (port.torn, port.corrupt, port.foreign) == (0, 0, 0)


@given(noise=st.lists(st.binary(max_size=700), max_size=8))
def test_noise_is_counted_and_bounded(noise: list[bytes]) -> None:
    """Any bytes between two records cost neither record, are never fatal, and nothing is remembered without bound."""
    port = DebugPortDecoder()
    got = list(port.feed(encode_line(mark(1)) + b"\n"))
    for piece in noise:
        got += list(port.feed(piece))
    got += list(port.feed(b"\n" + encode_line(mark(2))))
    assert [record.seq for record in got] == [1, 2]
    assert len(port._rest) < LONGEST_LINE


@given(record=RECORDS, at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
def test_flipped_bit_never_becomes_another_record(record: DriverRecord, at: int, bit: int) -> None:
    """A line with one bit flipped is not read as a record."""
    line = bytearray(encode_line(record).rstrip(b"\n"))
    line[at % len(line)] ^= 1 << bit
    with pytest.raises(BadLine):
        decode_line(bytes(line), channel="debugcon")


def test_torn_line_before_a_whole_one_costs_only_itself() -> None:
    """Two lines run together, as a crash or two writers leave them, yield the whole one and one torn."""
    port = DebugPortDecoder()
    cut = encode_line(mark(1))[:60]
    assert [record.seq for record in port.feed(cut + encode_line(mark(2)))] == [2]
    assert (port.torn, port.corrupt) == (1, 0)


def test_cut_last_line_is_torn() -> None:
    """An unfinished line at the end of the stream is counted as torn."""
    port = DebugPortDecoder()
    assert list(port.feed(encode_line(mark(1))[:-20])) == []
    port.finish()
    assert port.account(closed=True).torn == 1


def test_corrupt_foreign_and_oversized_are_told_apart() -> None:
    """A bad checksum, another program's line and an endless line are counted each for itself."""
    port = DebugPortDecoder()
    bad = encode_line(mark(1)).replace(b"nonce=n", b"nonce=m")
    stream = bad + b"SeaBIOS (version 1.16)\n" + b"x" * 5000 + b"\n" + encode_line(mark(2))
    assert [record.seq for record in port.feed(stream)] == [2]
    account = port.account()
    assert (account.corrupt, account.foreign, account.oversized, account.records) == (1, 1, 1, 1)


def test_line_of_an_earlier_boot_is_stale() -> None:
    """After a new boot's first record, records that carry an earlier boot's nonce are counted, and handed on."""
    port = DebugPortDecoder()
    stream = encode_line(mark(1)) + encode_line(mark(1, boot="1" * 16)) + encode_line(mark(2))
    assert [(1, COMMON["boot"]), (1, "1" * 16), (2, COMMON["boot"])] == [
        (record.seq, record.boot) for record in port.feed(stream)
    ]
    assert (3, 1) == (port.account().records, port.account().stale)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from("ab"), st.sampled_from("01f")), max_size=20),
    st.sampled_from([DebugPortDecoder, Ring]),
)
def test_no_well_formed_record_is_kept_back(
    said: list[tuple[int, str, str]], decoder: type[DebugPortDecoder]
) -> None:
    """Whatever numbers, drivers and boot nonces the lines have, each is handed on and counted in ``records``."""
    port = decoder()
    written = [mark(seq, driver=driver, boot=nonce * 16, channel=port.channel) for seq, driver, nonce in said]
    got = list(port.feed(b"".join(encode_line(record) for record in written)))
    assert (written, len(written)) == (got, port.account(closed=True).records)


def test_a_missing_number_of_an_earlier_boot_is_lost() -> None:
    """The numbers of each boot nonce are followed, also of one that another superseded."""
    port = DebugPortDecoder()
    list(port.feed(encode_line(mark(1)) + encode_line(mark(1, boot="1" * 16)) + encode_line(mark(3))))
    assert (1, 1) == (port.account().lost, port.account().stale)


def test_line_without_its_beginning_is_torn() -> None:
    """The second half of a line is not another program's."""
    port = DebugPortDecoder()
    assert [] == list(port.feed(encode_line(mark(1))[40:]))
    assert (1, 0) == (port.account().torn, port.account().foreign)


def test_two_drivers_have_their_own_sequence() -> None:
    """Drivers number their records each for itself."""
    port = DebugPortDecoder()
    stream = encode_line(mark(1)) + encode_line(mark(1, driver="other")) + encode_line(mark(2))
    assert len(list(port.feed(stream))) == 3
    assert port.account().lost == 0


def test_reloaded_driver_starts_anew() -> None:
    """A driver that says hello counts from its own first number; nothing is lost."""
    port = DebugPortDecoder()
    hello = Hello(seq=1, version="1", hz=10_000_000, ring=8, **COMMON)
    stream = encode_line(hello) + encode_line(mark(2)) + encode_line(hello) + encode_line(mark(2))
    assert len(list(port.feed(stream))) == 4
    assert port.account().lost == 0


def test_longest_record_fits_its_line() -> None:
    """The record with the most fields fits the line that DbgPrintEx allows even with wide values."""
    widest = SyncEnter(
        seq=10**9, **(COMMON | {"qpc": 10**15, "active": 2048, "maximum": 2048, "active_g0": 64, "active_g0_ex": 64}),
        reg=2, state=0, nt=2047, group=31, number=63, status=0xC000009A, op=0xC000009A, ctx=2**64 - 1, max_in_group=64,
        mask=2**64 - 1, idx_status=0xC000000D, idx_group=31, idx_number=63, back_idx=2047,
    )  # fmt: skip
    assert len(encode_line(widest)) <= LONGEST_LINE


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"HPN1 seq=1", "no checksum"),
        (b"", "no checksum"),
    ],
)
def test_bad_line_says_why(line: bytes, why: str) -> None:
    """A line that is refused says why."""
    with pytest.raises(BadLine, match=why):
        decode_line(line, channel="debugcon")


def test_unknown_call_is_refused() -> None:
    """A value outside its set is refused although the checksum is right."""
    record = CallEnter(seq=1, call=typing.cast("typing.Any", "explode"), **COMMON)
    with pytest.raises(BadLine, match=r"call\.enter"):
        decode_line(encode_line(record).rstrip(b"\n"), channel="debugcon")


class EveryLine(DebugPortDecoder):
    """A decoder that passes over no piece at once."""

    SIGNS = ()


NOISE = st.sampled_from(
    [
        b"",
        b"\r",
        b"noise",
        b"noise\r",
        b"x" * (LONGEST_LINE - 1),
        b"x" * LONGEST_LINE,
        b"x" * 2000,
        b"lost its head crc=0badf00d",
    ]
)


@given(
    lines=st.lists(NOISE | st.integers(1, 5).map(lambda seq: encode_line(mark(seq)).removesuffix(b"\n"))),
    size=st.integers(1, 700),
)
def test_noise_is_counted_alike_however_it_is_passed_over(lines: list[bytes], size: int) -> None:
    """Pieces without any of our lines are counted as a whole, and the account is that of one line after the other."""
    data = b"".join(line + b"\n" for line in lines)
    accounts = []
    for decoder in (DebugPortDecoder(), EveryLine()):
        records = [one for at in range(0, len(data), size) for one in decoder.feed(data[at : at + size])]
        decoder.finish()
        accounts.append((records, decoder.account()))
    assert accounts[0] == accounts[1]
