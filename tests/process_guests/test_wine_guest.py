# SPDX-License-Identifier: MIT
"""The plans on the guest ``wine``: the driver's Windows file, byte for byte, with ``hpnctl.exe`` as its client."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil
import pytest
from process_guests.conftest import Perform
from twin.running import records_of

from harness.contract.verdict import Verdict
from harness.driver import manifest
from harness.errors import GuestRefused, UsageError
from harness.history.driver import DriverRecord

pytestmark = pytest.mark.wine


def wine_processes() -> list[str]:
    """Return the programs that run in the prefix of runs; those of other tests have one of their own."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if "/wine-prefix/" in environment.get("WINEPREFIX", ""):
            found.append(process.name())
    return found


@pytest.mark.parametrize(
    "name",
    ["cpu-and-dimm", "existing-interfaces", "groups", "two-drivers", "veto-existing", "without-existing"],
)
def test_built_in_plan_holds(perform_on: Perform, name: str) -> None:
    """A plan holds, the verdict says wine, the facts say which file was executed, and nothing of Wine is left."""
    result = perform_on(name, "wine")
    assert (None, Verdict.HOLDS, []) == (result.error, result.verdict.verdict, result.verdict.reasons)
    assert "wine" == result.verdict.guest
    facts = json.loads((result.directory / "run.json").read_bytes())
    assert f"hpnotify.sys sha256 {facts['image_digest']}; {manifest.LABEL}" == facts["driver"]
    assert "nothing it shows is a Windows result" in facts["image"]
    assert [] == wine_processes()


def test_a_run_begins_as_if_there_had_been_none(perform_on: Perform) -> None:
    """A plan that ends with its Plug and Play device installed holds, and the next run hears nothing of that device."""
    for plan, service in (("rebalance", "hpnotifypnp"), ("veto", "hpnotify")):
        result = perform_on(plan, "wine")
        assert (None, Verdict.HOLDS) == (result.error, result.verdict.verdict)
        drivers = {record.driver for record in records_of(result) if isinstance(record, DriverRecord)}
        assert {service} == drivers


def test_injected_fault_is_caught(perform_on: Perform) -> None:
    """An injected fault is as visible to the Windows file as to the source."""
    verdict = perform_on("cpu-and-dimm", "wine", inject_fault="existing-interleaved").verdict
    assert Verdict.VIOLATED == verdict.verdict
    assert "ADDEX-STARTS-THEN-COMPLETES" in {finding.rule for finding in verdict.findings}


def test_what_no_process_can_show_is_said(perform_on: Perform) -> None:
    """A reset ends the plan with the reason."""
    error = perform_on("reset", "wine").error
    assert isinstance(error, GuestRefused)
    assert "wine cannot show a reset" in error.message


def test_devices_that_opt_out_are_refused(perform_on: Perform) -> None:
    """Devices are Wine's own here, and cannot be made to take no part in a rebalance."""
    error = perform_on("opt-out", "wine").error
    assert isinstance(error, GuestRefused)
    assert "wine cannot show devices that opted out of rebalances" in error.message


def test_a_file_is_executed_as_it_is(perform_on: Perform, tmp_path: Path) -> None:
    """The driver's folder or file can be named; one that no longer is a driver is refused by Wine, with its words."""
    first = perform_on("veto", "wine")
    place = tmp_path / "driver"
    place.mkdir()
    cached = Path(json.loads((first.directory / "run.json").read_bytes())["process_argv"][-1]).parent
    for name in ("hpnotify.sys", "hpnctl.exe"):
        shutil.copy(cached / name, place)
    driver = place / "hpnotify.sys"
    driver.write_bytes(b"MZ" + bytes(1000))
    error = perform_on("veto", "wine", driver=str(driver)).error
    assert isinstance(error, GuestRefused)
    assert "'load' ended with Windows error" in error.message


def test_a_folder_without_a_driver_is_refused(perform_on: Perform, tmp_path: Path) -> None:
    """What is missing is named, and the command that makes it."""
    error = perform_on("veto", "wine", driver=str(tmp_path)).error
    assert isinstance(error, UsageError)
    assert "harness driver build" in error.hint
