# SPDX-License-Identifier: MIT
"""What a user is told of a name that does not exist."""

from __future__ import annotations

import pytest

from harness.choice import check_choice, closest, suggest
from harness.errors import UsageError


@pytest.mark.parametrize(
    ("wanted", "known", "hint"),
    [
        ("slto", ["memory", "slot"], "Did you mean 'slot'? There are: memory, slot."),
        ("zzz", ["memory", "slot"], "There are: memory, slot."),
        ("slot", [], "There are: none."),
    ],
)
def test_hint_has_the_guess_before_all_names(wanted: str, known: list[str], hint: str) -> None:
    """The hint guesses only what is alike, and always lists the names, in the order they are given in."""
    assert hint == suggest(wanted, known)


def test_closest_returns_at_most_the_count() -> None:
    """The most alike name is first."""
    assert ["SYNC-AGREE", "SYNC-AGREED"] == closest("SYNC-AGREE", ["SYNC-AGREED", "SYNC-AGREE", "HOST"], 2)


def test_unknown_choice_is_wrong_usage() -> None:
    """A known name passes; the message for another says what kind of name it is."""
    check_choice("plan", "veto", ["veto"])
    with pytest.raises(UsageError) as refused:
        check_choice("plan", "vetto", ["veto"])
    assert "no plan is called 'vetto'\n  Did you mean 'veto'? There are: veto." == str(refused.value)
