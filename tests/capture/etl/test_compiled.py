# SPDX-License-Identifier: MIT
"""The compiled reader prints and counts what Python's reading does, of whole logs and of damaged ones."""

from __future__ import annotations

import os
import shutil
import struct
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from effort import VARIABLE, examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture.etl import compression
from harness.capture.etl.compression import CompressionError
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.fast import reader
from harness.capture.etl.fast.library import Library
from harness.capture.etl.field import COUNTED, REST, Field, InType, SystemTime
from harness.capture.etl.manifest import EventDescription, Provider
from harness.capture.etl.selection import Selection
from harness.capture.etl.tmf import FormatFiles
from harness.capture.etl.tracelog import CHUNK, TraceLog
from harness.cli import etl_fast
from tests.capture.etl import encoder
from tests.capture.etl.mutate import assert_same, mutated, packed, printed, seeds

T = encoder.START
DATA = Path(__file__).parents[4] / "shared" / "data" / "etl"

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None, reason="no C compiler: sudo apt-get install gcc libc6-dev"
)


@pytest.fixture(scope="module")
def library() -> Library:
    """The compiled reader, as the commands use it."""
    return Library(etl_fast.built(os.environ) / etl_fast.NAME)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that every example overwrites."""
    return tmp_path_factory.mktemp("etl") / "any.etl"


def text(
    library: Library | None,
    path: Path,
    *,
    since: int | None = None,
    until: int | None = None,
    tmf: Path | None = None,
    expand: Callable[[bytes, int], bytes] | None = None,
) -> tuple[str, list[str]]:
    """Return the lines of a log, and how its account judges it. Each side expands by itself unless told how."""
    decoder = Decoder(formats=FormatFiles([] if tmf is None else [tmf]))
    with TraceLog(path, expand or (compression.expand if library is None else library.expand)) as log:
        decoder.learn(log)
        made = etl_fast.text_lines(
            library, log, decoder, Selection(), since=since, until=until, local=False, progress=None
        )
        return "\n".join(made), log.account.reasons()


SEED = 20261130
"""What is drawn of a large log, always the same."""


def span(log: Path, draw: Random) -> tuple[int, int]:
    """Return the beginning and the end of an eighth of a log's records, which is drawn."""
    with TraceLog(log) as opened:
        times = sorted(record.time for record in opened.records())
    eighth = len(times) // 8
    place = draw.randrange(1, len(times) - eighth)
    return times[place], times[place + eighth]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded Windows logs at {DATA}")
@pytest.mark.parametrize(
    "name",
    [
        "ShutdownPerfDiagLogger",
        "AMSITrace",
        "lxcore_kernel",
        "demi_db9cd7_PktMon",
        "fn_wppbin-sample",
        "fn_wppemitter-sample",
        "syz_5c3171_process_data_64_v2",
        "tx_f10b11_Process",
    ],
)
def test_a_real_log_is_printed_the_same(name: str, library: Library) -> None:
    """Every line of every log of a real Windows, with and without formats for its messages.

    Of a log of more than 2,000 lines a seeded share, an eighth of its time; ``tox -e fuzz`` reads all.
    """
    log = DATA / f"{name}.etl"
    found = text(library, log)
    lines = found[0].count("\n")
    if lines > 2000 and VARIABLE not in os.environ:
        since, until = span(log, Random(f"{SEED} {name}"))
        part = text(library, log, since=since, until=until)
        assert part == text(None, log, since=since, until=until)
        assert lines // 100 < part[0].count("\n") < lines // 2
        assert part[0] in found[0]
    else:
        assert found == text(None, log)
    if name.startswith("fn_wpp"):
        assert text(library, log, tmf=DATA) == text(None, log, tmf=DATA)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded Windows logs at {DATA}")
