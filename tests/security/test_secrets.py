# SPDX-License-Identifier: MIT
"""A password that a run uses is in no file of it, on no command line, and in nothing that it says."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.guest.bootable import GuestOptions, OutsideSigns
from harness.guest.guest_types import GUEST_TYPES, TwinType
from harness.guest.twin.guest import Twin
from harness.history.record import Record
from harness.history.writer import HistoryWriter
from harness.machine.machine import Machine
from harness.run.plan import find_plan
from harness.run.request import RunRequest
from harness.run.run import perform
from harness.setup.cache import cache_directory
from harness.transport import winrm
from harness.transport.link import WireTransport
from harness.transport.pin import CertificatePin
from harness.transport.secret import Secret
from tests.transport.conftest import PASSWORD, USER, double
from tests.transport.wsman_double import Double

__all__ = ["double"]


class TwinWithPassword(TwinType):
    """A twin beside which, at its attachment, a guest is asked over WinRM with a password from a file."""

    def __init__(self, double: Double, file: Path) -> None:
        self.double = double
        self.file = file

    def attach(
        self, machine: Machine, writer: HistoryWriter, signs: OutsideSigns, options: GuestOptions
    ) -> Twin:
        """Use the password before the guest runs."""
        password = Secret.from_file(self.file)
        link = WireTransport(
            winrm.WinrmWire(
                "127.0.0.1",
                port=self.double.port,
                user=USER,
                password=password,
                certificate=CertificatePin.of(self.double.certificate),
            )
        )
        try:
            link.run("true", Deadline(60, "ask over WinRM"))
            link.run("true", Deadline(60, "ask again"))
        finally:
            link.close()
        return super().attach(machine, writer, signs, options)


@pytest.fixture
def with_password(double: Double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guest type is known for the time of a test; returns its password file."""
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.setitem(GUEST_TYPES, "with-password", TwinWithPassword(double, file))
    return file


@pytest.mark.qemu
@pytest.mark.remote
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
def test_a_password_is_nowhere(
    with_password: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    right: bool,
) -> None:
    """Neither when it is taken nor when it is refused: no file, no process's command or environment, no log, no error."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    secret = PASSWORD if right else "Wrong-Horse-Battery-7"
    with_password.write_text(f"{secret}\n")
    seen: list[str] = []

    def look(_: Record) -> None:
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                for name in ("cmdline", "environ"):
                    try:
                        shown = (process / name).read_bytes()
                    except OSError:
                        continue
                    if secret.encode() in shown:
                        seen.append(f"{process.name} {name}")

    result = perform(
        RunRequest(
            plan=find_plan("veto"),
            runs=tmp_path / "runs",
            cache=cache_directory(os.environ),
            argv=["test"],
            guest="with-password",
            accelerator="tcg",
        ),
        listeners=(look,),
    )
    assert right == (result.error is None)
    files = [path for place in ("runs", "state") for path in (tmp_path / place).rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [] == [str(path) for path in files if secret.encode() in path.read_bytes()]
    assert [] == seen
    assert secret not in caplog.text
    assert secret not in f"{result.error!r} {result.error} {result}"


def test_a_password_in_a_uri_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """libvirt's URI would be in the history and on command lines: what is in it is no secret any more."""
    with pytest.raises(UsageError, match="holds a password") as refused:
        RunRequest(
            plan=find_plan("veto"),
            runs=tmp_path,
            cache=tmp_path,
            argv=["test"],
            backend="libvirt",
            connect="qemu+ssh://me:s3cret@lab/system",
        )
    assert "s3cret" not in str(refused.value)
