# SPDX-License-Identifier: MIT
"""What is built once for all tests of the driver as a Windows file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_drivers.wine_prefix import Wine, wine_prefix
from guest_drivers.wine_process import build_double
from part_markers import needs

from harness.cli import driver as command
from harness.deadline import Deadline
from harness.driver import certificate
from harness.driver.build import TOOLCHAINS
from harness.driver.signature import sign


@pytest.fixture(scope="session")
@needs("wine")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The driver by the name of its toolchain, built by the command; ``hpnctl.exe`` lies next to it."""
    folder = tmp_path_factory.mktemp("cross")
    for name in TOOLCHAINS:
        command.build(folder / name, toolchain=name)
    return {name: folder / name / "hpnotify.sys" for name in TOOLCHAINS}


@pytest.fixture(scope="session")
@needs("wine")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wine]:
    """A Wine that all tests of a session share."""
    with wine_prefix(tmp_path_factory.mktemp("wine")) as made:
        yield made


@pytest.fixture(scope="session")
@needs("wine")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the double of the framework's loader, and of its client."""
    return build_double(tmp_path_factory.mktemp("double"))


@pytest.fixture(scope="session")
@needs("wine")
def signed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The signed drivers by their toolchain, each with its hpnctl.exe."""
    folder = tmp_path_factory.mktemp("signed")
    keys = certificate.ensure(folder / "keys")
    drivers = {}
    for name, path in built.items():
        (folder / name).mkdir()
        for file in (path, path.with_name("hpnctl.exe")):
            shutil.copy(file, folder / name)
        drivers[name] = folder / name / "hpnotify.sys"
        sign(drivers[name], keys, Deadline(60, "signing"))
    return drivers
