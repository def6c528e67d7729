# SPDX-License-Identifier: MIT
"""The password of a Windows guest is used on its host, and is in nothing that leaves this host: a search that finds what is sent."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from fleet.conftest import PATIENCE, Fleet
from guest.windows.conftest import PASSWORD, ScriptedWindows, leading, scripted
from guest.windows.test_guest_type import NAME, empty_template, manifest

from harness.deadline import Deadline
from harness.template.manifest import GuestCredentials
from harness.template.store import MANIFEST
from harness.template.template import WINRM_PORT
from harness.transport.pin import CertificatePin
from tests.fleet.recording_relay import RecordingRelay

SENT = "sent-to-all-7731"
"""The name of the plan, which every part of the fleet gets."""
PLAN = f"""
name = "{SENT}"
summary = "the driver comes and goes"
driver = false
[[do]]
op = "load-driver"
[[do]]
op = "unload-driver"
"""
ANSWERED = """
import harness.guest.windows.transports as transports
transports.forwarded_ports = lambda machine, deadline: {{{guest_port}: {port}}}
"""
"""What leads the processes of a host to the scripted Windows, in place of the guest that their QEMU would run."""
RELAYED = """
import sys, functools, distributed
from harness.cli.main import main
distributed.Worker = functools.partial(distributed.Worker, contact_address="tcp://127.0.0.1:{port}")
sys.exit(main(sys.argv[1:]))
"""
"""A worker that the scheduler reaches through a relay."""


@pytest.fixture
def windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedWindows]:
    """The scripted Windows, up and answering, whose files are the worker's host's."""
    place = tmp_path / "host"
    place.mkdir()
    for name, value in leading(place).items():
        monkeypatch.setenv(name, value)
    with scripted(place) as windows:
        yield windows


@pytest.fixture
def template(tmp_path: Path, windows: ScriptedWindows) -> Path:
    """The store of templates of the worker's host, with one whose guest is the scripted Windows."""
    root = empty_template(tmp_path / "host")
    document = root / NAME / MANIFEST
    pin = CertificatePin.of(windows.double.certificate).sha256
    document.chmod(0o644)
    document.write_bytes(msgspec.json.encode(manifest(pin, root / NAME)))
    return root


def free_port() -> int:
    """Return a port that nobody uses yet."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def files(*places: Path) -> dict[str, bytes]:
    """Return the files below some places, by path."""
    return {
        str(path): path.read_bytes()
        for place in places
        for path in ([place] if place.is_file() else place.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def process(pid: int) -> bytes:
    """Return the command line and the environment of a process."""
    return b"\0".join((Path("/proc") / str(pid) / name).read_bytes() for name in ("cmdline", "environ"))


def holding(word: bytes, searched: dict[str, dict[str, bytes]]) -> set[str]:
    """Return the places in which something holds a word."""
    return {place for place, found in searched.items() if any(word in data for data in found.values())}


@pytest.mark.qemu
@pytest.mark.remote
def test_a_guest_s_password_stays_on_its_host(
    tmp_path: Path, windows: ScriptedWindows, template: Path
) -> None:
    """A run of a nightly run uses it. Neither the network, nor the exchange, nor scheduler and nightly run have it in any spelling."""
    place = tmp_path / "fleet"
    place.mkdir()
    fleet = Fleet(place)
    # A word that is given to scheduler and nightly run, so that the search of their environment can find something.
    fleet.environment = {"XDG_STATE_HOME": str(place / "state"), "LAB": SENT}
    (place / "results").mkdir()
    (tmp_path / "host" / "driver").mkdir()
    for name in ("hpnotify.sys", "hpnctl.exe"):
        (tmp_path / "host" / "driver" / name).write_bytes(name.encode())
    (place / f"{SENT}.toml").write_text(PLAN)
    fleet.lab(
        f'accel = "tcg"\n[[guest]]\nname = "{NAME}"\ndriver = "{tmp_path / "host" / "driver"}"\n'
        f'[[plan]]\nplan = "{SENT}.toml"\n[fleet]\nresults = "{fleet.exchange}"\n'
    )
    customised = tmp_path / "host" / "python"
    customised.mkdir()
    (customised / "sitecustomize.py").write_text(
        ANSWERED.format(guest_port=WINRM_PORT, port=windows.double.port)
    )
    fleet.scheduler()
    to_scheduler = RecordingRelay(int(fleet.url.rpartition(":")[2]))
    worker_port = free_port()
    to_worker = RecordingRelay(worker_port)
    fleet.url = f"tcp://127.0.0.1:{to_scheduler.port}"
    try:
        fleet.run_python(
            "a", RELAYED.format(port=to_worker.port), "worker", "--scheduler", fleet.url, "--name", "a",
            "--port", str(worker_port), "--work", str(tmp_path / "host" / "work-a"),
            HOTPLUG_HARNESS_TEMPLATES=str(template), PYTHONPATH=f"{customised}:{Path(__file__).parents[2]}",
        )  # fmt: skip
        fleet.hosts("a")
        nightly = fleet.nightly()
        fleet.wait_said("a", ": begins")
        # It takes nothing from the exchange until that was copied.
        nightly.send_signal(signal.SIGSTOP)
        processes = {name: {"": process(fleet.last(name).pid)} for name in ("scheduler", "nightly")}
        Deadline(PATIENCE, "the end of the run").poll(
            lambda: fleet.said("a").count(f"{SENT}.1: ") > 1, interval=0.2
        )
        shutil.copytree(place / "results", tmp_path / "exchange")
        nightly.send_signal(signal.SIGCONT)
        nightly.wait(PATIENCE)
    finally:
        fleet.close()
        to_scheduler.close()
        to_worker.close()
    searched = {
        "scheduler's connections": {"": to_scheduler.passed},
        "worker's connections": {"": to_worker.passed},
        "exchange": files(tmp_path / "exchange"),
        "journal": files(place / "nightly" / "n" / "state.jsonl"),
        "store": files(place / "nightly" / "results.sqlite"),
        "nightly run": files(place / "nightly" / "n"),
        "logs": files(*place.glob("*.log")),
        **processes,
    }
    assert windows.double.ran, fleet.said("a") + fleet.said("nightly")
    spellings = GuestCredentials(password=PASSWORD, private_key="", public_key="").spellings()
    assert searched.keys() == holding(SENT.encode(), searched)
    assert [set()] * len(spellings) == [holding(word, searched) for word in spellings]
    assert {"host"} == holding(spellings[0], {"host": files(tmp_path / "host")})
