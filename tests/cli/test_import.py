# SPDX-License-Identifier: MIT
"""harness import: a run's channels, kept in files, are judged as the run itself: each alone and all together."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from capture.windows_run import WRITERS, driver_records, host_history, timed, trace_log

from harness.capture.offline.recordings import FILES
from harness.cli.main import main
from harness.contract.checker import judge
from harness.contract.verdict import RunVerdict, Verdict
from harness.errors import ExitCode
from harness.history.driver import DriverRecord
from harness.history.reader import History
from harness.history.record import Channel, Offset, Quiesced, Record

Caught = pytest.CaptureFixture[str]

CHANNELS = list(WRITERS)
SUBSETS = [set(some) for size in (1, 4) for some in itertools.combinations(CHANNELS, size)]

GOOD = "mark S2 C2 V mark Q S3 C3 V mark unload"
"""Two processors arrive, one after the other, and the driver is unloaded."""

VIOLATED = "mark C2 V mark unload"
"""The driver is told that a processor came whose Start it never saw."""

NEVER_COMPLETED = "mark S2 mark"
VETOED_AND_COMPLETED = "mark S2! C2 mark unload"
STILL_LOADED = "mark S2 C2 V mark"


def recorded(
    directory: Path, text: str, *, lost: dict[str, set[int]] | None = None, of: Iterable[str] = CHANNELS
) -> Path:
    """Write the run ``text`` with some channels, each without the numbers it lost."""
    records = timed(text)
    host_history(directory, records)
    for channel in of:
        kept = [one for one in driver_records(records) if one.seq not in (lost or {}).get(channel, set())]
        WRITERS[channel](directory / FILES[channel], kept)
    return directory


def judged(run: Path, capsys: Caught) -> tuple[int, RunVerdict]:
    """The exit code of harness check on a run directory, and the verdict that it prints."""
    capsys.readouterr()
    code = main(["check", "--json", str(run)])
    document = json.loads(capsys.readouterr().out)["runs"][0]
    assert "verdict" in document, document
    return code, msgspec.convert(document["verdict"], RunVerdict)


def said(verdict: RunVerdict) -> tuple[Verdict, list[tuple[str, Verdict, str, int]]]:
    """What a verdict says of each rule, without the numbers of the records that show it."""
    return verdict.verdict, [(r.rule, r.verdict, r.reason, r.exercised) for r in verdict.rules]


def imported(run: Path, *options: str) -> Path:
    """Import and return the new directory; the import must succeed."""
    into = run.with_name(f"{run.name}{len(list(run.parent.iterdir()))}")
    assert main(["import", str(run), "--into", str(into), *options]) == 0
    return into


@pytest.mark.parametrize(
    ("text", "verdict", "code"),
    [(GOOD, Verdict.HOLDS, 0), (VIOLATED, Verdict.VIOLATED, 1), (VETOED_AND_COMPLETED, Verdict.VIOLATED, 1),
     (STILL_LOADED, Verdict.HOLDS, 0)],
    ids=["good", "no start", "completed although vetoed", "still loaded"],
)  # fmt: skip
def test_each_channel_alone_and_all_together_give_the_verdict_of_the_run(
    text: str, verdict: Verdict, code: int, tmp_path: Path, capsys: Caught
) -> None:
    """Whatever channels there are, every rule says what it says of the run as it was."""
    run = recorded(tmp_path / "run", text)
    expected = said(judge(timed(text)))
    assert expected[0] == verdict
    for channels in SUBSETS:
        options = [word for one in sorted(channels) for word in (f"--{one}", str(run / FILES[one]))]
        result = judged(imported(run, *options), capsys)
        assert (code, expected) == (result[0], said(result[1])), channels


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (VIOLATED, 1)], ids=["good", "no start"])
def test_check_joins_what_lies_beside_the_history(
    text: str, code: int, tmp_path: Path, capsys: Caught
) -> None:
    """One command judges a run directory with any channels in it; the history's file alone is judged as it is."""
    expected = said(judge(timed(text)))
    for number, channels in enumerate(SUBSETS):
        run = recorded(tmp_path / str(number), text, of=channels)
        assert (code, expected) == (judged(run, capsys)[0], said(judged(run, capsys)[1])), channels
        assert Verdict.UNKNOWN is judged(run / "history.jsonl", capsys)[1].verdict
    main(["check", str(tmp_path / "0")])
    (name,) = SUBSETS[0]
    count = len(driver_records(timed(text)))
    assert (
        f"Judged with the recordings beside the history: {count} of {name} records" in capsys.readouterr().out
    )