def test_a_part_of_a_large_real_log_is_printed_the_same(library: Library) -> None:
    """A tenth of a second of the merged kernel and CLR log, in which all its kinds of events come.

    Both sides expand in C, and Python expands every fiftieth buffer to the same bytes.
    """
    expanded: list[int] = []

    def expand(raw: bytes, size: int) -> bytes:
        found = library.expand(raw, size)
        if not len(expanded) % 50:
            assert compression.expand(raw, size) == found
        expanded.append(len(found))
        return found

    log = DATA / "pv_net.4.5.2.x64.etl"
    with TraceLog(log) as opened:
        clock = opened.session.clock
    since, until = clock.ticks(10_500_000_000), clock.ticks(10_600_000_000)
    found = text(library, log, since=since, until=until)
    assert found == text(None, log, since=since, until=until, expand=expand)
    assert found[0].count("\n") > 3_000
    assert len(expanded) > 500


def test_the_compiled_reader_does_the_work(path: Path, library: Library) -> None:
    """Python writes no line of events that a program covers, and is asked once for each kind of them."""
    image = struct.pack("<QQIIIIQIIII", 1, 2, 3, 4, 5, 0, 6, 0, 0, 0, 0) + "C:\\x.sys\0".encode("utf-16-le")
    path.write_bytes(
        encoder.header_buffer() + encoder.buffer(*(encoder.system(T + 1, 0x140A, image) for _ in range(5)))
    )
    written: list[int] = []
    compiled: list[int] = []
    decoder = Decoder()
    with TraceLog(path) as log:
        decoder.learn(log)
        made = reader.FastReader(library, log, decoder).lines(
            lambda record: written.append(record.time) or "by Python",  # type: ignore[func-returns-value]
            lambda record: compiled.append(record.time) or etl_fast._program(decoder, record),  # type: ignore[func-returns-value]
            lambda _second: ("", ""),
            Selection(),
        )
        lines = "\n".join(made).splitlines()
    assert (len(lines), lines[0]) == (6, "by Python")
    assert (written, compiled) == ([T], [T, T + 1])


@given(st.integers(0, 2**32))
@settings(max_examples=examples(40))
def test_a_mutated_log_is_read_the_same(path: Path, library: Library, seed: int) -> None:
    """Flipped, cut, doubled and moved bytes: the same lines, counts, damages and losses."""
    path.write_bytes(mutated(seeds(), seed))
    assert_same(path, library)


SEEDS = st.integers(0, 2**32)
"""What :class:`random.Random` draws the rest of an example from; drawing each value by itself costs more than reading."""

EACH = 20
"""Events of one log, each with a layout of its own."""

PARTS = [
    b"\0",
    b"\1\0",
    b"\2\0\0\0",
    b"ab\0",
    "xy\0".encode("utf-16-le"),
    "é\0".encode("utf-16-le"),
    b"\xff" * 8,
    bytes([1, 1, *bytes(5), 5, 32, 0, 0, 0]),
    b"\x20" * 16,
    bytes(8),
    struct.pack("<q", 133 * 10**15),
]
MESSAGES = ["", "", "%1", "a %1 b %2!s! %9 %% %n é", "%1%1", "x" * 2000]

Layout = tuple[list[Field], bytes]
"""The fields of an event and its payload."""


def any_field(draw: Random) -> Field:
    """Any type with any count, length and labels."""
    return Field(
        name=draw.choice("abcd"),
        in_type=draw.choice([draw.randint(3, 10), draw.randint(0, 26), draw.choice([304, 305, 310])]),
        out_type=draw.choice([0, 0, 0, 2, 3, 4, 7, 8, 9, 10, 15, 14, 16, 17, 18, 38]),
        count=draw.choice([None, None, None, COUNTED, REST, 0, 1, 3, "a", "b#2"]),
        length=draw.choice([None, None, COUNTED, 0, 1, 3, "a", "c"]),
        labels=draw.choice([{}, {}, {0: "none", 1: "one", 6: "six"}, {2: "zwölf"}, {1 << 63: "far"}]),
        bits=draw.random() < 0.5,
    )


def seldom_fitting(draw: Random, _wide: bool) -> Layout:
    """Any fields, and any bytes or parts of what such fields hold."""
    fields = [any_field(draw) for _ in range(draw.randint(0, 6))]
    if draw.random() < 0.5:
        return fields, draw.randbytes(draw.randint(0, 60))
    return fields, b"".join(draw.choices(PARTS, k=draw.randint(0, 8)))


