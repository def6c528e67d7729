# SPDX-License-Identifier: MIT
"""Mistakes in the driver's source that no injected fault of the NT layer can make the driver show."""

from __future__ import annotations

from dataclasses import dataclass

DETACH = "detach"
"""Stands in a script for the request that ends the Plug and Play registrations."""


@dataclass(frozen=True, kw_only=True)
class SourceFault:
    """A mistake: what it does, the text of ``file`` that it replaces, and the script in which it shows."""

    does: str
    file: str
    before: str
    after: str
    script: tuple[str, ...]


LIFE = ("start hpnotify", "add 2", DETACH, "stop hpnotify")

SOURCE_FAULTS = {
    "OB-NULL-FAILS-ENTRY": SourceFault(
        does="goes on with DriverEntry although its registration returned NULL",
        file="registrations.c",
        before="    status = HpnSyncRegister(&Driver->Sync[0], syncFlags);\n    if (!NT_SUCCESS(status)) {",
        after="    status = HpnSyncRegister(&Driver->Sync[0], syncFlags);\n    if (FALSE) {",
        script=("start hpnotify Veto=1",),
    ),
    "OB-DEREG-BEFORE-UNLOAD": SourceFault(
        does="leaves its processor change callback registered",
        file="sync.c",
        before="    if (Sync->Handle != NULL) {\n        enter = ",
        after="    if (FALSE) {\n        enter = ",
        script=LIFE,
    ),
    "OB-ASYNC-RETURN-SUCCESS": SourceFault(
        does="answers an arrival with an error",
        file="async.c",
        before="    exit.Returned = STATUS_SUCCESS;\n",
        after="    exit.Returned = (ULONG)STATUS_UNSUCCESSFUL;\n",
        script=LIFE,
    ),
    "OB-KMDF-REG-ONCE": SourceFault(
        does="registers again when its device starts again",
        file="device.c",
        before='    return HpnDeviceReport(Device, "SelfManagedIoRestart");\n',
        after="    PHPN_DRIVER driver = HpnDeviceOf(Device)->Driver;\n\n    driver->ProcessorArrival.Entry = NULL;\n"
        "    return HpnAsyncRegister(&driver->ProcessorArrival, 0);\n",
        script=("start hpnotify PlugAndPlay=1", "add 2", "deferred", "stop hpnotify"),
    ),
}
"""By the rule that must be violated."""
