# SPDX-License-Identifier: MIT
"""One honest use of every part that ``--require`` supplies: they are there, they start, they do their work."""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from private_postgres import PrivatePostgres
from unprivileged import Unprivileged

from harness.deadline import Deadline
from harness.host.preflight import PartState, examine
from harness.setup.parts import TESTED, part


def _program(name: str, need: int = 0) -> str:
    return part(name).needs[need].found()


@pytest.mark.libvirt
def test_a_private_libvirtd_says_that_it_can_run_q35_under_tcg(unprivileged: Unprivileged) -> None:
    """libvirtd and its QEMU driver, started for this test alone, know the machine type of our guests."""
    libvirt = pytest.importorskip("libvirt")
    runtime = unprivileged.directory / "run"
    unprivileged.environment |= {
        "XDG_RUNTIME_DIR": str(runtime),
        "XDG_CONFIG_HOME": str(unprivileged.directory / "config"),
        "XDG_CACHE_HOME": str(unprivileged.directory / "cache"),
    }
    log = unprivileged.directory / "libvirtd.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen([_program("libvirt")], stderr=output, **unprivileged.popen)
    try:
        socket = runtime / "libvirt" / "libvirt-sock"
        Deadline(30, "libvirtd's socket").poll(lambda: socket.exists() or daemon.poll() is not None)
        assert daemon.poll() is None, log.read_text(errors="replace")
        connection = libvirt.open(f"qemu+unix:///session?socket={socket}")
        try:
            capabilities = connection.getDomainCapabilities(None, "x86_64", "q35", "qemu")
        finally:
            connection.close()
    finally:
        daemon.terminate()
        ended = daemon.wait(30)
    assert ended == 0
    assert ElementTree.fromstring(capabilities).findtext("domain") == "qemu"


@pytest.mark.wine
def test_wine_runs_a_windows_program(tmp_path: Path) -> None:
    """Wine makes a fresh prefix and runs the Windows command interpreter in it."""
    prefix = tmp_path / "prefix"
    environment = {
        **os.environ,
        "WINEPREFIX": str(prefix),
        "WINEARCH": "win64",
        "WINEDEBUG": "-all",
        # Neither .NET nor a web engine is asked for, and so nothing offers to download one.
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }
    environment.pop("DISPLAY", None)
    try:
        ran = subprocess.run(
            [_program("wine"), "cmd", "/c", "ver"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=150,
            check=True,
        )
        assert b"Microsoft Windows" in ran.stdout
    finally:
        server = shutil.which("wineserver") or "/usr/lib/wine/wineserver"
        subprocess.run([server, "--kill", "--wait"], env=environment, timeout=60, check=False)
        # A prefix takes some 700 MB, and pytest keeps the directories of the last runs.
        shutil.rmtree(prefix, ignore_errors=True)


@pytest.mark.browser
def test_headless_chromium_runs_the_script_of_a_local_page(tmp_path: Path) -> None:
    """Chromium loads a page from a file, runs its script and prints the document that came of it."""
    page = tmp_path / "page.html"
    page.write_text(
        "<!DOCTYPE html><title>t</title><p id=sum></p><script>sum.textContent = 6 * 7 + ' slots'</script>"
    )
    ran = subprocess.run(
        [
            _program("browser"),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            page.as_uri(),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert b'<p id="sum">42 slots</p>' in ran.stdout


@pytest.mark.postgres
def test_a_private_postgresql_answers_on_its_socket(unprivileged: Unprivileged) -> None:
    """A cluster made for this test, listening on a Unix socket only, stores a row and gives it back."""
    server = PrivatePostgres(unprivileged)
    server.start()
    try:
        answer = server.ask(
            "postgres", "CREATE TABLE run (n int); INSERT INTO run VALUES (41); SELECT n + 1 FROM run"
        )
    finally:
        server.stop()
    assert answer.strip() == "42"


@pytest.mark.prometheus
def test_promtool_tells_metrics_from_what_is_none() -> None:
    """Prometheus' own checker takes a gauge with its help and refuses a line that is cut."""
    ends = [
        subprocess.run(
            [_program("prometheus"), "check", "metrics"],
            input=said,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        ).returncode
        for said in ("# HELP x_seconds How long.\n# TYPE x_seconds gauge\nx_seconds 1\n", 'x{a="\n')
    ]
    assert [True, False] == [code == 0 for code in ends]


@pytest.mark.parametrize(
    "name", [pytest.param(each.name, marks=getattr(pytest.mark, each.name)) for each in TESTED]
)
def test_a_part_that_is_here_has_a_version(name: str) -> None:
    """The real program is asked with its own option."""
    (part,) = [one for one in examine(Deadline(120, "the parts")) if one.name == name]
    assert (PartState.OK, True) == (part.state, any(letter.isdigit() for letter in part.found)), part