def assert_layouts_same(
    path: Path, library: Library, seed: int, made: Callable[[Random, bool], Layout]
) -> None:
    """Print events, each described by a manifest of its own, in both ways."""
    draw = Random(seed)
    descriptions, events = [], []
    for number in range(EACH):
        wide, message = draw.random() < 0.5, draw.choice(MESSAGES)
        fields, payload = made(draw, wide)
        descriptions.append(
            EventDescription(
                id=number, version=0, name="E", level=4, opcode=0, task="", opcode_name="", keywords=(),
                message=message, fields=tuple(fields),
            )
        )  # fmt: skip
        events.append(encoder.event(T + 1 + number, payload, event_id=number, wide=wide))
    path.write_bytes(encoder.header_buffer(size=65536) + encoder.buffer(*events, size=65536))
    found = []
    for loaded in (None, library):
        decoder = Decoder([Provider("P\x1b", encoder.PROVIDER.bytes_le, descriptions)])
        with TraceLog(path) as log:
            lines = etl_fast.text_lines(
                loaded, log, decoder, Selection(), since=None, until=None, local=False, progress=None
            )
            found.append("\n".join(lines).splitlines())
    assert found[0] == found[1]
    assert len(found[0]) == 1 + EACH


@given(SEEDS)
@settings(max_examples=examples(10))
def test_any_layout_is_printed_the_same(path: Path, library: Library, seed: int) -> None:
    """Every combination of types, counts, lengths, labels and messages, with a payload that seldom fits."""
    assert_layouts_same(path, library, seed, seldom_fitting)


def test_a_boolean_has_no_label(path: Path, library: Library) -> None:
    """What a boolean is said to be is true or false, whichever reader says it; labels are those of integers."""
    described = [
        EventDescription(
            id=number, version=0, name="E", level=4, opcode=0, task="", opcode_name="", keywords=(), message="",
            fields=(Field(name="a", in_type=kind, out_type=0, labels={0: "none", 1: "one"}),),
        )
        for number, kind in enumerate((InType.BOOLEAN, InType.UINT32))
    ]  # fmt: skip
    events = [encoder.event(T + number, struct.pack("<I", 1), event_id=number) for number in range(2)]
    path.write_bytes(encoder.header_buffer(size=65536) + encoder.buffer(*events, size=65536))
    for loaded in (None, library):
        decoder = Decoder([Provider("P", encoder.PROVIDER.bytes_le, described)])
        with TraceLog(path) as log:
            lines = etl_fast.text_lines(
                loaded, log, decoder, Selection(), since=None, until=None, local=False, progress=None
            )
            shown = [line.rpartition("a=")[2] for line in "\n".join(lines).splitlines()[1:]]
        assert ["true", "one"] == shown


WIDTHS = {3: 1, 4: 1, 5: 2, 6: 2, 7: 4, 8: 4, 9: 8, 10: 8, 11: 4, 13: 4, 15: 16, 17: 8, 18: 16, 20: 4, 21: 8}
TEXTS = ["é", "a\x1b", "日本", "x" * 1500, "\U0001f600"]


def text_of(draw: Random) -> str:
    """A short text, or one with characters that are escaped, wide or many."""
    return draw.choice(["".join(draw.choices("aZ ~\\-09", k=draw.randint(0, 8))), draw.choice(TEXTS)])


def number_of(draw: Random, width: int) -> bytes:
    """A number of that many bytes: any, a small one, the largest, the smallest with a sign."""
    return draw.choice(
        [
            draw.randbytes(width),
            draw.randbytes(width),
            bytes([draw.choice([0, 1, 7, 65])]) + bytes(width - 1),
            b"\xff" * width,
            bytes(width - 1) + b"\x80",
        ]
    )


