# SPDX-License-Identifier: MIT
"""Requests made up by libFuzzer, sent to the driver.

``python tests/guest_drivers/driver_fuzz.py [LIBFUZZER_ARGUMENT...]`` goes on for an hour unless told otherwise.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.setup.parts import part

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"
SANITIZE = "fuzzer,address,undefined"


def why_not() -> str:
    """Return what keeps the fuzzer from being built here, or ""."""
    lacking = part("llvm").missing()
    return f"needs {lacking[0].package}: ./lab test --require llvm supplies it" if lacking else ""


def fuzz(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Build the fuzzer in ``folder`` and run it there."""
    subprocess.run(
        [
            "make", "-s", "-j2", "-C", str(DRIVER / "host"), "CC=clang", f"OUT={folder}", f"SANITIZE={SANITIZE}",
            f"{folder}/hpnotify-fuzz",
        ],
        check=True,
    )  # fmt: skip
    # The process counts what is allocated in each input itself.
    return subprocess.run(
        [folder / "hpnotify-fuzz", "-max_len=512", "-detect_leaks=0", *arguments],
        cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )  # fmt: skip


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as name:
        done = fuzz(Path(name), *(sys.argv[1:] or ["-max_total_time=3600"]))
        print("\n".join(done.stderr.splitlines()[-40:]))
        sys.exit(done.returncode)
