# SPDX-License-Identifier: MIT
"""The plugin's markers, checked: a test's guest, machine, plan, and known bugs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.run.plan import MachineWishes, Plan

MARKERS = {
    "guest": "guest(name, *, cpus=None, dimms=None): the guest that the test needs, with how many processors at power-on "
    "and how many slots for DIMMs",
    "machine": "machine(**wishes): what a plan's [machine] table would say: processors, max_processors, memory, …",
    "plan": "plan(name): execute a built-in plan, or a plan file, before the test looks at the result",
    "inject_fault": "inject_fault(name): make the twin's NT layer misbehave in a known way",
    "known_issue": "known_issue(url, reason): if the test really fails, that is the bug at this address: xfail",
    "hardware": "hardware: needs a real Windows guest; not selected unless -m says so",
}

FORMER = "plant(name): the former name of inject_fault"

_URL = re.compile(r"https?://[^\s/]+\S*")


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """A known bug, and the address of its description."""

    url: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.url})"


def _read(item: pytest.Item, name: str, shape: Callable[..., Any]) -> Any:
    """Return ``shape`` of the closest marker's arguments, None without a marker. Raises pytest.UsageError."""
    mark = item.get_closest_marker(name)
    if mark is None:
        return None
    try:
        return shape(*mark.args, **mark.kwargs)
    except (TypeError, ValueError) as error:
        said = str(error).replace("_guest()", "guest()").replace("_issue()", "known_issue()")
        said = said.replace("_one()", f"{name}()")
        raise pytest.UsageError(f"{item.nodeid}: marker {name}: {said}\n  {MARKERS[name]}") from error


def _guest(name: str, *, cpus: int | None = None, dimms: int | None = None) -> tuple[str, dict[str, int]]:
    if not isinstance(name, str):
        raise TypeError(f"the guest's name is a string, not {name!r}")
    wishes = {"processors": cpus, "dimm_slots": dimms}
    for word, value in (("cpus", cpus), ("dimms", dimms)):
        if value is not None and not isinstance(value, int):
            raise TypeError(f"{word} is a whole number, not {value!r}")
    return name, {key: value for key, value in wishes.items() if value is not None}


def _issue(url: str, reason: str) -> KnownIssue:
    if not isinstance(url, str) or not _URL.fullmatch(url):
        raise ValueError(f"{url!r} is not a URL: say where the bug is described, http(s)://…")
    if not isinstance(reason, str) or not reason.strip():
        raise ValueError("the reason is empty: say in a few words what is wrong")
    return KnownIssue(url, reason.strip())


def _one(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"it takes a name, not {name!r}")
    return name


def known_issue(item: pytest.Item) -> KnownIssue | None:
    """Return the known bug of a test. Raises pytest.UsageError for a marker without an address."""
    found: KnownIssue | None = _read(item, "known_issue", _issue)
    return found


def guest_of(item: pytest.Item) -> tuple[str, dict[str, int]] | None:
    """Return the name of the guest that a test needs and its wishes, None if any guest is sufficient."""
    found: tuple[str, dict[str, int]] | None = _read(item, "guest", _guest)
    return found


def fault_of(item: pytest.Item) -> str:
    """Return the name of the fault to inject, "" for none. ``plant`` is the marker's former name."""
    return _read(item, "inject_fault", _one) or _read(item, "plant", _one) or ""


def plan_of(item: pytest.Item) -> Plan | None:
    """Return the plan that a test starts with, None for none. Raises the harness's UsageError for a missing one."""
    from harness.run.plan import find_plan

    name: str | None = _read(item, "plan", _one)
    return None if name is None else find_plan(name)


def wishes_of(item: pytest.Item, plan: Plan) -> MachineWishes:
    """Return the machine that a test requires: from its plan, then its guest marker, then its machine marker."""
    import msgspec

    from harness.choice import suggest
    from harness.config import from_plain, to_plain
    from harness.run.plan import MachineWishes

    known = {field.name for field in msgspec.structs.fields(MachineWishes)}
    mark = item.get_closest_marker("machine")
    asked = dict(mark.kwargs) if mark is not None else {}
    for word in asked:
        if word not in known:
            raise pytest.UsageError(
                f"{item.nodeid}: marker machine: no wish is called {word!r}\n  {suggest(word, sorted(known))}"
            )
    named = guest_of(item)
    base = to_plain(plan.machine)
    try:
        wishes: MachineWishes = from_plain({**base, **(named[1] if named else {}), **asked}, MachineWishes)
    except msgspec.ValidationError as error:
        raise pytest.UsageError(f"{item.nodeid}: marker machine: {error}") from error
    return wishes
