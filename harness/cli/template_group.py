# SPDX-License-Identifier: MIT
"""The commands of ``harness template``."""

from __future__ import annotations

from harness.cli import template
from harness.cli.command_tree import command_group
from harness.cli.template_adopt import adopt

group = command_group(
    "Guests that are built from a Windows installation medium, or from a disk with Windows.",
    list=template.list_,
    show=template.show,
    build=template.build,
    adopt=adopt,
    verify=template.verify,
    remove=template.remove,
)
