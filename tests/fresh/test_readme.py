# SPDX-License-Identifier: MIT
"""The commands that the README prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import InfrastructureError
from tests.fresh.readme import printed_commands

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_prints_two_commands() -> None:
    """Those two are what a newcomer types."""
    assert ["./lab demo", "./lab test"] == printed_commands(README.read_text(encoding="utf-8"))


def test_only_shell_blocks_of_the_section_count() -> None:
    """Output, text and other sections are no commands."""
    text = "## Two commands\n```sh\none\ntwo\n```\n```text\noutput\n```\n```sh\nthree\n```\n## More\n```sh\nfour\n```\n"
    assert ["one", "two", "three"] == printed_commands(text)


def test_a_readme_without_commands_is_refused() -> None:
    """A section that was renamed must not pass for one whose commands work."""
    with pytest.raises(InfrastructureError, match="Two commands"):
        printed_commands("## Three commands\n```sh\none\n```\n")
