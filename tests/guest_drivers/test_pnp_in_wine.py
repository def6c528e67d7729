# SPDX-License-Identifier: MIT
"""The Plug and Play installation of the signed file in Wine: by its own INF file, on a device that Wine's root enumerates.

Wine's own Plug and Play manager adds, starts and removes the device; it never stops one to start it again, so a
rebalance is sent by the double. Nothing here is a Windows result.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from guest_drivers.schedules import violations
from guest_drivers.wine_prefix import Wine
from guest_drivers.wine_process import HPNCTL, execute

from harness.history.driver import CallEnter, DriverRecord, Hello, PnpEnter, PnpExit

pytestmark = pytest.mark.wine

SERVICE = "hpnotifypnp"
# The service exists before the INF file is installed, so that it runs in the process of the double.
INSTALL = (f"install {SERVICE} C:\\hpn\\hpnotify.sys", "device ROOT\\HPNOTIFY C:\\hpn\\hpnotify.inf")
REMOVE = (f"{HPNCTL} --device {SERVICE} detach", "remove ROOT\\HPNOTIFY", f"unload {SERVICE}")
STARTED = ["START", "PrepareHardware", "D0Entry"]
STOPPED = ["SelfManagedIoSuspend", "D0Exit", "ReleaseHardware"]
REBALANCED = ["QUERY_STOP", "STOP", *STOPPED, *STARTED, "SelfManagedIoRestart"]
REMOVED = ["SURPRISE_REMOVAL", *STOPPED, "REMOVE", "SelfManagedIoCleanup"]


def minors(records: list[DriverRecord]) -> list[str]:
    """What the devices were asked, in order."""
    return [record.minor for record in records if isinstance(record, PnpEnter)]


def unanswered(records: list[DriverRecord]) -> set[int]:
    """Requests and callbacks that were entered and not left."""
    left = {record.enter for record in records if isinstance(record, PnpExit)}
    return {record.seq for record in records if isinstance(record, PnpEnter)} - left


def test_a_device_s_life(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """Installed, rebalanced as processors come, removed, unloaded: registered once, and nothing is left behind."""
    run = execute(wine, double, signed["gcc"], *INSTALL, "add 2", "add 3", *REMOVE)
    records = run.transcript.records
    assert [0] * 6 == run.answers[1:]
    assert ["AddDevice", *STARTED, "SelfManagedIoInit", *REBALANCED, *REBALANCED, *REMOVED] == minors(records)
    assert {"ROOT\\HPNOTIFY#1"} == {record.device for record in records if isinstance(record, PnpEnter)}
    assert ["pnp"] == [record.mode for record in records if isinstance(record, Hello)]
    calls = [record.call for record in records if isinstance(record, CallEnter)]
    assert (1, 2, 1, 2) == tuple(
        calls.count(name) for name in ("reg_sync", "reg_async", "dereg_sync", "unreg_ex")
    )
    assert "S0 S1 C0 C1 S2 C2 S3 C3" == run.transcript.states(SERVICE)
    assert ({0}, set(), [], []) == (
        set(run.left.values()), unanswered(records), run.transcript.unbalanced(), run.transcript.trouble,
    )  # fmt: skip
    assert [] == violations(run.transcript)


def test_early_release_is_caught(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """Hardware that is released before D0 is left is survived, and found by the rule on the framework's order."""
    run = execute(wine, double, signed["clang"], "plant early-release", *INSTALL, "add 2", *REMOVE)
    assert "REBAL-KMDF-ORDER" in {found.partition(":")[0] for found in violations(run.transcript)}
    assert ({0}, []) == (set(run.left.values()), run.transcript.trouble)


def test_applications_are_told(wine: Wine, double: Path, signed: dict[str, Path]) -> None:
    """hpnctl watch hears by WM_DEVICECHANGE of an interface of each class that the driver registers for."""
    run = execute(
        wine, double, signed["gcc"], *INSTALL, "begin C:\\hpn\\hpnctl.exe watch --seconds 6", "heard announce processor",
        "announce memory", "end", *REMOVE,
    )  # fmt: skip
    assert [0] * 8 == run.answers[1:]
    told = [re.sub(r"qpc=.* cls", "cls", line) for line in run.output if line.startswith("app.arrival")]
    instance = r"\\?\ROOT#HOTPLUGHARNESS#0000#"
    # The first is announced until it is heard, so it may be heard more than once.
    assert [
        f"app.arrival cls=cpu link={instance}{{97fadb10-4e33-40ae-359c-8bef029dbdd0}}",
        f"app.arrival cls=memory link={instance}{{3fd0f03d-92e0-45fb-b75c-5ed8ffb01021}}",
    ] == [line for line, _ in itertools.groupby(told)]
    clocks = [int(clock) for clock in re.findall(r"app\.\w+ qpc=(\d+)", "\n".join(run.output))]
    assert sorted(clocks) == clocks
    assert {0} == set(run.left.values())
