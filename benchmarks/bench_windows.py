# SPDX-License-Identifier: MIT
"""The harness's own share of each stage of a run on Windows, measured on the scripted Windows of the tests.

The machine is a real QEMU with a template's firmware, whose disk boots nothing. WinRM's double of the tests answers at
its port, and a stand-in for PowerShell does what the harness's scripts ask (``tests/guest/windows``). So the figures say
how many commands and requests a stage makes, and how long it takes apart from the commands in the guest. They say nothing
about how long Windows takes for a command.

``own`` is what a stage takes apart from commands in the guest: processor time of this process, which holds the double
too, and pauses. ``processor`` is the processor time in the whole stage. Medians of ``--rounds`` runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests")]

from guest.windows.conftest import leading, scripted  # noqa: E402
from guest.windows.scripted_run import AskedStage, ScriptedKernel, asked  # noqa: E402
from guest.windows.test_guest_type import NAME, empty_template  # noqa: E402

from harness.guest.windows import guest_type  # noqa: E402
from harness.guest.windows.trace import AT_BOOT  # noqa: E402
from harness.history.reader import History  # noqa: E402
from harness.run.operation import AddCpu, LoadDriver, Quiesce, UnloadDriver  # noqa: E402
from harness.run.plan import Plan  # noqa: E402
from harness.run.request import RunRequest  # noqa: E402
from harness.run.run import perform  # noqa: E402
from harness.setup.cache import cache_directory  # noqa: E402


def one_run() -> list[AskedStage]:
    """Do the whole plan once. Return its stages."""
    with tempfile.TemporaryDirectory(prefix="windows-") as name, contextlib.ExitStack() as stack:
        place = Path(name)
        driver = place / "driver"
        driver.mkdir()
        for file in ("hpnotify.sys", "hpnctl.exe"):
            (driver / file).write_bytes(file.encode())
        templates = empty_template(place)
        stack.enter_context(
            mock.patch.dict(os.environ, {**leading(place), "HOTPLUG_HARNESS_TEMPLATES": str(templates)})
        )
        windows = stack.enter_context(scripted(place))
        stack.enter_context(
            mock.patch.object(guest_type, "transports_into", return_value=windows.transports())
        )
        windows.file(AT_BOOT).parent.mkdir(parents=True)
        windows.file(AT_BOOT).write_bytes(b"no trace")
        kernel = ScriptedKernel(windows)
        do = [LoadDriver(), Quiesce(), UnloadDriver(), AddCpu()]
        request = RunRequest(
            plan=Plan(name="windows", do=do, driver=False),  # type: ignore[arg-type]
            runs=place / "runs",
            cache=cache_directory(os.environ),
            argv=[],
            guest=NAME,
            accelerator="tcg",
            driver=str(driver),
            monitor=True,
        )
        result = perform(request, listeners=(kernel,))
        kernel.close()
        if result.error is not None:
            sys.exit(f"the run failed: {result.error.message}")
        return list(asked(History(result.directory), windows, kernel.spent))


def main() -> int:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true", help="print the table of docs/benchmarks.md")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    one_run()
    runs = [one_run() for _ in range(arguments.rounds)]
    rows = {}
    for stages in zip(*runs, strict=True):
        first = stages[0]
        rows[first.stage] = {
            "commands": first.commands,
            "requests": statistics.median(one.requests for one in stages),
            "took_ms": round(statistics.median(one.took_ms for one in stages), 1),
            "own_ms": round(statistics.median(one.own_ms for one in stages), 1),
            "processor_ms": round(statistics.median(one.spent_ms for one in stages), 1),
        }
    if arguments.markdown:
        print("| stage | commands | requests | took | own | processor |")
        print("| --- | --- | --- | --- | --- | --- |")
        for stage, row in rows.items():
            print(f"| {stage} | {' | '.join(f'{value:.0f}' for value in row.values())} |")
    else:
        print(json.dumps({"what": "stages on the scripted Windows", "load": round(load, 1), **rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