def fitting(draw: Random, wide: bool) -> Layout:
    """Fields and a payload that fits them: every type that the compiled reader knows, and some that it does not."""
    fields: list[Field] = []
    payload = b""
    for number in range(draw.randint(1, 6)):
        kind = draw.choice([*WIDTHS, *[16] * 3, 19, 310, *[1] * 2, *[2] * 2, 14, 22, 23, 25])
        out = draw.choice([0, 0, 0, 2, 3, 4, 7, 8, 9, 10, 14, 15, 16, 17, 18, 38])
        labels: dict[int, str] = draw.choice(
            [{}, {}, {}, {0: "none", 1: "one", 6: "six"}, {1 << 63: "far"}, {3: "zwölf"}]
        )
        count: int | str | None = None
        length: int | str | None = None
        if kind in WIDTHS or kind == 16:
            width = WIDTHS.get(kind, 8 if wide else 4)
            members = 1
            if draw.randint(0, 3) == 0:
                members = draw.choice([0, 1, 2, 3, 5])
                count = draw.choice([members, COUNTED])
                payload += struct.pack("<H", members) if count == COUNTED else b""
            payload += b"".join(number_of(draw, width) for _ in range(members))
        elif kind in (1, 2):
            text = text_of(draw)
            raw = text.encode("utf-16-le" if kind == 1 else "utf-8", "surrogatepass")
            size = len(raw) // 2 if kind == 1 else len(raw)
            if draw.random() < 0.5:
                length = draw.choice([size, COUNTED])
                payload += struct.pack("<H", size) if length == COUNTED else b""
                payload += raw
            else:
                payload += raw + bytes(2 if kind == 1 else 1)
        elif kind in (14, 22, 23, 25):
            raw = draw.choice([draw.randbytes(draw.randint(0, 20)), text_of(draw).encode("utf-16-le")])
            if kind == 14 and draw.random() < 0.5:
                raw, length, out = draw.choice([draw.randbytes(16), bytes(15) + b"\1"]), 16, 9
            else:
                payload += struct.pack("<H", len(raw))
            payload += raw
        else:
            sid = bytes([1, 2, *bytes(5), 5]) + draw.randbytes(8)
            user = bytes([0, 0, 0, draw.choice([0, 9])]).ljust(16 if wide else 8, b"\0") + sid
            parts = draw.choice([0, 1, 15, 16])
            lone = bytes(16 if wide else 8) + bytes([1, parts, *bytes(6)]) + bytes(4 * parts)
            payload += sid if kind == 19 else draw.choice([user, lone, bytes(4)])
        fields.append(
            Field(name=draw.choice(["a", "b", f"f{number}"]), in_type=kind, out_type=out, count=count,
                  length=length, labels=labels, bits=draw.random() < 0.5)
        )  # fmt: skip
    ending = draw.choice([0, 0, 0, 0, 1, 2, 3, 4])
    if ending == 1:
        payload += b"more"
    elif ending == 2:
        payload = payload[:-1]
    elif ending == 3:
        fields.append(Field(name="rest", in_type=draw.choice([304, 305])))
        payload += text_of(draw).encode("utf-16-le")
    elif ending == 4:
        fields.append(Field(name="rest", in_type=16, count=REST))
        payload += bytes(range(16))
    return fields, payload


@given(SEEDS)
@settings(max_examples=examples(40))
def test_a_payload_that_fits_is_printed_the_same(path: Path, library: Library, seed: int) -> None:
    """Every type in every form in which it is shown, and what follows or lacks at the end."""
    assert_layouts_same(path, library, seed, fitting)


def any_item(draw: Random) -> tuple[int, bytes]:
    """An extended item of any kind, short or long."""
    kind = draw.choice([1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 16, 17, 18])
    return kind, draw.randbytes(
        draw.choice([draw.randint(0, 40), draw.randint(0, 40), draw.randint(600, 700)])
    )


def any_context(draw: Random, time: int) -> bytes:
    """An event with an activity and up to four extended items, one byte of which may be damaged."""
    items = [any_item(draw) for _ in range(draw.randint(0, 4))]
    raw = bytearray(encoder.event(time, draw.randbytes(draw.randint(0, 9)), items=items))
    raw[64:68] = b"act\0"
    damage = draw.randint(0, 5)
    if damage and len(raw) > 90:
        raw[80 + damage] ^= 0x11
    return bytes(raw)


