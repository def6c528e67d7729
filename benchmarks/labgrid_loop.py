# SPDX-License-Identifier: MIT
"""The loop with labgrid, the alternative that a user would choose: its QEMUDriver, used through its own methods.

It runs in labgrid's own environment: ``python labgrid_loop.py PLACE`` reads QEMU's command as a JSON list from
standard input. It prints the time of each stage in nanoseconds, on the host's monotonic clock. labgrid passes no QMP
event on, so the firmware's ``_OST`` is missing. labgrid is LGPL-2.1-or-later: only this process imports it, and the
project does not.
"""

import json
import shlex
import sys
import time
from pathlib import Path

MOMENTS = {"python": time.monotonic_ns()}

from labgrid import Environment, Target  # noqa: E402
from labgrid.driver import QEMUDriver  # noqa: E402

ITS_OWN = ("-S", "-machine", "-cpu", "-m", "-kernel", "-append", "-display", "-mon")
"""Options of QEMU that labgrid's driver writes itself."""


def extra(command, console):
    """Return QEMU's arguments without those that the driver writes. The driver's one serial port is the guest's second
    port, the control port."""
    words = iter(command[1:])
    kept = []
    for word in words:
        value = None if word in ("-S", "-nodefaults", "-no-user-config") else next(words)
        serial = word in ("-chardev", "-device") and any(
            name in value for name in ("isa-serial", "id=qmp", "id=con")
        )
        if word not in ITS_OWN and not serial:
            kept += [word] if value is None else [word, value]
    return shlex.join([*kept, "-serial", f"file:{console}"])


def main():
    """Add one processor. Print the times."""
    place = Path(sys.argv[1])
    command = json.load(sys.stdin)
    of = {word: command[number + 1] for number, word in enumerate(command[:-1])}
    config = place / "labgrid.yaml"
    config.write_text(
        json.dumps(
            {"targets": {"main": {}}, "tools": {"qemu": command[0]}, "images": {"kernel": of["-kernel"]}}
        )
    )
    target = Target("main", env=Environment(str(config)))
    driver = QEMUDriver(
        target, "qemu", qemu_bin="qemu", machine=of["-machine"], cpu=of["-cpu"], memory=of["-m"], kernel="kernel",
        boot_args=of["-append"].replace("%", "%%"), extra_args=extra(command, place / "console.log"),
    )  # fmt: skip
    target.activate(driver)
    debugcon = place / "debugcon.log"
    debugcon.touch()
    MOMENTS["qemu"] = time.monotonic_ns()
    driver.on()
    driver.expect("! ready")
    MOMENTS["ready"] = time.monotonic_ns()
    driver.sendline("1 load driver=hpnotify add_existing=1 pnp=0")
    driver.expect("1 ok")
    MOMENTS["loaded"] = time.monotonic_ns()
    slots = driver.monitor_command("query-hotpluggable-cpus")
    (slot,) = [one for one in slots if one["props"]["socket-id"] == 2]
    began = debugcon.stat().st_size
    MOMENTS["add"] = time.monotonic_ns()
    driver.monitor_command("device_add", {"driver": slot["type"], "id": "cpu-1", **slot["props"]})
    while b"ev=sync.enter" not in debugcon.read_bytes()[began:]:
        time.sleep(0.001)
    MOMENTS["start"] = time.monotonic_ns()
    driver.expect("! online")
    MOMENTS["online"] = MOMENTS["end"] = time.monotonic_ns()
    driver.off()
    print(json.dumps(MOMENTS))


if __name__ == "__main__":
    main()
