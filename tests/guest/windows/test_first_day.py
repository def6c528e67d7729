# SPDX-License-Identifier: MIT
"""A first day from the medium to an archive for a bug, typed as docs/first-day.md says, on real QEMU and UEFI firmware.

Two programs stand for Windows: the installer of tests/template/installer plays Setup, as far as the host can see, and the
scripted Windows answers over real WinRM where the guest's forwarded port would lead. Nothing of it has met Windows.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from guest.windows import scripted_windows
from guest.windows.conftest import USER, ScriptedWindows
from guest.windows.test_visit import answering
from part_markers import needs

from harness.cli.main import main
from harness.guest.windows import transports as transports_module
from harness.guest.windows.shell import TOOL
from harness.template import provision
from harness.template import template as template_module
from harness.template.manifest import GuestCredentials
from harness.template.template import WINRM_PORT, find_template, templates_directory
from harness.transport.pin import CertificatePin
from tests.template.media import STANDARD_CORE, make_wim, run
from tests.template.scripted_medium import FAT_SECTORS, compile_setup, fat
from tests.template.test_promise import KEPT

pytestmark = [pytest.mark.qemu, pytest.mark.remote, pytest.mark.media]

NAME = "windows-server-2022"
MISTAKE = "Cannot find path 'D:\\no-such-folder'"
"""What a line of a step stops with, in PowerShell's words."""

PLAN = """
name = "first"
summary = "the driver comes and goes"
driver = false

[[do]]
op = "load-driver"

[[do]]
op = "unload-driver"
"""


CRASH = """
name = "crash"
summary = "the guest crashes while a registration is made"
driver = false

[[do]]
op = "load-driver"

[[do]]
op = "register"
which = "sync2"

[[do]]
op = "quiesce"
quiet = 2.0
"""

CRASHING = """#!{python} -I
import os, pathlib, socket, sys, time
if "register" in sys.argv:
    human = max(pathlib.Path({sockets!r}).glob("*/human"), key=lambda path: path.stat().st_ctime)
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(human))
        monitor.sendall(b"o /b 0x505 1\\n")
        time.sleep(0.2)
os.execv({python!r}, [{python!r}, "-I", {standin!r}, "hpnctl.exe", *sys.argv[1:]])
"""
"""hpnctl of a Windows that crashes when a registration is made: pvpanic is told through its port (QEMU: pvpanic.rst)."""


def medium(folder: Path, certificate: str) -> Path:
    """An installation medium that UEFI firmware starts; its Setup does what a Windows Server 2022's does for the host."""
    tree = folder / "medium"
    (tree / "sources").mkdir(parents=True)
    make_wim(folder / "install.wim", STANDARD_CORE).rename(tree / "sources" / "install.wim")
    (tree / "efi.img").write_bytes(fat(compile_setup(folder)))
    steps = [step.name for step in provision.steps(find_template(NAME))]
    lines = [
        "key 60", "mark stage winpe", "mark stage copying", "write 4", "install", "reset",
        "mark stage specialize", "mark stage first-logon", "mark stage installed", "reset", "mark stage provisioning",
    ]  # fmt: skip
    for number, name in enumerate(steps, 1):
        lines += [f"mark step {number} {len(steps)} {name}"]
        if name == "debug":
            lines += [f"trip {number} {len(steps)} {name} {MISTAKE}"]
    facts = {
        "build": "20348.1",
        "edition": "ServerStandardEval",
        "installation": "Server Core",
        "openssh": "none",
    }
    lines += [f"mark fact {name} {value}" for name, value in {**facts, "certificate": certificate}.items()]
    (tree / "SCRIPT.TXT").write_text("\n".join([*lines, "mark done", "shutdown", "hang", ""]))
    iso = folder / "server-2022.iso"
    run(
        "genisoimage", "-quiet", "-o", iso, "-udf", "-iso-level", "3", "-V", "SSS_X64FREE",
        "-e", "efi.img", "-no-emul-boot", "-boot-load-size", FAT_SECTORS, tree,
    )  # fmt: skip
    return iso


class Day:
    """A user at a desk: what is typed, what is printed, and the place where it is."""

    def __init__(self, here: Path, read: Callable[[], tuple[str, str]]) -> None:
        self.here = here
        self._read = read

    def types(self, line: str, code: int = 0) -> str:
        """Type a command line; return all that it prints. It must end with ``code``."""
        program, *words = shlex.split(line)
        assert "harness" == program
        self._read()
        ended = main(words)
        printed = "\n".join(self._read())
        assert code == ended, printed
        return printed

    def document(self, line: str, code: int = 0) -> dict[str, object]:
        """Type it with ``--json``; return the document."""
        program, *words = shlex.split(line)
        assert "harness" == program
        self._read()
        ended = main([*words, "--json"])
        out, err = self._read()
        assert code == ended, out + err
        found: dict[str, object] = json.loads(out)
        return found


