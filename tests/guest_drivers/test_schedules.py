# SPDX-License-Identifier: MIT
"""The driver under a scheduler of our own: the orders of its threads, one after the other. Says nothing about Windows."""

from __future__ import annotations

import platform
import shutil
import struct
from pathlib import Path

import pytest
from guest_drivers.host_process import build, request
from guest_drivers.schedules import END, PAIRS, WrongScheduleError, drawn, explore, pair, script, violations

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(
        shutil.which("gcc") is None or shutil.which("make") is None or platform.system() != "Linux",
        reason="needs gcc and make",
    ),
]


NOT_THE_DRIVERS = {
    # A stop that no request to detach came before is the script's doing, and so is a group of two processors.
    "OB-ASYNC-UNREG-BEFORE-UNLOAD",
    "NUM-GROUP0",
    # Without the host's commands two additions under one number, one after the other, look like one.
    "SYNC-AGREE",
}


@pytest.fixture(scope="session")
def schedules(request: pytest.FixtureRequest) -> Path:
    """The host process that runs one schedule after another, with AddressSanitizer."""
    return build(request.config.cache.mkdir("hpnotify-host"), "address,undefined", "hpnotify-schedules")


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda name: name)
def test_all_schedules_of_two_actors(schedules: Path, one: str, other: str) -> None:
    """With two turns out of the usual order nothing is lost, freed twice, left open or called too late."""
    explored = explore(schedules, pair(one, other), "all", "2")
    assert explored.schedules > 100
    assert explored.distinct > 1
    assert [] == [found for transcript in explored.transcripts[::10] for found in violations(transcript)]


def test_longer_random_schedules(schedules: Path) -> None:
    """Three actors with up to eight steps each, in orders drawn from a seed."""
    explored = [explore(schedules, drawn(seed), "random", str(seed), "20") for seed in range(40)]
    assert 800 == sum(each.schedules for each in explored)
    found = {text.partition(":")[0] for each in explored for text in violations(each.transcripts[0])}
    assert set() == found - NOT_THE_DRIVERS


@pytest.mark.parametrize("fault", ["complete-before-start", "duplicate-start"])
def test_a_wrong_schedule_ends_the_search(schedules: Path, fault: str) -> None:
    """What breaks an invariant is shown with the choices that bring it back, and they do."""
    text = pair("add", "ioctl", f"plant {fault}")
    with pytest.raises(WrongScheduleError, match=r"wrong: .* Start") as caught:
        explore(schedules, text, "all", "1")
    choices = str(caught.value).rpartition("choices ")[2].partition("\n")[0]
    with pytest.raises(WrongScheduleError, match=r"wrong: .* Start"):
        explore(schedules, text, "replay", choices)


def test_the_same_choices_say_the_same(schedules: Path) -> None:
    """A schedule is its choices: times, threads and numbers repeat as well."""
    text = pair("veto", "unload")
    one, other = (explore(schedules, text, "random", "7", "1").transcripts for _ in range(2))
    strip = [
        line.split(" cpu=")[1].split(" crc=")[0].split(" ctx=")[0].split(" object=")[0]
        for line in one[0].lines
    ]
    assert strip == [
        line.split(" cpu=")[1].split(" crc=")[0].split(" ctx=")[0].split(" object=")[0]
        for line in other[0].lines
    ]


def test_work_is_neither_lost_nor_done_twice(schedules: Path) -> None:
    """Whatever is accepted while processors come and fail is done once, by whom it was given to."""
    text = script(
        "start hpnotify", "parallel", "1 add 2", "1 fail 3", "2 " + request("WORK", 4), "2 " + request("WORK", 3),
        "join", request("WORK", 0), *END,
    )  # fmt: skip
    explored = explore(schedules, text, "all", "1")
    for transcript in explored.transcripts:
        done = {record.nt: record.done for record in transcript.records if type(record).__name__ == "Work"}
        assert 7 == sum(done.values())


def test_waiting_work_counts_and_neither_processor_is_preferred(schedules: Path) -> None:
    """One item at a time, before any is done: each goes to a processor with the fewest waiting, which is told."""
    ask = request("STATISTICS", output=48 + 24 + 3 * 40)
    text = script("start hpnotify", "add 2", *[request("WORK", 1)] * 6, ask, *END)
    (transcript,) = explore(schedules, text, "all", "0").transcripts
    (account,) = (data for _, data in transcript.answers if data)
    rows = [row[3] for row in struct.iter_unpack("<4I3Q", account[72:])]
    done = {record.nt: record.done for record in transcript.records if type(record).__name__ == "Work"}
    assert ([2, 2, 2], {0: 2, 1: 2, 2: 2}) == (rows, done)
