# SPDX-License-Identifier: MIT
"""The three-way agreement on a request to give a device back: each of the three alone can spoil it, and it says which did."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.rules.host import contradicts
from harness.run.pending_removal import REASONS, Ejection, PendingRemoval

MIB = 1 << 20
GONE = Ejection(ost=[(3, 0x84), (3, 0)], deleted=True)
BUSY = Ejection(ost=[(3, 0x84), (3, 0x82)])
BEGUN = Ejection(ost=[(3, 0x84)])


def cpu(expected: str = "gone", reason: str | None = None) -> PendingRemoval:
    """Return a request for one processor of three."""
    return PendingRemoval(
        name="unplug-1", what="cpu", device="x", slot="2", expected=expected, reason=reason, before=3  # type: ignore[arg-type]
    )  # fmt: skip


def dimm(expected: str = "gone") -> PendingRemoval:
    """Return a request for a DIMM of 256 MiB."""
    return PendingRemoval(
        name="unplug-1", what="dimm", device="m", slot="0", expected=expected, reason=None, before=700 * MIB, size=256 * MIB  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "heard", "listed", "now"),
    [
        (cpu("gone"), GONE, False, 2),
        (dimm("gone"), GONE, False, 444 * MIB),
        (cpu("refused"), BUSY, True, 3),
        (cpu("refused", "busy"), BUSY, True, 3),
        (cpu("refused"), Ejection(failed=True), True, 3),
        (cpu("ignored"), Ejection(), True, 3),
        (cpu("kept"), Ejection(), True, 3),
        (cpu("kept"), BUSY, True, 3),
        (dimm("kept"), BUSY, True, 700 * MIB - 4096),
    ],
)
def test_all_three_agree(request_: PendingRemoval, heard: Ejection, listed: bool, now: int) -> None:
    """On each outcome; memory may differ by what the guest keeps for itself."""
    seen = request_.agreement(heard, listed=listed, now=now)
    assert (seen.agreed, seen.detail, contradicts(seen, refused=False, alone=False)) == (True, "", "")


@pytest.mark.parametrize(
    ("request_", "heard", "listed", "now", "detail"),
    [
        (cpu(), GONE, True, 2, "QEMU still lists the device, and the guest gave it back"),
        (cpu(), Ejection(deleted=True), False, 2, "no _OST reports that it was ejected (seen: none)"),
        (cpu(), Ejection(ost=[(3, 0)]), False, 2, "QEMU did not report its removal"),
        (cpu(), GONE, False, 3, "the guest counts 3 processors, expected 2 processors"),
        (cpu(), GONE, False, 1, "the guest counts 1 processor, expected 2 processors"),
        (dimm(), GONE, False, 690 * MIB, "the guest counts 690 MiB of memory, expected 444 MiB of memory"),
        (cpu(), BUSY, True, 3, "and the guest refused it as busy"),
        (cpu(), Ejection(), True, 3, "and no answer came in time"),
        (cpu(), BEGUN, True, 3, "and the guest began and did not finish"),
        (cpu("refused"), GONE, False, 2, "QEMU does not list the device any more: the guest gave it back"),
        (cpu("refused"), Ejection(), True, 3, "no _OST refuses it: no answer came in time"),
        (cpu("refused", "in-use"), BUSY, True, 3, "the guest refused it as busy, expected as in-use"),
        (cpu("refused"), BUSY, True, 2, "the guest counts 2 processors, expected 3"),
        (cpu("ignored"), BUSY, True, 3, "the guest refused it as busy"),
        (cpu("kept"), BEGUN, True, 3, "the guest began and did not finish"),
        (cpu("kept"), GONE, False, 2, "QEMU does not list the device any more"),
        (dimm("kept"), BUSY, True, 600 * MIB, "the guest counts 600 MiB of memory"),
    ],
)
def test_one_of_three_differs(
    request_: PendingRemoval, heard: Ejection, listed: bool, now: int, detail: str
) -> None:
    """Whichever differs is named."""
    seen = request_.agreement(heard, listed=listed, now=now)
    assert not seen.agreed
    assert detail in seen.detail


def test_the_outcome_is_what_came_about() -> None:
    """Whatever was expected: QEMU's list first, then what the firmware said."""
    for heard, listed, outcome in (
        (GONE, False, "gone"), (Ejection(), False, "gone"), (BUSY, True, "refused"),
        (Ejection(), True, "ignored"), (BEGUN, True, ""), (GONE, True, ""),
    ):  # fmt: skip
        assert cpu().outcome(heard, listed=listed) == outcome


ANSWERS = st.lists(
    st.tuples(st.sampled_from([3, 0x103]), st.sampled_from([0, 2, 0x84, *REASONS])), max_size=4
)


@given(ost=ANSWERS, deleted=st.booleans(), listed=st.booleans(), now=st.integers(0, 5), word=st.sampled_from(["gone", "refused", "ignored", "kept"]))  # fmt: skip
def test_what_is_agreed_does_not_contradict_itself(
    ost: list[tuple[int, int]], deleted: bool, listed: bool, now: int, word: str
) -> None:
    """Whatever is heard: the rule that reads an agreement finds nothing against one that was made so."""
    heard = Ejection(ost=ost, deleted=deleted)
    seen = cpu(word).agreement(heard, listed=listed, now=now)
    assert contradicts(seen, refused=False, alone=False) == ""
    if seen.agreed:
        assert cpu(word).outcome(heard, listed=listed) in (
            (word,) if word != "kept" else ("refused", "ignored")
        )
