# SPDX-License-Identifier: MIT
"""The visit of ``harness template verify`` to a scripted Windows: how it gets in, what it asks, what it makes of it."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from guest.windows import scripted_windows
from guest.windows.conftest import MakeGuest, ScriptedWindows

from harness.cli.template_visit import ask, on_time, reached
from harness.deadline import Deadline
from harness.errors import GuestRefused, InfrastructureError
from harness.guest.windows.image import WindowsImage
from harness.template.promise import script
from harness.template.store import BuiltTemplate
from harness.template.template import templates_directory
from tests.template.test_promise import KEPT, MANIFEST

pytestmark = [pytest.mark.remote, pytest.mark.qemu]

ANSWERING = """#!{python} -I
import base64, os, pathlib, sys
words, disk = sys.argv[1:], pathlib.Path(os.environ["SCRIPTED_WINDOWS"])
text = ""
if "-EncodedCommand" in words:
    text = base64.b64decode(words[words.index("-EncodedCommand") + 1]).decode("utf-16-le")
elif "-File" in words:
    name = words[words.index("-File") + 1].replace("\\\\", "/")
    text = (disk / name).read_bytes().decode("utf-8-sig")
if pathlib.Path({script!r}).read_text() in text.replace("\\r\\n", "\\n"):
    sys.stdout.write(pathlib.Path({answer!r}).read_text())
    sys.exit(int(pathlib.Path({code!r}).read_text()))
os.execv({python!r}, [{python!r}, "-I", {standin!r}, "powershell.exe", *words])
"""


@pytest.fixture
def built(tmp_path: Path) -> BuiltTemplate:
    """A template whose manifest the answers are held against."""
    folder = tmp_path / "template"
    folder.mkdir()
    source = templates_directory() / "windows-server-2025" / "template.toml"
    (folder / "template.toml").write_text(source.read_text())
    return BuiltTemplate(folder=folder, manifest=MANIFEST)


def answering(tmp_path: Path, text: str, code: int = 0) -> None:
    """Have the scripted Windows answer our script with ``text``; it must be that script, letter for letter."""
    for name, content in (("script", script()), ("answer", text), ("code", str(code))):
        (tmp_path / name).write_text(content)
    program = ANSWERING.format(
        python=sys.executable, standin=scripted_windows.__file__,
        script=str(tmp_path / "script"), answer=str(tmp_path / "answer"), code=str(tmp_path / "code"),
    )  # fmt: skip
    (tmp_path / "programs" / "powershell.exe").write_text(program)


def test_a_guest_that_keeps_its_promises(
    windows: ScriptedWindows, built: BuiltTemplate, image: WindowsImage, tmp_path: Path
) -> None:
    """The script gets there whole, over WinRM, and its answer is judged."""
    answering(tmp_path, msgspec.json.encode(KEPT).decode() + "\r\n")
    transports = windows.transports()
    findings = [*reached(image, transports), *ask(built, transports)]
    assert [] == [finding for finding in findings if not finding.kept]
    assert "certificate" == findings[0].name
    assert image.certificate.sha256 in findings[0].seen


def test_a_guest_whose_clock_is_another_s_breaks_a_promise(
    make_guest: MakeGuest, windows: ScriptedWindows
) -> None:
    """Once it is ready; before, nothing is known of it."""
    guest = make_guest()
    assert [] == on_time(guest)
    guest.wait_ready(Deadline(90, "boot"))
    (finding,) = on_time(guest)
    assert (True, "clock") == (finding.kept, finding.name)
    windows.change(ahead=-8 * 3600.0)
    guest = make_guest()
    guest.wait_ready(Deadline(90, "boot"))
    (finding,) = on_time(guest)
    assert not finding.kept
    assert "behind the host's" in finding.seen


def test_a_guest_that_breaks_one(windows: ScriptedWindows, built: BuiltTemplate, tmp_path: Path) -> None:
    """The finding says what was seen."""
    answering(tmp_path, msgspec.json.encode(msgspec.structs.replace(KEPT, vbs="2")).decode())
    (broken,) = [finding for finding in ask(built, windows.transports()) if not finding.kept]
    assert ("no VBS", "VirtualizationBasedSecurityStatus 2") == (broken.name, broken.seen)


def test_a_script_that_fails_is_told(windows: ScriptedWindows, built: BuiltTemplate, tmp_path: Path) -> None:
    """No answer is no promise kept."""
    answering(tmp_path, "", 1)
    with pytest.raises(GuestRefused, match="ended with 1"):
        ask(built, windows.transports())


def test_another_guest_is_not_asked(windows: ScriptedWindows, built: BuiltTemplate) -> None:
    """Who shows another certificate than the build told gets neither password nor script."""
    with pytest.raises(InfrastructureError):
        ask(built, windows.transports(pin=b"another"))
