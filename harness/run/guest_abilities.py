# SPDX-License-Identifier: MIT
"""What each guest type can show of a plan, on any machine."""

from __future__ import annotations

import msgspec

from harness.run import operation as op
from harness.run.options import is_process

NOT_ON_A_PROCESS = {
    "answer-unplugs": "how a guest answers a request to give a device back: there is no QEMU that would make one",
    "boot": "a boot: it has no firmware",
    "unplug": "an unplug: there is no QEMU that would ask for a device",
    "verifier": "Driver Verifier: there is no Windows",
    "watch-arrivals": "a listener in user mode: there is no Windows",
}
"""What a process guest cannot do, by operation.

A reset, a migration, a monitor that drops, a second client and a device that the guest ignores are part of
built-in plans, which every guest accepts: the run then says what it cannot show, and is unknown.
"""

ONLY_ON_WINDOWS = {
    "verifier": "Driver Verifier",
    "watch-arrivals": "a listener for arrivals in user mode",
}
"""What the twin lacks, by operation."""

NO_REMOVAL = "Windows removes neither processors nor memory (WD: kernel/introduction-to-dynamic-hardware-partitioning.md)"
"""Why a device is never removed from a guest with a template."""

ANSWERS = {"give": "gone", "refuse": "refused", "ignore": "ignored"}
"""The outcome of a request on a twin, by the configured answer."""


class Inability(msgspec.Struct, frozen=True):
    """What a guest cannot do: the key of the operation that asks for it, the reason, and what to do instead."""

    key: str
    words: str
    hint: str


def inability(guest: str, operation: op.Operation) -> Inability | None:
    """Return why ``guest`` cannot show an operation, None if it can."""
    tag = str(type(operation).__struct_config__.tag)
    if is_process(guest):
        what, key = NOT_ON_A_PROCESS.get(tag, ""), "op"
        if isinstance(operation, op.WaitFor) and operation.what == "ost":
            what, key = "the firmware's _OST", "what"
        if what:
            other = (
                "a Windows guest: --guest NAME"
                if tag in ONLY_ON_WINDOWS
                else "a guest that boots: --guest twin"
            )
            return Inability(key, f"the guest {guest} cannot show {what}", f"Run this plan on {other}.")
    if guest != "twin" and isinstance(operation, op.AnswerUnplugs):
        return Inability(
            "op",
            f"{guest} cannot be told how to answer a request to give a device back: {NO_REMOVAL}",
            "Run this plan on the twin: --guest twin.",
        )
    if guest == "twin" and tag in ONLY_ON_WINDOWS:
        return Inability(
            "op",
            f"the twin cannot show {ONLY_ON_WINDOWS[tag]}: it is Linux",
            "Run this plan on a Windows guest: --guest NAME.",
        )
    return None


def impossible_answer(
    guest: str, operation: op.Unplug, answer: tuple[int, op.AnswerUnplugs] | None
) -> Inability | None:
    """Return why ``guest`` cannot answer a request to give a device back as is expected, None if it can.

    ``answer`` is what a twin was told to answer, and the number of the operation that told it.
    """
    if guest != "twin" and operation.expect == "gone":
        return Inability(
            "expect",
            f"{operation.device!r} is never gone from {guest}: {NO_REMOVAL}",
            'expect = "kept" is refused or ignored: no page says how Windows answers.',
        )
    if answer is None or guest != "twin":
        return None
    at, told = answer
    possible = {ANSWERS[told.by]} | ({"ignored"} if told.late else set())
    if operation.expect in possible or (operation.expect == "kept" and possible != {"gone"}):
        return None
    return Inability(
        "expect",
        f"{operation.device!r} cannot be {operation.expect}: do[{at}] has the twin {told.by} what it is asked for",
        f'Give expect = "{ANSWERS[told.by]}", or put another op = "answer-unplugs" before it.',
    )
