# SPDX-License-Identifier: MIT
"""How hard the property tests try: a few examples, always the same ones, in the suite; new ones in the long form.

A change must not fail for what chance drew today, nor for how busy the machine is, nor for which other tests the same
process has loaded. ``tox -e fuzz`` and ``tox -e properties`` draw anew each time, and many more.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from harness.explore.loaded_constants import leave_out_constants

VARIABLE = "HOTPLUG_HARNESS_FUZZ"
"""Environment variable: how many times the usual number of examples."""


def examples(usual: int) -> int:
    """Return how many examples a property is tried on."""
    return usual * int(os.environ.get(VARIABLE, "1"))


def load_profile() -> None:
    """Have every property test try as hard as the environment says, without a limit of time for an example."""
    settings.register_profile(
        "suite",
        max_examples=examples(25),
        derandomize=VARIABLE not in os.environ,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("suite")
    if VARIABLE not in os.environ:
        # What is drawn must not depend on the tests beside it, and no process has to parse all that it has loaded.
        leave_out_constants()
