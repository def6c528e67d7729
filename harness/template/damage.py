# SPDX-License-Identifier: MIT
"""Damage in built templates: every file is read and compared with the manifest."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.host.host_part import HostPart, PartState
from harness.invocation import invocation
from harness.setup.content import ContentDigests, ContentError
from harness.template.store import Store

SERVES = "guests from templates"


def examine(store: Store, cache: Path | None) -> list[HostPart]:
    """Return a part for each built template, damaged or not. Its manifest is judged by :mod:`harness.template.evaluation`.

    The result is stored in ``cache``, so that the next run knows of damage too.
    """
    digests = ContentDigests(cache)
    parts = []
    for folder in sorted(store.root.glob("[a-z0-9]*")):
        try:
            built = store.built(folder.name)
            if built is None:
                continue
            digests.compare(folder, built.manifest.files, deep=True)
        except (HarnessError, ContentError) as error:
            state, found = PartState.BROKEN, f"{folder.name} is damaged: {error}"
        else:
            state, found = PartState.OK, f"{folder.name} is as it was built"
        parts.append(
            HostPart(
                name="template",
                state=state,
                found=found,
                serves=SERVES,
                supply=invocation("template", "build", folder.name, "--iso", "PATH", "--force"),
            )
        )
    return parts