@given(SEEDS)
@settings(max_examples=examples(25))
def test_any_context_is_printed_the_same(path: Path, library: Library, seed: int) -> None:
    """Extended items of every kind, doubled, cut and damaged, and an activity."""
    draw = Random(seed)
    events = [any_context(draw, T + 1 + number) for number in range(EACH // 2)]
    path.write_bytes(encoder.header_buffer(size=65536) + encoder.buffer(*events, size=65536))
    assert_same(path, library)


def test_dates_are_printed_the_same(path: Path, library: Library) -> None:
    """The first and the last day of every month of years that are leap years or not, to the ends of what is shown."""
    size, rows = 65536, []
    for year in (1601, 1700, 1899, 1900, 1970, 2000, 2023, 2024, 2100, 9999):
        for month in range(1, 13):
            first = (datetime(year, month, 1) - datetime(1601, 1, 1)) // timedelta(microseconds=1) * 10
            rows += [struct.pack("<Q", one) for one in (first - 1, first) if one >= 0]
    rows += [struct.pack("<q", one) for one in (-1, (1 << 63) - 1)]
    described = [(11, encoder.schema("E", encoder.described("when", 17)))]
    events = [encoder.event(T + place, row, items=described) for place, row in enumerate(rows)]
    path.write_bytes(encoder.header_buffer(size=size) + encoder.buffer(*events, size=size))
    assert assert_same(path, library) == 1 + len(rows)
    result = printed(path, library, Selection())
    assert "when=2024-02-29T23:59:59.9999999Z" in result[0]


@pytest.mark.parametrize(
    "clock", [{"frequency": 0}, {"clock": 3, "mhz": 1}, {"frequency": 3}, {"clock": 2}, {"clock": 7}]
)
@pytest.mark.parametrize("time", [-(1 << 63), -1, 0, T - 1, T, T + 10**15, (1 << 63) - 1])
def test_any_time_is_printed_the_same(path: Path, library: Library, clock: dict[str, int], time: int) -> None:
    """Before the start, beyond every calendar, and with a clock that is not known."""
    records = [encoder.event(time, b"x", event_id=number) for number in range(2)]
    path.write_bytes(encoder.header_buffer(**clock) + encoder.buffer(*records))  # type: ignore[arg-type]
    assert assert_same(path, library) == 3


@given(SEEDS)
@settings(max_examples=examples(60))
def test_any_order_comes_out_the_same(path: Path, library: Library, seed: int) -> None:
    """Equal times, buffers that overlap, and rows out of order within a buffer."""
    draw = Random(seed)
    processors = draw.randint(1, 3)
    times = [[draw.randint(0, 40) for _ in range(draw.randint(0, 30))] for _ in range(draw.randint(0, 6))]
    content = [encoder.header_buffer()]
    for number, row in enumerate(times):
        records = [encoder.perf(T + one, 0x0F2E + number, bytes([place])) for place, one in enumerate(row)]
        content.append(encoder.buffer(*records, processor=number % processors, sequence=number + 1))
    path.write_bytes(b"".join(content))
    assert_same(path, library)


def test_rows_longer_than_a_chunk_come_out_the_same(path: Path, library: Library) -> None:
    """Three buffers of more records than are decoded at once, in time and not, that overlap."""
    size = 65536
    rows = [
        [encoder.perf(T + 3 * place, 0x0F2E, bytes([1])) for place in range(2 * CHUNK + 7)],
        [encoder.perf(T + 3 * (place ^ 5) + 1, 0x0F2E, bytes([2])) for place in range(CHUNK)],
        [encoder.perf(T + CHUNK, 0x0F2E, bytes([3])) for _ in range(2 * CHUNK)],
    ]
    path.write_bytes(
        encoder.header_buffer(size=size)
        + b"".join(
            encoder.buffer(*row, processor=place, sequence=place + 1, size=size)
            for place, row in enumerate(rows)
        )
    )
    assert assert_same(path, library) == 1 + sum(map(len, rows))


@pytest.mark.parametrize(
    "chosen",
    [
        {"processors": [1]},
        {"processors": [-1]},
        {"processes": [22, 1 << 40]},
        {"threads": [4]},
        {"events": ["Plain"]},
        {"events": ["1"]},
        {"events": ["46", "10"], "processors": [1, 2]},
        {"providers": ["fuzz"]},
        {"providers": [str(uuid.UUID(int=1))], "threads": [11]},
        {"providers": ["StackWalk", "PerfInfo"]},
    ],
)
@pytest.mark.parametrize("seed", [0, 5, 6, 7])
def test_a_selection_chooses_the_same(
    path: Path, library: Library, chosen: dict[str, list[int]], seed: int
) -> None:
    """Numbers are compared in C, names once for each kind."""
    path.write_bytes(seeds()[seed])
    assert_same(path, library, Selection(**chosen))  # type: ignore[arg-type]


def test_a_name_that_is_learnt_later_is_used_from_then_on(path: Path, library: Library) -> None:
    """A provider is shown by its GUID until one of its events carries its traits."""
    named = [(12, encoder.traits("Late"))]
    path.write_bytes(
        encoder.header_buffer()
        + encoder.buffer(
            encoder.event(T + 1, b"a"),
            encoder.event(T + 2, b"b", provider=uuid.UUID(int=2), items=named),
            encoder.event(T + 3, b"c"),
            encoder.event(T + 4, b"d", items=named),
            encoder.event(T + 5, b"e"),
        )
    )
    assert assert_same(path, library) == 6
    result = printed(path, library, Selection())
    assert not isinstance(result, str)
    providers = [line.split("  ")[-2].split("/")[0] for line in result[0].splitlines()[1:]]
    unnamed = str(encoder.PROVIDER)
    assert providers == [unnamed, "Late", unnamed, "Late", "Late"]


def test_more_kinds_of_events_than_are_kept_are_printed_the_same(path: Path, library: Library) -> None:
    """17,500 different ids and versions: what is known is forgotten, and nothing is mixed up."""
    size, per_buffer, event = 65536, 700, bytearray(encoder.event(T, b"x"))
    content = [encoder.header_buffer(size=size)]
    for first in range(0, 17_500, per_buffer):
        rows = []
        for number in range(first, first + per_buffer):
            struct.pack_into("<q", event, 16, T + number)
            struct.pack_into("<HB", event, 40, number & 0xFFF, number >> 12)
            rows.append(bytes(event))
        content.append(encoder.buffer(*rows, sequence=len(content), size=size))
    path.write_bytes(b"".join(content))
    assert text(library, path) == text(None, path)


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 512, 70_000, 71_068, 200_000]))
@settings(max_examples=examples(40))
def test_mutated_xpress_expands_the_same(library: Library, seed: int, size: int) -> None:
    """The same bytes, or the same words with the same bytes before."""
    raw = mutated((packed(),), seed)
    found = []
    for expand in (compression.expand, library.expand):
        try:
            found.append((expand(raw, size), ""))
        except CompressionError as error:
            found.append((error.expanded, str(error)))
    assert found[0] == found[1]


def test_a_small_log_and_a_host_without_compiler_are_read_in_python(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not worth loading a library for, and where none can be built, has the reader of Python."""
    path.write_bytes(encoder.header_buffer())
    assert etl_fast.library(path) is None
    assert etl_fast.library(tmp_path / "none.etl") is None
    path.write_bytes(encoder.header_buffer().ljust(etl_fast.WORTH, b"\0"))
    assert etl_fast.library(path) is not None
    monkeypatch.setenv("HOTPLUG_HARNESS_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert etl_fast.library(path) is None


def test_the_numbers_of_the_two_sides_agree() -> None:
    """A SYSTEMTIME is eight numbers in both, and a chunk as many records."""
    header = (Path(reader.__file__).parent / "fast.h").read_text()
    assert f"#define CHUNK {CHUNK}\n" in header
    assert len(SystemTime._fields) == 8
