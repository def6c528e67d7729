# SPDX-License-Identifier: MIT
"""What holds for the whole suite."""

from __future__ import annotations

from effort import load_profile

load_profile()

pytest_plugins = ["lock_order", "part_markers", "private_libvirtd", "unprivileged", "pytester"]
