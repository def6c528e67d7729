# SPDX-License-Identifier: MIT
"""How long built templates can still be used: an evaluation ends, and an ended one shuts itself down about hourly."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.host.host_part import HostPart, PartState
from harness.invocation import invocation
from harness.template.manifest import WARN_DAYS
from harness.template.store import Store
from harness.template.template import find_templates

SERVES = "runs on Windows"


def examine(store: Store, now: float) -> list[HostPart]:
    """Return a part for every built template; ``now`` is seconds since the epoch. Raises nothing for a damaged one."""
    return [part for name in find_templates() if (part := _part(store, name, now)) is not None]


def _part(store: Store, name: str, now: float) -> HostPart | None:
    again = invocation("template", "build", name, "--iso", "PATH", "--force")
    try:
        built = store.built(name)
    except HarnessError as error:
        return HostPart(
            name="template", state=PartState.BROKEN, found=error.message, serves=SERVES, supply=again
        )
    if built is None:
        return None
    left = built.manifest.days_left(now)
    age = f"{name}, built {built.manifest.age_days(now)} days ago"
    if left is None:
        return HostPart(name="template", state=PartState.OK, found=age, serves=SERVES)
    found = f"{age}; its evaluation {f'ends in {left} days' if left > 0 else 'has ended'}"
    if left > WARN_DAYS:
        return HostPart(name="template", state=PartState.OK, found=found, serves=SERVES)
    return HostPart(name="template", state=PartState.BROKEN, found=found, serves=SERVES, supply=again)