def test_check_says_which_recording_it_cannot_read(tmp_path: Path, capsys: Caught) -> None:
    """A file that is no trace log costs nothing but its channel: the history is judged, and the file named."""
    run = recorded(tmp_path / "run", GOOD, of=["etw"])
    (run / FILES["etw"]).write_bytes(b"no trace log at all")
    assert Verdict.UNKNOWN is judged(run, capsys)[1].verdict
    main(["check", str(run)])
    assert "hpnotify.etl" in capsys.readouterr().out


@pytest.mark.parametrize("lossy", CHANNELS)
@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (VIOLATED, 1)], ids=["good", "no start"])
def test_losses_of_one_channel_harm_nothing_and_are_told(
    lossy: str, text: str, code: int, tmp_path: Path, capsys: Caught
) -> None:
    """What one channel lost the others have: the verdict is that of the run, and the account names the loss."""
    numbers = [one.seq for one in driver_records(timed(text))]
    gone = set(numbers[3:6]) | set(numbers[-4:-2])
    run = recorded(tmp_path / "run", text, lost={lossy: gone})
    into = imported(run)
    lines = capsys.readouterr().out.splitlines()
    assert [lossy, str(len(numbers) - 5), "5", "5"] in [line.split()[:4] for line in lines]
    assert "5 numbers are missing between its records" in "\n".join(lines)
    result = judged(into, capsys)
    assert (code, said(judge(timed(text)))) == (result[0], said(result[1]))
    accounts = {one.name: one.lost for one in History(into) if isinstance(one, Channel)}
    assert {channel: 5 if channel == lossy else 0 for channel in CHANNELS} == accounts


def test_channels_that_all_lost_something_complete_each_other(tmp_path: Path, capsys: Caught) -> None:
    """Four lossy channels that lost different records are one whole history."""
    numbers = [one.seq for one in driver_records(timed(GOOD))]
    lost = {channel: set(numbers[2 + place : -3 : 4]) for place, channel in enumerate(CHANNELS)}
    code, verdict = judged(imported(recorded(tmp_path / "run", GOOD, lost=lost)), capsys)
    assert (0, said(judge(timed(GOOD)))) == (code, said(verdict))


@pytest.mark.parametrize("text", [GOOD, VIOLATED], ids=["good", "no start"])
def test_what_every_channel_lost_is_unknown(text: str, tmp_path: Path, capsys: Caught) -> None:
    """A callback that no channel brought can neither hold nor be held against anyone."""
    records = driver_records(timed(text))
    callback = [one.seq for one in records if one.__struct_config__.tag in ("sync.enter", "sync.exit")][-4:]
    code, verdict = judged(
        imported(recorded(tmp_path / "run", text, lost={one: set(callback) for one in CHANNELS})), capsys
    )
    assert (ExitCode.UNKNOWN, Verdict.UNKNOWN) == (code, verdict.verdict)
    assert "never arrived" in next(r.reason for r in verdict.rules if r.rule == "CAP-NO-LOSS")


def test_a_log_that_lost_its_last_events_is_unknown_alone_and_harmless_beside_another(
    tmp_path: Path, capsys: Caught
) -> None:
    """The session says that events were lost and the driver's last records are not there."""
    records = timed(GOOD)
    run = host_history(tmp_path / "run", records)
    trace_log(run / FILES["etw"], driver_records(records)[:-9], events_lost=9)
    code, verdict = judged(imported(run), capsys)
    assert (ExitCode.UNKNOWN, Verdict.UNKNOWN) == (code, verdict.verdict)
    WRITERS["debugcon"](run / FILES["debugcon"], driver_records(records))
    into = imported(run)
    assert "the session lost 9 events" in capsys.readouterr().out
    assert (0, said(judge(records))) == ((result := judged(into, capsys))[0], said(result[1]))


def test_every_account_counts_the_records_of_its_channel(tmp_path: Path) -> None:
    """``records`` of an imported channel is the number of its records in the history, whatever it lost."""
    run = recorded(tmp_path / "run", GOOD, lost={"ring": {5, 6}, "etw": {9}})
    records = list(History(imported(run)))
    accounts = {one.name: one.records for one in records if isinstance(one, Channel)}
    assert accounts == Counter(one.channel for one in records if isinstance(one, DriverRecord))
    assert set(CHANNELS) == set(accounts)


def test_a_live_channel_is_completed_by_the_log(tmp_path: Path, capsys: Caught) -> None:
    """Records that the debug port lost during the run are put in their places among those that it brought."""
    records = timed(GOOD)
    numbers = [one.seq for one in driver_records(records)]
    gone = {*numbers[6:9], *numbers[-6:-4]}
    kept = [one for one in records if not isinstance(one, DriverRecord) or one.seq not in gone]
    run = host_history(tmp_path / "run", kept, live="debugcon")
    assert judged(run, capsys)[0] == ExitCode.UNKNOWN
    WRITERS["etw"](run / FILES["etw"], driver_records(records))
    into = imported(run)
    assert (0, said(judge(records))) == ((result := judged(into, capsys))[0], said(result[1]))
    seen = list(dict.fromkeys(one.seq for one in driver_records(History(into))))
    assert seen == sorted(numbers)


