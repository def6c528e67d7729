# SPDX-License-Identifier: MIT
"""Colour appears on a terminal that wants it, and nowhere else."""

import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from harness.report.style import style_for


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A real pseudo-terminal."""
    leader, follower = os.openpty()
    with open(follower, "w") as stream:  # noqa: PTH123 - a descriptor, not a path
        yield stream
    os.close(leader)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_a_terminal_gets_colour_unless_asked_not_to(
    terminal: TextIO, environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR counts when it is not empty, as no-color.org has it; a dumb terminal never gets colour."""
    monkeypatch.delenv("TERM", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert expected == style_for(terminal).colour


def test_a_pipe_gets_none() -> None:
    """A pipe is no terminal, whatever TERM says."""
    reader, writer = os.pipe()
    with open(reader) as _, open(writer, "w") as stream:  # noqa: PTH123
        assert not style_for(stream).colour


def test_a_closed_stream_is_no_terminal(tmp_path: object) -> None:
    """Asking a closed stream does not fail."""
    _, writer = os.pipe()
    with open(writer, "w") as stream:  # noqa: PTH123
        pass
    assert not style_for(stream).colour
