# SPDX-License-Identifier: MIT
"""The README's commands, as they are printed."""

from __future__ import annotations

import re

from harness.errors import InfrastructureError

HEADING = "## Two commands"


def printed_commands(readme: str) -> list[str]:
    """Return the lines of the shell blocks in the section that shows how to begin, in order.

    Raises InfrastructureError if there are none.
    """
    section = re.split(r"^## ", readme.partition(f"{HEADING}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line.strip()]
    if not commands:
        raise InfrastructureError(f"README.md prints no command under '{HEADING}'")
    return commands