def test_the_json_document(tmp_path: Path, capsys: Caught) -> None:
    """--json tells each channel's account, the differences, and where the new directory is."""
    run = recorded(tmp_path / "run", STILL_LOADED, lost={"etw": {4}}, of=["debugcon", "etw", "ring"])
    assert main(["import", "--json", str(run)]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert document["directory"] == str(tmp_path / "run-imported")
    assert {one["channel"]: one["lost"] for one in document["channels"]} == {
        "debugcon": 0,
        "etw": 1,
        "ring": 0,
    }
    assert document["missing"]["etw"] == ["1 numbers are missing between its records"]
    assert (document["different"], document["lost_nowhere"], document["unproven"]) == (0, 0, 0)
    assert 0 < document["widest_ns"] < 20_000_000
    names = {path.name for path in (tmp_path / "run-imported").iterdir()}
    assert {"history.jsonl", "debugcon.log", "hpnotify.etl", "ring.jsonl"} == names


def _no_files(run: Path) -> list[str]:
    return [str(run)]


def _twice(run: Path) -> list[str]:
    history = [msgspec.structs.replace(one, host_ns=0) for one in History(run)]
    history.insert(-1, Channel(name="debugcon", records=0, closed=True))
    (run / "history.jsonl").unlink()
    host_history(run.with_name("live"), history, live="debugcon")
    return [str(run.with_name("live")), "--debugcon", str(run / "debugcon.log")]


def _without_brackets(run: Path) -> list[str]:
    history: list[Record] = [one for one in History(run) if not isinstance(one, Offset)]
    host_history(run.with_name("bare"), history)
    return [str(run.with_name("bare")), "--debugcon", str(run / "debugcon.log")]


def _is_no_log(run: Path) -> list[str]:
    return [str(run), "--etw", str(run / "debugcon.log")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (_no_files, "holds no recording of a channel that its history does not have already"),
        (_twice, "the history has records of the channel debugcon already"),
        (_without_brackets, "nothing in the history says when the"),
        (_is_no_log, "debugcon.log"),
        (lambda run: [str(run), "--ring", str(run / "missing")], "missing is not a file"),
        (lambda run: [str(run / "missing")], "No such file or directory"),
        (lambda run: [str(run), "--debugcon", str(run / "debugcon.log"), "--into", str(run)], "cannot make"),
    ],
    ids=["no files", "twice", "no brackets", "no log", "no file", "no run", "not new"],
)  # fmt: skip
def test_what_cannot_be_imported(arguments: Any, message: str, tmp_path: Path, capsys: Caught) -> None:
    """Each refusal says what is wrong, and no directory is left behind."""
    run = recorded(tmp_path / "run", STILL_LOADED, of=["debugcon"])
    words = arguments(run)
    if arguments is _no_files:
        (run / "debugcon.log").unlink()
    before = sorted(tmp_path.iterdir())
    assert main(["import", *words]) in (ExitCode.USAGE, ExitCode.INFRASTRUCTURE)
    assert message in capsys.readouterr().err
    assert before == sorted(tmp_path.iterdir())


def test_arrival_at_the_debuggers_port_is_time_enough(tmp_path: Path, capsys: Caught) -> None:
    """The port's reader stamps what it gets, so its records need no brackets."""
    records = [one for one in timed(GOOD) if not isinstance(one, Offset)]
    run = host_history(tmp_path / "run", records)
    WRITERS["dbgprint"](run / FILES["dbgprint"], driver_records(records))
    assert (0, said(judge(records))) == ((result := judged(imported(run), capsys))[0], said(result[1]))


def test_brackets_too_wide_prove_no_silence(tmp_path: Path, capsys: Caught) -> None:
    """Where a record may have come before a silence or after it, an absence is unknown and not held against anyone."""
    records = timed(NEVER_COMPLETED)
    assert judge(records).verdict is Verdict.VIOLATED
    wide = [
        msgspec.structs.replace(one, high_ns=one.high_ns + 10**9, low_ns=one.low_ns - 10**9)
        if isinstance(one, Offset)
        else one
        for one in records
    ]
    for name, given, code in (("narrow", records, ExitCode.VIOLATED), ("wide", wide, ExitCode.UNKNOWN)):
        run = host_history(tmp_path / name, given)
        WRITERS["etw"](run / FILES["etw"], driver_records(given))
        into = imported(run)
        assert ("prove nothing" in capsys.readouterr().out) == (name == "wide")
        assert code == judged(into, capsys)[0]
        assert any(isinstance(one, Quiesced) for one in History(into)) == (name == "narrow")
