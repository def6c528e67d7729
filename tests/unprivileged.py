# SPDX-License-Identifier: MIT
"""A directory and a user for the daemons that refuse to run as root, or would touch the machine if they did."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class Unprivileged:
    """A user without rights and a directory of its own, short enough for the name of a Unix socket."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "LC_ALL": "C.UTF-8"}
        self.popen: dict[str, Any] = {"cwd": directory, "env": self.environment}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
            self.popen |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@pytest.fixture
def unprivileged() -> Iterator[Unprivileged]:
    """Who is not root runs the daemon as they are; root hands it to ``nobody``."""
    directory = Path(tempfile.mkdtemp(prefix="hh-"))
    try:
        yield Unprivileged(directory)
    finally:
        shutil.rmtree(directory)
