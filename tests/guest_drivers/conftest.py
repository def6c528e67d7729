# SPDX-License-Identifier: MIT
"""What is built once for all tests of the driver as a Windows file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_drivers.wine_prefix import Wine, wine_prefix

from harness.cli import driver as command
from harness.driver.build import TOOLCHAINS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The driver by the name of its toolchain, built by the command; ``hpnctl.exe`` lies next to it."""
    folder = tmp_path_factory.mktemp("cross")
    for name in TOOLCHAINS:
        command.build(folder / name, toolchain=name)
    return {name: folder / name / "hpnotify.sys" for name in TOOLCHAINS}


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    """A Wine that all tests of a session share."""
    with wine_prefix(tmp_path_factory.mktemp("wine")) as made:
        yield made
