# SPDX-License-Identifier: MIT
"""A Windows that is adopted: a scripted one behind real WinRM, on a real QEMU whose guest restarts as its launcher would."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guest.windows.conftest import PASSWORD, USER, ScriptedWindows
from guest.windows.test_visit import answering

from harness.deadline import Deadline
from harness.errors import GuestUnreachable, TemplateFailed, UsageError
from harness.guest.windows.adoption import AdoptionVisit, Entered, Login
from harness.history.record import Stage
from harness.machine.machine import Machine
from harness.template.adopted_disk import AdoptedDisk
from harness.template.adoption import begin_script, identify
from harness.template.build import Recipe, TemplateBuild
from harness.template.progress import BuildPosition
from harness.template.promise import PROMISES, STEPS
from harness.template.provision import steps
from harness.template.stage import BuildStage
from harness.template.template import find_template
from harness.transport.pin import CertificatePin
from harness.transport.secret import Secret
from tests.template.building import NAME, PACE, Bench
from tests.template.scripted_medium import boot_medium, compile_setup
from tests.template.test_promise import KEPT

pytestmark = [pytest.mark.remote, pytest.mark.qemu]

TEMPLATE = find_template("windows-server-2025")
SEEN = msgspec.structs.replace(
    KEPT, build=f"{TEMPLATE.builds[0]}.1", edition="ServerStandardEval", installation="Server Core"
)
CERTIFICATE = "7d" * 32
STEPS_OF_THE_GUEST = [
    "nokey", "wait 6000", "install", "mark stage installed", "reset", "mark stage provisioning", "mark step 1 1 winrm",
    f"mark fact build {SEEN.build}", "mark fact edition ServerStandardEval", "mark fact installation Server Core",
    f"mark fact certificate {CERTIFICATE}", "mark fact openssh none", "mark done", "shutdown",
]  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty store, and the installer's medium: it stands for the disk's own boot loader."""
    return Bench(tmp_path, boot_medium(tmp_path / "boot.iso", compile_setup(tmp_path)))


@pytest.fixture
def server(windows: ScriptedWindows, tmp_path: Path) -> ScriptedWindows:
    """A scripted Windows that says who asks, and takes orders; they lie in ``orders``."""
    programs = tmp_path / "programs"
    for name, text in (
        ("whoami", f"echo {USER} S-1-5-21-1-2-3-500"),
        ("shutdown.exe", f'echo shutdown "$@" >> {tmp_path}/orders'),
    ):
        program = programs / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    return windows


BEGINNING = """#!{python} -I
import base64, os, pathlib, sys
words = sys.argv[1:]
text = base64.b64decode(words[-1]).decode("utf-16-le") if "-EncodedCommand" in words else ""
if pathlib.Path({begin!r}).read_text() in text.replace("\\r\\n", "\\n"):
    with open({orders!r}, "a") as orders:
        orders.write("begin\\n")
    sys.exit(0)
os.execv({answers!r}, [{answers!r}, *words])
"""


def seen(tmp_path: Path, **changes: str) -> None:
    """Have the scripted Windows show this of itself, and begin provisioning when it is told to."""
    programs = tmp_path / "programs"
    answering(tmp_path, msgspec.json.encode(msgspec.structs.replace(SEEN, **changes)).decode())
    (programs / "powershell.exe").rename(programs / "answers")
    (tmp_path / "begin").write_text(begin_script())
    text = BEGINNING.format(
        python=sys.executable, begin=str(tmp_path / "begin"), orders=str(tmp_path / "orders"), answers=str(programs / "answers")
    )  # fmt: skip
    (programs / "powershell.exe").write_text(text)
    (programs / "powershell.exe").chmod(0o755)


def visit(server: ScriptedWindows, *, consent: bool, **changes: Any) -> AdoptionVisit:
    """A visit that gets in to the scripted Windows, whatever machine it is shown."""

    def enter(_machine: Machine, _login: Login, deadline: Deadline) -> Entered:
        link = server.transports().commands
        link.run("whoami /user", deadline)
        return Entered(transport=link, certificate=CertificatePin.of(server.double.certificate))

    login = Login(user=USER, password=Secret(PASSWORD))
    return AdoptionVisit(
        TEMPLATE, login, **{"provision": consent, "boot_timeout": 60, "enter": enter, **changes}
    )


def recipe(bench: Bench, disk: Path) -> Recipe:
    """What is made of a disk by the scripted guest."""
    return bench.recipe(
        STEPS_OF_THE_GUEST, edition="", image="", needed=("build", "certificate", "edition", "openssh"),
        source=AdoptedDisk(file=disk, format="qcow2", size=1 << 30), begin=BuildPosition(BuildStage.FIRST_LOGON),
        identify=lambda facts: identify(TEMPLATE, facts),
    )  # fmt: skip


