# SPDX-License-Identifier: MIT
"""Whatever bytes a guest leaves in a log, reading it ends, keeps what came before the damage, and says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.capture.etl import buffer, manifest, tracelogging
from harness.capture.etl.decoder import Decoder
from harness.capture.etl.display import show
from harness.capture.etl.field import COUNTED, Field
from harness.capture.etl.layout import Layout
from harness.capture.etl.tracelog import TraceLog
from harness.errors import BadDocument, UsageError
from tests.capture.etl import encoder
from tests.capture.etl.mutate import mutated, read_everything, seeds

T = encoder.START

records = st.one_of(
    st.builds(encoder.event, st.integers(T, T + 50), st.binary(max_size=20), event_id=st.integers(0, 65535)),
    st.builds(encoder.system, st.integers(T, T + 50), st.integers(1, 0x1EFF), st.binary(max_size=20)),
    st.builds(encoder.perf, st.integers(T, T + 50), st.integers(1, 0x1EFF), st.binary(max_size=20)),
    st.builds(encoder.timed, st.integers(T, T + 50), st.binary(max_size=9)),
    st.builds(encoder.wnode, st.integers(T, T + 50), st.binary(max_size=9)),
    st.builds(encoder.message, st.integers(T, T + 50), st.integers(0, 9), st.binary(max_size=9)),
)
rows = st.lists(records, max_size=5)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that every example overwrites."""
    return tmp_path_factory.mktemp("etl") / "any.etl"


@given(st.lists(st.tuples(st.integers(0, 3), rows), max_size=8))
@settings(max_examples=examples(20))
def test_any_log_comes_out_complete_and_in_order(path: Path, buffers: list[tuple[int, list[bytes]]]) -> None:
    """Records that were stamped in order on each processor come out in order, each once, ties by processor."""
    content = [encoder.header_buffer()]
    wanted = []
    latest: dict[int, int] = {}
    for number, (processor, given_rows) in enumerate(buffers):
        kept = []
        for raw in given_rows:
            found, _at, _why = buffer.decode(bytes(72) + raw, 0, 72, 72 + len(raw), 1)
            time = found[0].time
            if time >= latest.get(processor, 0):
                latest[processor] = time
                kept.append(raw)
                wanted.append((time, processor, found[0].payload))
        content.append(encoder.buffer(*kept, processor=processor, sequence=number + 1))
    path.write_bytes(b"".join(content))
    with TraceLog(path) as log:
        seen = [(one.time, one.processor, one.payload) for one in log][1:]
        assert sorted(seen) == sorted(wanted)
        assert [one[:2] for one in seen] == sorted(one[:2] for one in wanted)
        assert log.account.reasons() == []


@given(st.integers(0, 2**32))
@settings(max_examples=examples(20))
def test_a_mutated_log_is_read_to_its_end(path: Path, seed: int) -> None:
    """Flipped, cut, doubled and moved bytes: everything that can be asked of the log has an answer."""
    path.write_bytes(mutated(seeds(), seed))
    read_everything(path)


@given(st.binary(max_size=3000))
@settings(max_examples=examples(20))
def test_any_file_is_refused_or_read(path: Path, raw: bytes) -> None:
    """Bytes with no structure at all."""
    path.write_bytes(raw)
    read_everything(path)


def test_what_was_read_before_the_damage_is_kept(path: Path) -> None:
    """Each byte of one buffer in turn is damaged: the buffers beside it are unharmed."""
    parts = [
        encoder.header_buffer(),
        encoder.buffer(encoder.event(T + 1, b"before"), processor=0, sequence=1),
        encoder.buffer(
            encoder.event(T + 2, b"hurt", items=[(11, encoder.schema("E"))]), processor=1, sequence=2
        ),
        encoder.buffer(encoder.event(T + 3, b"after"), processor=0, sequence=3),
    ]
    for place in range(220):
        hurt = bytearray(parts[2])
        hurt[place] ^= 0xFF
        path.write_bytes(b"".join([*parts[:2], hurt, parts[3]]))
        try:
            with TraceLog(path) as log:
                payloads = {one.payload for one in log}
        except UsageError as error:
            assert "compressed" in str(error)  # noqa: PT017
            continue
        # A buffer size that is wrong but possible hides what follows up to there: that is all the damage can do.
        assert b"before" in payloads
        assert b"after" in payloads or place < 4, place


@given(st.binary(max_size=200), st.binary(max_size=100), st.sampled_from([4, 8]))
@settings(max_examples=examples(70))
def test_any_tracelogging_description_is_read_or_refused(raw: bytes, payload: bytes, pointer: int) -> None:
    """Descriptions and payloads from nowhere give values or a problem, never an exception."""
    schema = tracelogging.parse(raw)
    if schema is not None:
        values, problem = schema.layout.read(payload, pointer)
        assert list(values) == schema.layout.names[: len(values)]
        assert problem or len(values) == len(schema.layout.names)


fields = st.recursive(
    st.builds(
        Field,
        name=st.sampled_from("abc"),
        in_type=st.integers(0, 30),
        out_type=st.integers(0, 40),
        count=st.sampled_from([None, None, COUNTED, 0, 3, 65535, "a"]),
        length=st.sampled_from([None, None, COUNTED, 0, 3, "b"]),
    ),
    lambda inner: st.builds(
        Field,
        name=st.sampled_from("abc"),
        in_type=st.just(24),
        count=st.sampled_from([None, COUNTED, 65535]),
        members=st.lists(inner, max_size=3).map(tuple),
    ),
    max_leaves=6,
)


@given(st.lists(fields, max_size=5), st.binary(max_size=80), st.sampled_from([4, 8]))
@settings(max_examples=examples(70))
def test_any_layout_reads_any_payload(given_fields: list[Field], payload: bytes, pointer: int) -> None:
    """Every combination of types, counts and lengths ends, and every value can be shown."""
    layout = Layout(tuple(given_fields))
    values, _problem = layout.read(payload, pointer)
    for value, field in zip(values.values(), layout.fields, strict=False):
        show(value, field)


@given(st.text(max_size=300))
@settings(max_examples=examples(35))
def test_any_text_as_manifest_is_refused_in_words(text: str) -> None:
    """What is no manifest is a document error with the place, never a traceback."""
    with pytest.raises(BadDocument):
        manifest.parse(text.encode("utf-8", "replace"), "any.man")


def test_decoding_never_raises(path: Path) -> None:
    """Kernel events with every opcode and version, and payloads far too short for any of them."""
    decoder = Decoder()
    content = [encoder.header_buffer(payload=b"short")]
    for group in (0x00, 0x03, 0x0A, 0x14):
        for opcode in range(0, 256, 5):
            content.append(
                encoder.buffer(encoder.system(T, group << 8 | opcode, b"\1\2\3", version=opcode & 7))
            )
    path.write_bytes(b"".join(content))
    with TraceLog(path) as log:
        assert all(decoder.decode(one).event for one in log)
