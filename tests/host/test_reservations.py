# SPDX-License-Identifier: MIT
"""Reservations of a host: who has it until when; what lies among the leases and is none counts for nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.deadline import Deadline
from harness.errors import UsageError
from harness.host.budget import HostBudget, ResourceRequest
from harness.host.lease import Leases
from harness.host.reservation_file import LONGEST
from harness.host.reservations import MOST_OWN, Reservations, why_reserved

HOUR = 3600.0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of leases of the test's own."""
    place = tmp_path / "leases"
    monkeypatch.setenv("HOTPLUG_HARNESS_LEASES", str(place))
    return place


def reserve(hours: float = 1.0, why: str = "a debugger is attached") -> None:
    """Reserve the host."""
    now = time.time()
    Reservations().make(until=now + hours * HOUR, why=why, now=now)


def test_it_counts_until_it_is_released(place: Path) -> None:
    """The one that lasts longest comes first; nothing is left of released ones."""
    reserve(2, "second")
    reserve(3, "first")
    seen = [each.claim.why for each in Reservations().current()]
    told = why_reserved(Reservations().place)
    released = Reservations().release()
    assert [["first", "second"], True, True, 2, [], []] == [
        seen, told.startswith("reserved by "), told.endswith(": first"), len(released), Reservations().current(),
        list(place.iterdir()),
    ]  # fmt: skip


def test_one_that_is_over_counts_no_more_and_goes(place: Path) -> None:
    """It is no remark of the leases, and the next reservation removes it."""
    place.mkdir()
    over = place / f"{1:016x}.reservation"
    over.write_text(json.dumps({"until": int(time.time()) - 1, "why": "over"}))
    seen = (Reservations().current(), why_reserved(Reservations().place), Leases().remarks())
    reserve()
    assert (([], "", []), False, 1) == (seen, over.exists(), len(list(place.iterdir())))


@pytest.mark.parametrize(
    ("content", "from_now"),
    [
        (b"", 0),
        (b"{}", 0),
        (b'{"until": 1e300, "why": "x"}', 0),
        (b'{"until": UNTIL, "why": "too long from now"}', LONGEST + 1000),
        (b'{"until": UNTIL, "why": "\\u001b]0;title\\u0007"}', 1000),
        (b'{"until": UNTIL, "why": "%s"}' % (b"x" * 201), 1000),
        (b"[" * 2000, 0),
        (b"x" * 100_000, 0),
    ],
)
def test_a_file_that_claims_nothing_counts_for_nothing(place: Path, content: bytes, from_now: int) -> None:
    """Its owner is named with the files that are no leases, and gc removes it."""
    place.mkdir()
    until = int(time.time()) + int(from_now)
    (place / f"{1:016x}.reservation").write_bytes(content.replace(b"UNTIL", b"%d" % until))
    assert ([], True, 1) == (
        Reservations().current(), "files that claim nothing" in Leases().remarks()[0], Leases().sweep().removed,
    )  # fmt: skip


def test_links_and_pipes_are_not_followed(place: Path, tmp_path: Path) -> None:
    """Whatever they lead to; nobody waits for a pipe."""
    place.mkdir()
    other = tmp_path / "other"
    other.write_text(json.dumps({"until": int(time.time()) + 1000, "why": "linked"}))
    (place / f"{1:016x}.reservation").symlink_to(other)
    os.mkfifo(place / f"{2:016x}.reservation")
    (place / f"{3:016x}.reservation").mkdir()
    assert [] == Reservations().current()


def test_a_reservation_takes_no_lease_and_gc_leaves_it(place: Path) -> None:
    """Machines start beside it; it is neither a dead lease nor a file that claims nothing."""
    reserve()
    budget = HostBudget(vcpus=2, memory=1 << 30, disk=1 << 30)
    with Leases().take(ResourceRequest(vcpus=2, memory=0), budget, Deadline(60, "test")) as lease:
        seen = (lease.granted, Leases().remarks(), len(Leases().held()))
    assert ((True, [], 1), 0, 1) == (seen, Leases().sweep().removed, len(Reservations().current()))


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("hours", "why", "said"),
    [
        (24 * 7.1, "x", "7 days at most"),
        (1, "", "needs a reason"),
        (1, " ", "needs a reason"),
        (1, "x" * 201, "needs a reason"),
        (1, "a\nb", "needs a reason"),
        (1, "\x1b[2J", "needs a reason"),
    ],
)
def test_what_cannot_be_reserved_is_told(hours: float, why: str, said: str) -> None:
    """Nothing is written."""
    with pytest.raises(UsageError, match=said):
        reserve(hours, why)
    assert [] == Reservations().current()


@pytest.mark.usefixtures("place")
def test_one_user_cannot_fill_the_directory_by_mistake() -> None:
    """A loop that reserves ends with words."""
    for _ in range(MOST_OWN):
        reserve()
    with pytest.raises(UsageError, match=f"you already have {MOST_OWN} reservations"):
        reserve()


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch.example"], "'nosuch.example' is not this host's name"),
        (["localhost"], "reserve needs --until TIME"),
        (["localhost", "--until", "18:60", "--why", "x"], "--until: '18:60' is not an end time"),
        (["--until", "2h", "--why", "x"], "reserve needs the name of this host"),
        (["--release", "--until", "2h"], "--release takes neither"),
    ],
)
def test_mistakes_end_with_64(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    """Another host's name, no time, a wrong one, no host."""
    assert 64 == main(["reserve", *words])
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_reserve_and_ps_list_it(capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as documents."""
    said = []
    for words in (
        ["reserve", "localhost", "--until", "2h", "--why", "a debugger is attached"],
        ["reserve"],
        ["ps"],
        ["reserve", "--json"],
        ["ps", "--json"],
        ["reserve", "--release"],
        ["reserve"],
    ):
        assert 0 == main(words)
        said.append(capsys.readouterr().out)
    documents = [json.loads(said[number])["reservations"] for number in (3, 4)]
    assert ([True] * 4, True, 1, documents[0]) == (
        ["a debugger is attached" in text for text in (*said[:3], said[5])],
        said[6].startswith("Nobody has reserved"),
        len(documents[0]),
        documents[1],
    )
