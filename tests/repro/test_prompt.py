# SPDX-License-Identifier: MIT
"""Where a session's lines come from: without the extra a script still works, and what was typed is kept in bounds."""

from __future__ import annotations

import io
import re
import stat
import sys
from pathlib import Path

import pytest

from harness.contract.rules.catalogue import all_rules
from harness.errors import MissingPart
from harness.repro import prompt, session_commands
from harness.repro.session_commands import overview
from harness.repro.typed_operation import KINDS, explained


def test_a_prompt_without_its_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hint installs it, or goes without."""
    monkeypatch.setitem(sys.modules, "prompt_toolkit.history", None)
    with pytest.raises(MissingPart, match="needs prompt_toolkit") as caught:
        prompt.PromptLines(tmp_path / "typed")
    assert "[repro]" in caught.value.hint
    assert "standard input" in caught.value.hint


def test_what_is_no_terminal_is_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe, and no standard input at all, need no package."""
    monkeypatch.setitem(sys.modules, "prompt_toolkit.history", None)
    for stream in (io.StringIO("quit\n"), None):
        monkeypatch.setattr(sys, "stdin", stream)
        assert prompt.lines_for(tmp_path / "typed", lambda _: None).scripted


def test_the_typed_lines_are_private_and_bounded(tmp_path: Path) -> None:
    """The newer half stays of a file that grew large."""
    file = tmp_path / "cache" / "typed"
    prompt.PromptLines(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("".join(f"\n# time {number}\n+step {number:0200}\n" for number in range(2_000)))
    lines = prompt.PromptLines(file)
    kept = [*lines._history.load_history_strings()]
    assert f"step {1999:0200}" == kept[0]
    assert 100 < len(kept) < 1_900
    assert file.stat().st_size <= prompt.LARGEST_HISTORY


SCREEN = 24 - len(("the typed line", "the next prompt", "its toolbar"))
"""The lines of a terminal of 80x24 that one answer may take."""


def test_help_fits_a_terminal() -> None:
    """On its first screen it names everything that can be typed, and each help of one fits too."""
    lines = overview()
    assert (True, []) == (len(lines) <= SCREEN, [line for line in lines if len(line) > 79])
    words = set(re.findall(r"[a-z][a-z-]*", " ".join(lines)))
    assert set(session_commands.names()) <= words
    long = [name for name in KINDS if len(explained(name)) > SCREEN or max(map(len, explained(name))) > 79]
    assert long == []


GUEST_STATES = "guest alive", "the guest has ended"


@pytest.mark.parametrize("count", range(9))
@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_the_toolbar_keeps_the_guests_state(count: int, width: int) -> None:
    """However many rules are violated and however narrow the terminal is; where there is room, all rules are named."""
    rules = [rule.id for rule in all_rules()][:count]
    for guest in GUEST_STATES:
        line = prompt.status_line("1 of 12 operations", rules, guest, width=width)
        assert (guest in line, len(line) < max(width, len(guest) + 2)) == (True, True)
        if width >= 80:
            assert "1 of 12 operations" in line
            assert (rules[0] if rules else "nothing violated") in line
        if width >= 40 and rules:
            assert any(rule in line for rule in rules) or f"{count} violated" in line
        hidden = [rule for rule in rules if rule not in line]
        if hidden and len(hidden) < count:
            assert f", {len(hidden)} more | " in line
