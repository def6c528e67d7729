# SPDX-License-Identifier: MIT
"""What a guest hands over when its plan is over is judged with the run, as if it had come during it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from capture.windows_run import WRITERS, driver_records, host_history, timed

from harness.capture.offline.recordings import FILES
from harness.contract.checker import judge_history
from harness.contract.verdict import Verdict
from harness.deadline import Deadline
from harness.errors import InfrastructureError
from harness.guest.guest import CollectedFile, Guest
from harness.history.reader import History
from harness.run.handover import FOLDER, hand_over, summary
from harness.run.judging import open_history

GOOD = "mark S2 C2 V mark Q S3 C3 V mark unload"
WITHIN = Deadline(30, "collect")


class Recorder:
    """A guest that has recorded a run on some channels, and a log that is none."""

    def __init__(self, text: str, *channels: str) -> None:
        self.records = timed(text)
        self.channels = channels

    def collect(self, into: Path, _deadline: Deadline) -> list[CollectedFile]:
        found = [CollectedFile(name="events", refused="wevtutil: exit code 5")]
        (into / "System.evtx").write_bytes(b"x")
        found.append(CollectedFile(name="log", file=into / "System.evtx", size=1, sha256="ab"))
        for channel in self.channels:
            file = WRITERS[channel](into / f"0{channel}", driver_records(self.records))
            found.append(CollectedFile(name=channel, file=file, size=file.stat().st_size, channel=channel))
        return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory to be."""
    return tmp_path / "run"


def handed(run: Path, text: str, *channels: str) -> list[CollectedFile]:
    """Have such a guest hand over into a run whose host saw nothing of the driver itself."""
    guest = Recorder(text, *channels)
    host_history(run, guest.records)
    return hand_over(cast("Guest", guest), run / FOLDER, run, WITHIN)


@pytest.mark.parametrize("channels", [("etw",), ("ring",), ("etw", "ring")])
def test_channels_join_the_history(run: Path, channels: tuple[str, ...]) -> None:
    """Without them the run says nothing; with them it holds, and the history on disk is as it was."""
    found = handed(run, GOOD, *channels)
    before = (run / "history.jsonl").read_bytes()
    assert Verdict.HOLDS is not judge_history(History(run)).verdict
    assert Verdict.HOLDS is judge_history(open_history(run)).verdict
    assert before == (run / "history.jsonl").read_bytes()
    assert all((run / FILES[channel]).is_file() for channel in channels)
    assert summary(found).endswith("events: wevtutil: exit code 5")


def test_what_was_handed_over_is_listed(run: Path) -> None:
    """With sizes and digests, paths relative to the run, and what could not be had."""
    handed(run, GOOD, "ring")
    listed: list[dict[str, Any]] = json.loads((run / FOLDER / "collected.json").read_text())
    assert {"name": "events", "refused": "wevtutil: exit code 5"} == listed[0]
    assert {"name": "log", "file": "guest/System.evtx", "size": 1, "sha256": "ab"} == listed[1]
    assert ("ring", "guest/0ring", "ring") == (listed[2]["name"], listed[2]["file"], listed[2]["channel"])


def test_a_channel_that_the_run_has_is_not_replaced(run: Path) -> None:
    """The debug port's own file lies there already."""
    guest = Recorder(GOOD, "ring")
    host_history(run, guest.records)
    (run / FILES["ring"]).write_text("mine")
    hand_over(cast("Guest", guest), run / FOLDER, run, WITHIN)
    assert "mine" == (run / FILES["ring"]).read_text()


def test_a_run_directory_that_is_gone_is_said(run: Path) -> None:
    """The host's trouble, not the guest's."""
    run.mkdir()
    (run / "file").write_text("")
    with pytest.raises(InfrastructureError, match="cannot write"):
        hand_over(cast("Guest", Recorder(GOOD)), run / "file" / "guest", run, WITHIN)


def test_nothing_handed_over_leaves_the_history_alone(run: Path) -> None:
    """As for the twin: the plain history is read."""
    handed(run, GOOD)
    assert History is type(open_history(run))
