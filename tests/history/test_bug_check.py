# SPDX-License-Identifier: MIT
"""A bug check as QEMU's schema has it: GuestPanicInformation of qapi/run-state.json."""

from __future__ import annotations

from typing import Any

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.history.bug_check import NAMES, BugCheck, bug_check_of, panic_words

WORD = st.integers(0, (1 << 64) - 1)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


def hyper_v(*words: int) -> dict[str, Any]:
    """The data of a GUEST_PANICKED from the crash registers."""
    info = {"type": "hyper-v"} | {f"arg{place}": word for place, word in enumerate(words, 1)}
    return {"action": "run", "info": info}


@settings(max_examples=examples(60))
@given(WORD, WORD, WORD, WORD, WORD)
def test_code_and_parameters(code: int, first: int, second: int, third: int, fourth: int) -> None:
    """arg1 is the code, and the others its parameters, each of 64 bits."""
    found = bug_check_of(hyper_v(code, first, second, third, fourth))
    assert BugCheck(code, (first, second, third, fourth)) == found
    assert f"bug check {code:#x}" in str(found)


def test_names() -> None:
    """Those of Microsoft's page; a code that is not in the table has none."""
    assert "bug check 0x130 DYNAMIC_ADD_PROCESSOR_MISMATCH (0x1, 0x2, 0x3, 0x4)" == str(
        bug_check_of(hyper_v(0x130, 1, 2, 3, 4))
    )
    assert "bug check 0x12345 (0x0, 0x0, 0x0, 0x0)" == str(bug_check_of(hyper_v(0x12345, 0, 0, 0, 0)))
    assert len(NAMES) == len(set(NAMES.values()))
    assert all(name.replace("_", "").isalnum() and name.isupper() for name in NAMES.values())


@pytest.mark.parametrize(
    "data",
    [
        {"action": "pause"},
        {
            "action": "pause",
            "info": {"type": "s390", "core": 0, "psw-mask": 1, "psw-addr": 2, "reason": "unknown"},
        },
        hyper_v(1, 2, 3, 4),
        hyper_v(1, 2, 3, 4, 1 << 64),
        hyper_v(-1, 2, 3, 4, 5),
        {"info": None},
        {},
    ],
)
def test_no_bug_check(data: dict[str, Any]) -> None:
    """pvpanic's event has no information, other machines have their own; a number that is missing is no 0."""
    assert bug_check_of(data) is None
    assert "it reported a panic to QEMU (pvpanic)" == panic_words({"event": "GUEST_PANICKED", "data": data})


def test_other_events_tell_of_no_end() -> None:
    """A guest that has loaded a crash kernel says so itself."""
    assert "" == panic_words({"event": "GUEST_CRASHLOADED", "data": hyper_v(1, 2, 3, 4, 5)})
    assert "" == panic_words({"return": {}})


@settings(max_examples=examples(50))
@given(st.dictionaries(st.sampled_from(["event", "data", "info"]), ANYTHING), ANYTHING)
def test_any_message_is_read(message: dict[str, Any], data: Any) -> None:
    """What stands between QEMU and the harness may say anything."""
    assert isinstance(panic_words(message), str)
    assert "panic" in panic_words({"event": "GUEST_PANICKED", "data": data})
