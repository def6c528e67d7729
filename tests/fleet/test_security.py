# SPDX-License-Identifier: MIT
"""TLS of a fleet: who is refused, and what somebody with a stolen key can do."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from fleet.conftest import Fleet

from harness.errors import UsageError
from harness.fleet.certificates import CA, CA_KEY, make_certificates
from harness.fleet.engine import Engine, SchedulerLost, TlsFiles, security
from harness.fleet.worker import FleetWorker


def files(place: Path, host: str = "127.0.0.1") -> TlsFiles:
    """Make an authority and a certificate."""
    (made,) = make_certificates([host], place)
    return TlsFiles(made.ca, made.cert, made.key)


@pytest.fixture
def secured(fleet: Fleet) -> tuple[Fleet, TlsFiles]:
    """A scheduler and a worker with TLS."""
    tls = files(fleet.place / "certificates")
    fleet.url = fleet.url.replace("tcp", "tls")
    words = ["--ca", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key)]
    fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, *words)
    fleet.start(
        "a", "worker", "--scheduler", fleet.url, "--name", "a", "--work", str(fleet.place / "work-a"), *words
    )
    fleet.wait_said("a", "is offered")
    return fleet, tls


def test_a_stranger_is_refused(secured: tuple[Fleet, TlsFiles], tmp_path: Path) -> None:
    """Neither a certificate of another authority nor a connection without TLS is let in, as a client or as a worker."""
    fleet, _ = secured
    stranger = files(tmp_path / "other")
    with pytest.raises(SchedulerLost, match="cannot be reached"):
        Engine.connect(fleet.url, stranger, seconds=2)
    with pytest.raises(SchedulerLost, match="cannot be reached"):
        Engine.connect(fleet.url.replace("tls", "tcp"), None, seconds=2)
    said: list[str] = []
    with pytest.raises(Exception, match="does not start"):
        FleetWorker(
            fleet.url, stranger, host="b", work=tmp_path / "work-b", harness="1", say=said.append
        ).serve(once=True)  # fmt: skip


def test_a_stolen_worker_key_runs_anything(secured: tuple[Fleet, TlsFiles]) -> None:
    """The engine executes any function for a member of the fleet, as the user of the worker: the page says so."""
    from distributed import Client

    fleet, stolen = secured
    with Client(fleet.url, security=security(stolen), timeout=20, set_as_default=False) as client:
        assert {os.geteuid()} == set(client.run(os.geteuid).values())
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    assert "who has it runs any program on all hosts, as the user of the workers" in page


def test_keys_are_private_and_the_authority_is_made_once(tmp_path: Path) -> None:
    """A second host has a certificate of the same authority; no certificate is replaced."""
    make_certificates(["lab1"], tmp_path)
    before = (tmp_path / CA).read_bytes()
    make_certificates(["lab2", "192.0.2.7"], tmp_path)
    assert before == (tmp_path / CA).read_bytes()
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    with pytest.raises(UsageError, match="already exists"):
        make_certificates(["lab1"], tmp_path)


def test_a_damaged_authority_is_refused(tmp_path: Path) -> None:
    """Without its key it makes nothing; with the key of another it makes nothing either."""
    make_certificates(["lab1"], tmp_path / "a")
    make_certificates(["lab1"], tmp_path / "b")
    (tmp_path / "a" / CA_KEY).write_bytes((tmp_path / "b" / CA_KEY).read_bytes())
    with pytest.raises(UsageError, match="is not the key of"):
        make_certificates(["lab2"], tmp_path / "a")
    (tmp_path / "b" / CA_KEY).unlink()
    with pytest.raises(UsageError, match="incomplete or damaged"):
        make_certificates(["lab2"], tmp_path / "b")


@pytest.mark.parametrize("host", ["", "a b", "../x", "-x", "a" * 300])
def test_what_is_not_a_host_is_refused(tmp_path: Path, host: str) -> None:
    """No certificate is written for it."""
    with pytest.raises(UsageError, match="is not a valid host name or address"):
        make_certificates([host], tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("hosts", [["ca"], ["ca-key"], ["lab1", "lab1-key"]])
def test_no_host_s_file_is_another_s(tmp_path: Path, hosts: list[str]) -> None:
    """A host's name that would give its certificate the name of the authority's key, or of a host's, is refused."""
    with pytest.raises(UsageError, match="is another file"):
        make_certificates(hosts, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_key_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    """Not even where a certificate is missing, which a cut command leaves."""
    made = make_certificates(["lab1"], tmp_path)[0]
    made.cert.unlink()
    before = made.key.read_bytes()
    with pytest.raises(UsageError, match=r"lab1-key\.pem already exists"):
        make_certificates(["lab1"], tmp_path)
    assert before == made.key.read_bytes()
