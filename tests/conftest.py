# SPDX-License-Identifier: MIT
"""What holds for the whole suite."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator

import pytest
from effort import load_profile

from harness.invocation import STARTED_AS

# Shared checks say what they compared, as those in files of tests do.
pytest.register_assert_rewrite("tests.guest", "tests.lab", "tests.machine", "tests.transport")
load_profile()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's job in the background ignores Ctrl-C, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# What is printed to be typed is the same on every machine; tests/test_invocation.py says otherwise where it matters.
os.environ[STARTED_AS] = "harness"

pytest_plugins = [
    "forked_command",
    "left_over",
    "locks_in_order",
    "part_markers",
    "private_libvirtd",
    "side_by_side",
    "unprivileged",
    "unsteady",
    "private_postgres",
    "pytester",
]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search for no garbage among the collected tests, which stay to the end, and seldom for that of the tests.

    While they are collected a search finds next to nothing. When pytest ends it searches ten times. What Python does by
    itself, after 700 new objects and now and then among all, takes an eighth of the tests' time, and half of it is saved.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(5000, 10, 50)
        gc.enable()
