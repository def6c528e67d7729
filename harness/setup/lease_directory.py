# SPDX-License-Identifier: MIT
"""The directory of leases that all users of a host share: its place, and its creation, which needs root."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError

SHARED = Path("/var/lib/hotplug-harness/leases")
"""Owned by root, mode 1777. Only root may write to its parent, so no other user can create it first."""

VARIABLE = "HOTPLUG_HARNESS_LEASES"
"""Environment variable: another directory for the leases. All users of a host must name the same one."""

MODE = 0o1777
PARENT_MODE = 0o755


def configured(environment: Mapping[str, str]) -> Path | None:
    """Return the directory that the environment names, None if it names none. Raises UsageError for a relative path."""
    named = environment.get(VARIABLE, "")
    if named and not named.startswith("/"):
        raise UsageError(f"{VARIABLE} is {named!r}", hint="Write an absolute path, the same for all users.")
    return Path(named) if named else None


def commands(directory: Path) -> list[list[str]]:
    """Return the commands that create the directory, or fix its owner and mode; to be run as root."""
    install = ["install", "-d", "-o", "root", "-g", "root", "-m"]
    found = [[*install, f"{MODE:04o}", str(directory)]]
    if directory == SHARED:
        found.insert(0, [*install, f"{PARENT_MODE:04o}", str(directory.parent)])
    return found


def by_hand(directory: Path) -> str:
    """Return the command line with which an administrator creates or fixes the directory."""
    return " && ".join(shlex.join(["sudo", *each]) for each in commands(directory))


def absent(directory: Path) -> bool:
    """Return whether the path does not exist."""
    return not os.path.lexists(directory)
