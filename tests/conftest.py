# SPDX-License-Identifier: MIT
"""What holds for the whole suite."""

from __future__ import annotations

pytest_plugins = ["part_markers", "private_libvirtd", "unprivileged", "pytester"]
