# SPDX-License-Identifier: MIT
"""What holds for the whole suite."""

from __future__ import annotations

import os

from effort import load_profile

from harness.invocation import STARTED_AS

load_profile()

# What is printed to be typed is the same on every machine; tests/test_invocation.py says otherwise where it matters.
os.environ[STARTED_AS] = "harness"

pytest_plugins = ["lock_order", "part_markers", "private_libvirtd", "unprivileged", "pytester"]
