# SPDX-License-Identifier: MIT
"""Damage in the cache: every file of every sealed directory is read and compared with what was built."""

from __future__ import annotations

from pathlib import Path

from harness.host.host_part import HostPart, PartState
from harness.setup.content import ContentDigests, ContentError, sealed_directories

NAME = "cache"
SERVES = "images, drivers and snapshots that are what was built"


def examine_content(cache: Path) -> list[HostPart]:
    """Return a part for each damaged directory, or one that reports that there is none."""
    digests = ContentDigests(cache)
    sealed = sealed_directories(cache)
    damaged = []
    for directory in sealed:
        try:
            digests.check(directory, deep=True)
        except ContentError as error:
            damaged.append(
                HostPart(
                    name=NAME,
                    state=PartState.BROKEN,
                    found=f"{directory.relative_to(cache)} is damaged: {error}",
                    serves=SERVES,
                    supply="nothing to do: what needs it next builds it anew",
                )
            )
    found = f"{len(sealed)} directories in {cache} are as they were built"
    return damaged or [HostPart(name=NAME, state=PartState.OK, found=found, serves=SERVES)]