def adopt(bench: Bench, disk: Path, paid: AdoptionVisit) -> Any:
    """Adopt ``disk``."""
    with bench.store.building(NAME):
        return TemplateBuild(
            recipe(bench, disk), bench.store, pace=PACE, listeners=(bench.records.append,), registry=bench.registry, visit=paid
        ).run(Deadline(300, "the adoption"))  # fmt: skip


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Somebody's disk."""
    file = tmp_path / "theirs.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", file, "1G"], check=True)
    return file


def test_a_windows_that_lacks_something_is_provisioned_with_consent(
    bench: Bench, server: ScriptedWindows, disk: Path, tmp_path: Path
) -> None:
    """The launcher is started once, by the line of the answer file; the rest is a build. The disk stays as it is."""
    seen(tmp_path, vbs="2", mask="0")
    before = hashlib.sha256(disk.read_bytes()).hexdigest()
    paid = visit(server, consent=True)
    built = adopt(bench, disk, paid)
    assert ["no VBS", "debug print"] == [each.name for each in paid.lacking]
    assert ["begin"] == (tmp_path / "orders").read_text().splitlines()
    manifest = built.manifest
    assert ("adopted", CERTIFICATE, 180, "winrm") == (
        manifest.origin, manifest.certificate, manifest.evaluation_days, manifest.transfer,
    )  # fmt: skip
    assert next(each.name for each in TEMPLATE.editions if "ServerStandardEval" in each.ids and each.installation == "Server Core") == manifest.edition  # fmt: skip
    stages = [each.name for each in bench.records if isinstance(each, Stage) and each.phase == "begin"]
    assert ["first logon", "installed"] == list(dict.fromkeys(stages))[:2]
    assert before == hashlib.sha256(disk.read_bytes()).hexdigest()
    assert disk.read_bytes()[:4] == b"QFI\xfb"


def test_without_consent_what_is_lacking_is_named_with_its_step(
    bench: Bench, server: ScriptedWindows, disk: Path, tmp_path: Path
) -> None:
    """Nothing is ordered, nothing is made, and the way on is told."""
    seen(tmp_path, vbs="2", logon="1")
    with pytest.raises(UsageError, match="lacks 2 of what a template promises") as caught:
        adopt(bench, disk, visit(server, consent=False))
    assert "VirtualizationBasedSecurityStatus 2 (step hot-add)" in caught.value.message
    assert "(step account)" in caught.value.message
    assert "--provision" in caught.value.hint
    assert (None, False) == (bench.store.built(NAME), (tmp_path / "orders").exists())


def test_a_windows_that_lacks_nothing_is_only_shut_down(
    server: ScriptedWindows, tmp_path: Path, machine: Machine
) -> None:
    """What it showed of itself becomes the facts of the template."""
    seen(tmp_path)
    told = visit(server, consent=False)(machine)
    facts = {marker.key: marker.value for marker in told[:-1]}  # type: ignore[union-attr]
    assert hashlib.sha256(server.double.certificate).hexdigest() == facts["certificate"]
    assert (SEEN.build, "none") == (facts["build"], facts["openssh"])
    assert ["shutdown /s /t 5"] == (tmp_path / "orders").read_text().splitlines()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"build": "20348.1"}, "build 20348.1, and windows-server-2025 is build 26100"),
        ({"edition": "Professional"}, "the edition Professional"),
        ({"grace": "0"}, "cannot become a template: its evaluation has not ended"),
    ],
)
def test_another_windows_is_refused(
    server: ScriptedWindows, tmp_path: Path, machine: Machine, changes: dict[str, str], says: str
) -> None:
    """A release or an edition that the template is not, and what no step mends."""
    seen(tmp_path, **changes)
    with pytest.raises(UsageError, match=says):
        visit(server, consent=True)(machine)


def test_no_way_in_is_told_with_the_last_words(server: ScriptedWindows, machine: Machine) -> None:
    """And with what must be set up in the guest."""

    def refused(*_: object) -> Entered:
        raise GuestUnreachable("WinRM over HTTPS at 127.0.0.1:1: connection refused", sent=False)

    with pytest.raises(
        TemplateFailed, match=r"no network login as Administrator .*connection refused"
    ) as caught:
        visit(server, consent=True, enter=refused, boot_timeout=1)(machine)
    assert "--ssh-key" in caught.value.hint


def test_every_promise_has_its_step() -> None:
    """A step of the templates keeps it, or none can."""
    names = {promise.name for promise in PROMISES}
    assert {"build", "license", "processors"} == names - STEPS.keys()
    assert set(STEPS) <= names
    assert set(STEPS.values()) <= {step.name for step in steps(TEMPLATE)}
    with pytest.raises(UsageError, match="build unknown"):
        identify(TEMPLATE, {})
