# SPDX-License-Identifier: MIT
"""The certificates of a fleet: what is made, and what is refused before anything is connected."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from harness.cli.main import main
from harness.errors import UsageError
from harness.fleet.certificates import CA, CA_KEY, make_certificates
from harness.fleet.tls import TlsFiles, tls_files


def files(place: Path, host: str = "127.0.0.1") -> TlsFiles:
    """Make an authority and a certificate."""
    (made,) = make_certificates([host], place)
    return TlsFiles(made.ca, made.cert, made.key)


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
