# SPDX-License-Identifier: MIT
"""The picture of the demo says what the demo says, and can be read wherever README.md is shown."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from docs.picture import COLUMNS, LINES, PICTURE, drawn, last_screen, output, screen, shown_text
from docs.shown_commands import environment
from rich.text import Text

STAGE = re.compile(r"\S \w+ [\d.]+ s\b|  (image|lease): ")
"""A line of a stage. What it says, and whether there are more, depends on the host; they go before all else."""

CHANGING = re.compile(r"\d{8}-\d{6}-[\w-]+|[0-9a-f]{16}|\d[\d.]*")
"""Run ids, nonces, times and amounts."""


def lasting(lines: list[str]) -> list[str]:
    """Return the words that every run of the demo prints: none of the stages, and a sign for what changes."""
    stages = [place for place, line in enumerate(lines) if STAGE.match(line)]
    first = stages[-1] + 1 if stages else 0
    return CHANGING.sub("#", " ".join(lines[first:])).split()


def test_the_picture_stands_in_readme_and_fetches_nothing() -> None:
    """It is small, of one terminal's size, and whole in itself; it has the command and a verdict that names the guest."""
    svg = PICTURE.read_text(encoding="utf-8")
    readme = (PICTURE.parents[2] / "README.md").read_text(encoding="utf-8")
    lines = shown_text(svg)
    assert re.search(r"^!\[[^\]]+\]\(docs/pictures/demo\.svg\)$", readme, re.MULTILINE)
    assert [] == re.findall(r"(?:url\((?!#)|href|@import|<script)[^>]*", svg)
    assert len(svg.encode()) < 60_000
    assert (True, True) == (len(lines) < LINES, max(map(len, lines)) <= COLUMNS)


@pytest.mark.qemu
@pytest.mark.timeout(400)
def test_the_picture_shows_what_the_demo_prints_today(tmp_path: Path) -> None:
    """``tox run -e picture`` draws it anew; a run of this revision gives the same words, but for times, amounts and ids."""
    drawn_now = tmp_path / "now.svg"
    made = subprocess.run(
        ["tox", "run", "-e", "picture", "--", drawn_now], cwd=tmp_path, env=environment(tmp_path),
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (0, True) == (made.returncode, f"{drawn_now}: " in made.stdout), made.stdout + made.stderr
    now, shown = (shown_text(file.read_text(encoding="utf-8")) for file in (drawn_now, PICTURE))
    said = "It is made again by ./lab shell -c 'tox run -e picture'"
    assert lasting(now) == lasting(shown), said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb\r\n", ["a", "b"]),
        ("… image 0.1 s\r\x1b[J✓ image 0.2 s\r\n", ["✓ image 0.2 s"]),
        ("one\ntwo\r\x1b[1A\x1b[Jthree\n", ["three"]),
        ("half\r\x1b[2Kwhole\n", ["whole"]),
        ("\x1b[1;32mHOLDS\x1b[0m\n\n\n", ["\x1b[1;32mHOLDS\x1b[0m"]),
        ("\x1b[9Aup\n", ["up"]),
        ("", []),
    ],
)
def test_what_a_terminal_shows(text: str, shown: list[str]) -> None:
    """What was drawn over is gone, colours stay, and empty lines at the end do not count."""
    assert shown == screen(text)


def test_the_command_is_above_what_fits_and_scrolls_away() -> None:
    """A line too long for the terminal takes several rows of it."""
    few, many = last_screen(["x" * (COLUMNS + 1)]), last_screen([str(n) for n in range(99)])
    assert ["$ ./lab demo", "x" * COLUMNS, "x"] == [line.plain for line in few]
    assert [str(n) for n in range(99 - LINES + 1, 99)] == [line.plain for line in many]


def test_what_is_drawn_can_be_read_back() -> None:
    """Spaces, colours, markup and signs beyond ASCII come out as they went in; the file is XML."""
    lines = [
        "$ ./lab demo",
        "",
        "  ✓ 1. add <cpu-1> & more: [1]  2 -> 3",
        "\x1b[1;31mVIOLATED\x1b[0m on twin",
    ]
    svg = drawn([Text.from_ansi(line) for line in lines])
    assert "svg" in ET.fromstring(svg).tag
    assert [Text.from_ansi(line).plain for line in lines] == shown_text(svg)


def test_a_demo_that_fails_gives_no_picture(tmp_path: Path) -> None:
    """The error has what was printed."""
    command = [sys.executable, "-c", "import os, sys; print(os.get_terminal_size()); sys.exit(7)"]
    with pytest.raises(subprocess.CalledProcessError) as failed:
        output(command, tmp_path, {})
    assert (7, True) == (failed.value.returncode, f"columns={COLUMNS}, lines={LINES}" in failed.value.output)