@pytest.fixture
@needs("qemu")
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Day:
    """A clone whose scripts can be edited, a store and runs of its own."""
    here = tmp_path / "desk"
    here.mkdir()
    clone = tmp_path / "vm_templates"
    shutil.copytree(templates_directory(), clone)
    monkeypatch.setattr(template_module, "data_folder", {"vm_templates": clone}.__getitem__)
    monkeypatch.setenv("HOTPLUG_HARNESS_TEMPLATES", str(tmp_path / "templates"))
    monkeypatch.setenv("HOTPLUG_HARNESS_LEASES", str(tmp_path / "leases"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(here)
    (here / "first.toml").write_text(PLAN)
    (here / "crash.toml").write_text(CRASH)
    (here / "driver").mkdir()
    for name in ("hpnotify.sys", "hpnctl.exe"):
        (here / "driver" / name).write_bytes(name.encode())

    def read() -> tuple[str, str]:
        found = capsys.readouterr()
        return found.out, found.err

    return Day(here, read)


@pytest.mark.timeout(600)
def test_a_first_day(
    day: Day, tmp_path: Path, windows: ScriptedWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Build, a step that fails, mend it, go on, verify, run, accept, a crash, and what is sent back."""
    certificate = CertificatePin.of(windows.double.certificate).sha256
    iso = medium(tmp_path, certificate)
    step = template_module.templates_directory() / "windows-common" / "provision" / "50-debug.ps1"
    good = step.read_text()
    step.write_text(f'{good}throw "{MISTAKE}"\n')

    failed = day.types(f"harness template build {NAME} --iso {iso} --accel tcg", 69)
    assert f"(debug) failed: {MISTAKE}" in failed
    assert "The same command continues at installed" in failed
    said = day.types(f"harness evidence pack {NAME}")
    assert f"{NAME}-build.tar.gz: " in said
    with tarfile.open(day.here / f"{NAME}-build.tar.gz") as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {"log/01/console.log", "log/01/history.jsonl"} <= packed
    assert {"secrets.json", "answers.iso"}.isdisjoint(packed)

    step.write_text(good)
    built = day.types(f"harness template build {NAME} --iso {iso} --accel tcg")
    assert f"{NAME} is built: " in built
    assert "provisioning starts again: provision/50-debug.ps1 changed" in built
    assert "WinPE" not in built

    template = tmp_path / "templates" / NAME
    secrets = msgspec.json.decode((template / "secrets.json").read_bytes(), type=GuestCredentials)
    (tmp_path / "users").write_text(f":{USER}:{secrets.password}\n")
    monkeypatch.setattr(transports_module, "forwarded_ports", lambda *_: {WINRM_PORT: windows.double.port})
    windows.change(build="20348", caption="Microsoft Windows Server 2022 Standard Evaluation")
    kept = msgspec.structs.replace(KEPT, build="20348.1", nmi="")
    answering(tmp_path, msgspec.json.encode(kept).decode() + "\r\n")
    verified = day.types(f"harness template verify {NAME} --accel tcg", 1)
    assert "BROKEN dump" in verified
    assert 1 == verified.count("BROKEN")
    answering(tmp_path, msgspec.json.encode(msgspec.structs.replace(kept, nmi="1")).decode() + "\r\n")
    assert "BROKEN" not in day.types(f"harness template verify {NAME} --accel tcg")

    ran = day.types(f"harness run ./first.toml --guest {NAME} --driver driver --accel tcg", 3)
    assert "nothing happened that a rule about Windows or the driver judges" in ran
    assert {} == windows.model["services"]

    accepted = day.types(
        f"harness accept 21 --guest {NAME} --driver driver --accel tcg --no-compare --cold --test-timeout 6",
        3,
    )
    findings = json.loads((day.here / "acceptance" / "findings.json").read_text())
    assert (NAME, "20348.1") == (findings["about"]["guest"], findings["about"]["build"])
    assert "Findings: acceptance/findings.json" in accepted
    by = {(kind, line["id"]): line for kind in ("rules", "statements", "promises") for line in findings[kind]}
    status = {name: line["status"] for name, line in by.items()}
    assert {"open"} == {word for (kind, _), word in status.items() if kind == "rules"}
    assert {"confirmed"} == {word for (kind, _), word in status.items() if kind == "promises"}
    assert "confirmed" == status["statements", "driver-load.ps1"]
    assert "confirmed" == status["statements", "provision/50-debug.ps1"]
    assert "open" == status["statements", "verifier.ps1"]

    tool = CRASHING.format(python=sys.executable, sockets=str(tmp_path), standin=scripted_windows.__file__)
    (tmp_path / "programs" / TOOL).write_text(tool)
    # Another run begins on another overlay of the template's disk.
    windows.change(services={})
    crashed = day.types(f"harness run ./crash.toml --guest {NAME} --driver driver --accel tcg --monitor", 3)
    assert "bug check" in crashed
    shown = day.types("harness evidence show latest")
    assert "class bug check" in shown
    day.types("harness evidence pack latest --out crash.tar.gz")
    with tarfile.open(day.here / "crash.tar.gz") as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "run.json",
        "history.jsonl",
        "verdict.json",
        "evidence/registers.txt",
        "evidence/screen.png",
    } <= packed
    assert {"disk.qcow2", "variables.fd"}.isdisjoint(packed)
