# SPDX-License-Identifier: MIT
"""Whole builds on real QEMU with real UEFI firmware; the installer does what its script says."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest

from harness.history.record import Record, Stage
from tests.template.building import CERTIFICATE, FACT, NAME, PASSWORD, Bench
from tests.template.scripted_medium import boot_medium, compile_setup

pytestmark = pytest.mark.qemu

WINPE = ["key 20", "mark stage winpe"]
COPYING = [*WINPE, "mark stage copying", "write 4", "install", "reset"]
LAST = ["mark step 1 2 first", FACT, "mark step 2 2 second", "mark done", "shutdown"]


@pytest.fixture(scope="session")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installer's medium, made once."""
    folder = tmp_path_factory.mktemp("installer")
    return boot_medium(folder / "boot.iso", compile_setup(folder))


@pytest.fixture
def bench(tmp_path: Path, boot: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty store."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Bench(tmp_path, boot)


def _stages(records: list[Record]) -> list[str]:
    return [record.name for record in records if isinstance(record, Stage) and record.phase == "begin"]


def test_a_build_goes_through_all_stages_to_a_template(bench: Bench) -> None:
    """From "press any key" over a restart to a published template whose files are what its manifest says."""
    built = bench.build(bench.recipe([*COPYING, "mark stage specialize", *LAST]))
    wanted = [
        "firmware", "WinPE", "copying", "specialize", "specialize", "provisioning, step 1 of 2 (first)",
        "provisioning, step 2 of 2 (second)", "shutdown", "image",
    ]  # fmt: skip
    assert [name for name, before in zip(wanted, ["", *wanted], strict=False) if name != before] == [
        name
        for name, before in zip(_stages(bench.records), ["", *_stages(bench.records)], strict=False)
        if name != before
    ]
    assert (CERTIFICATE, 1) == (built.manifest.certificate, built.manifest.attempts)
    assert PASSWORD == built.secrets().password
    digest = subprocess.run(["sha256sum", built.disk], capture_output=True, text=True, check=True)
    assert built.manifest.files["disk.qcow2"] == digest.stdout.split()[0]
    assert (0o444, 0o444, 0o600) == tuple(
        stat.S_IMODE((built.folder / name).stat().st_mode)
        for name in ("disk.qcow2", "variables.fd", "secrets.json")
    )
    assert not bench.store.work(NAME).exists()
    logs = [file for file in (built.folder / "log").rglob("*") if file.is_file()]
    assert [] == [file for file in logs if PASSWORD.encode() in file.read_bytes()]
