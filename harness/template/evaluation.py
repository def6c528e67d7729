# SPDX-License-Identifier: MIT
"""The remaining evaluation time of built templates: after its end Windows shuts itself down about hourly.

Every run begins at its template's last shutdown (:mod:`harness.template.clock`), with the days that the guest had then.
By the host's clock the days pass, which matters only for ``--real-time``."""

from __future__ import annotations

from functools import partial

from harness.errors import HarnessError
from harness.host.host_part import HostPart, PartState
from harness.invocation import invocation
from harness.template.manifest import TemplateManifest
from harness.template.store import Store
from harness.template.template import find_templates

SERVES = "runs on Windows"


def examine(store: Store, now: float) -> list[HostPart]:
    """Return a part for every built template; ``now`` is seconds since the epoch. Raises nothing for a damaged one."""
    return [part for name in find_templates() if (part := _part(store, name, now)) is not None]


def _part(store: Store, name: str, now: float) -> HostPart | None:
    part = partial(HostPart, name="template", serves=SERVES)
    again = invocation("template", "build", name, "--iso", "PATH", "--force")
    try:
        built = store.built(name)
    except HarnessError as error:
        return part(state=PartState.BROKEN, found=error.message, supply=again)
    if built is None:
        return None
    days = built.manifest.run_days
    found = f"{name}, built {built.manifest.age_days(now)} days ago{left_words(built.manifest, now)}"
    if days is None or days > 0:
        return part(state=PartState.OK, found=found)
    return part(state=PartState.BROKEN, found=found, supply=again)


def left_words(manifest: TemplateManifest, now: float) -> str:
    """Return the remaining evaluation as the end of a sentence, "" for an image without an end."""
    days, left = manifest.run_days, manifest.days_left(now)
    if days is None or left is None:
        return ""
    if days <= 0:
        return "; its evaluation had ended when it was built"
    real = f"{left} with --real-time" if left > 0 else "none with --real-time"
    return f"; each run has {days} evaluation days{f', {real}' if left < days else ''}"
