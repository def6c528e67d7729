# SPDX-License-Identifier: MIT
"""TLS of a fleet: who is refused, and what somebody with a stolen key can do."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from fleet.conftest import Fleet

from harness.cli.main import main
from harness.errors import UsageError
from harness.fleet.certificates import CA, CA_KEY, make_certificates
from harness.fleet.engine import Engine
from harness.fleet.scheduler_probe import SchedulerLost
from harness.fleet.tls import TlsFiles, security, tls_files
from harness.fleet.worker import FleetWorker
from harness.forking.fork_server import ForkServer


def files(place: Path, host: str = "127.0.0.1") -> TlsFiles:
    """Make an authority and a certificate."""
    (made,) = make_certificates([host], place)
    return TlsFiles(made.ca, made.cert, made.key)


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, engine_server: ForkServer
) -> Iterator[tuple[Fleet, TlsFiles]]:
    """A scheduler and a worker with TLS, which no test changes."""
    fleet = Fleet(tmp_path_factory.mktemp("secured"))
    fleet.server = engine_server
    tls = files(fleet.place / "certificates")
    fleet.url = fleet.url.replace("tcp", "tls")
    words = ["--ca", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key)]
    fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, *words)
    fleet.start(
        "a", "worker", "--scheduler", fleet.url, "--name", "a", "--work", str(fleet.place / "work-a"), *words
    )
    try:
        fleet.wait_said("a", "is offered")
        yield fleet, tls
    finally:
        fleet.close()


def test_a_stranger_is_refused(secured: tuple[Fleet, TlsFiles], tmp_path: Path) -> None:
    """Neither a certificate of another authority nor a connection without TLS is let in, as a client or as a worker."""
    fleet, _ = secured
    stranger = files(tmp_path / "other")
    with pytest.raises(SchedulerLost, match=r"its certificate is not valid by ca .*ca\.pem: "):
        Engine.connect(fleet.url, stranger, seconds=20)
    with pytest.raises(SchedulerLost, match="it accepts connections, and sends nothing"):
        Engine.connect(fleet.url.replace("tls", "tcp"), None, seconds=2)
    said: list[str] = []
    with pytest.raises(SchedulerLost, match="its certificate is not valid by ca"):
        FleetWorker(
            fleet.url, stranger, host="b", work=tmp_path / "work-b", harness="1", say=said.append
        ).serve(once=True)  # fmt: skip


def test_a_foreign_certificate_is_named(secured: tuple[Fleet, TlsFiles], tmp_path: Path) -> None:
    """With the lab's ca.pem, the scheduler refuses it: the message says whose certificate, and what all hosts need."""
    fleet, ours = secured
    theirs = files(tmp_path / "other")
    with pytest.raises(
        SchedulerLost, match=f"does not accept this host's certificate {theirs.cert}"
    ) as caught:
        Engine.connect(fleet.url, TlsFiles(ours.ca, theirs.cert, theirs.key), seconds=20)
    assert "ca.pem of the same authority" in caught.value.hint


def test_a_worker_names_each_cause_once_and_continues(fleet: Fleet, tmp_path: Path) -> None:
    """A wrong port and a wrong authority have different messages; when the cause is gone, the host is offered."""
    ours, theirs = files(tmp_path / "ours"), files(tmp_path / "theirs")
    fleet.url = fleet.url.replace("tcp", "tls")

    def words(tls: TlsFiles) -> list[str]:
        return ["--ca", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key)]

    fleet.start(
        "a",
        "worker",
        "--scheduler",
        fleet.url,
        "--name",
        "a",
        "--work",
        str(fleet.place / "work-a"),
        *words(ours),
    )
    fleet.wait_said("a", "connection refused: nothing listens there")
    stranger = fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, *words(theirs))
    fleet.wait_said("a", "its certificate is not valid by ca")
    stranger.terminate()
    stranger.wait(60)
    fleet.start("scheduler", "fleet", "scheduler", "--listen", fleet.url, *words(ours))
    fleet.wait_said("a", "a is offered")
    assert 1 == fleet.said("a").count("its certificate is not valid by ca")


def test_a_name_that_does_not_resolve_is_named() -> None:
    """The name .invalid never resolves (RFC 6761, section 6.4)."""
    with pytest.raises(SchedulerLost, match=r"the name lab1\.invalid does not resolve"):
        Engine.connect("tls://lab1.invalid:8786", TlsFiles(Path(), Path(), Path()), seconds=5)


def test_a_silent_scheduler_is_said_with_a_round_number() -> None:
    """It may have just been started: the seconds of the last attempt are what is left of a longer one."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SchedulerLost, match=r"sends nothing within 1 s\n") as caught:
            Engine.connect(url, None, seconds=1.2345)
    assert "have just been started" in caught.value.hint


def test_a_scheduler_whose_name_does_not_resolve_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the words of docs/fleet.md, as a worker and ``harness fleet`` say it, and before it listens."""
    tls = files(tmp_path)
    words = ["--listen", "tls://lab1.invalid:8786", "--ca", str(tls.ca), "--cert", str(tls.cert)]
    assert 69 == main(["fleet", "scheduler", *words, "--key", str(tls.key)])
    said = capsys.readouterr().err
    assert "the name lab1.invalid does not resolve" in said
    assert "Check the name, DNS and /etc/hosts." in said


@pytest.mark.parametrize("command", [["worker"], ["fleet"], ["nightly", "--once"], ["fleet", "scheduler"]])
def test_files_that_do_not_belong_together_are_refused_at_once(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No scheduler is needed to know it: all commands end with 64, and name both files."""
    one, other = files(tmp_path / "one"), files(tmp_path / "other")
    (tmp_path / "lab.toml").write_text(
        f'[fleet]\nscheduler = "tls://127.0.0.1:1"\nca = "{one.ca}"\ncert = "{one.cert}"\nkey = "{other.key}"\n'
        '[[plan]]\nplan = "veto"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert 64 == main(command)
    assert f"cert = '{one.cert}' and key = '{other.key}' do not belong together" in capsys.readouterr().err


@pytest.mark.parametrize("damaged", ["ca", "cert", "key"])
def test_a_damaged_file_is_refused(damaged: str, tmp_path: Path) -> None:
    """The message names it, before anything is connected."""
    given = {name: str(path) for name, path in msgspec.structs.asdict(files(tmp_path)).items()}
    (tmp_path / "damaged").write_text("nothing")
    with pytest.raises(UsageError, match="PEM format") as caught:
        tls_files(**given | {damaged: str(tmp_path / "damaged")})
    assert str(tmp_path / "damaged") in caught.value.message


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
