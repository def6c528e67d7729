# SPDX-License-Identifier: MIT
"""Real paramiko against real sshd: keys, cut transfers, full disks."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from transport.conftest import ssh_to
from transport.servers import SSHD, SshServer, make_key

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, GuestUnreachable, InfrastructureError, UsageError
from harness.transport.link import WireTransport

pytestmark = pytest.mark.remote

SIZE = 4_000_000


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for one mebibyte."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here, which takes root: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_changed_host_key_is_not_trusted(sshd: SshServer, within: Deadline) -> None:
    """The error shows both fingerprints, as ssh-keygen does."""
    link = ssh_to(sshd)
    changed = make_key(sshd.directory / "changed")
    sshd.configure("changed")
    with pytest.raises(
        InfrastructureError, match=r"the host key is SHA256:.*, not the pinned one, SHA256:"
    ) as caught:
        link.run("true", within)
    public = sshd.directory / "changed.pub"
    public.write_text(changed + "\n")
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True
    ).stdout
    assert shown.split()[1] in str(caught.value)


def test_a_host_key_of_another_type_is_not_trusted(sshd: SshServer, within: Deadline, tmp_path: Path) -> None:
    """A server that has no key of the pinned type is a stranger as well."""
    link = ssh_to(sshd)
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "ecdsa")], check=True)
    sshd.configure("ecdsa")
    with pytest.raises(InfrastructureError, match="not the pinned one"):
        link.run("true", within)


def test_the_pinned_key_is_found_among_others(sshd: SshServer, within: Deadline, tmp_path: Path) -> None:
    """A server shows the type that it is asked for."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(tmp_path / "ecdsa")], check=True)
    with sshd.configuration.open("a") as file:
        file.write(f"HostKey {tmp_path / 'ecdsa'}\n")
    pinned = (tmp_path / "ecdsa.pub").read_text()
    for host_key in (pinned, sshd.host_key):
        link = ssh_to(sshd, host_key=host_key)
        assert 0 == link.run("true", within).exit_code
        link.close()


@pytest.mark.parametrize(
    ("old", "kind"),
    [("MACs hmac-sha1\nCiphers aes128-ctr", "macs"), ("Ciphers aes128-cbc", "ciphers"),
     ("KexAlgorithms diffie-hellman-group14-sha1", "kex")],
)  # fmt: skip
def test_old_algorithms_are_refused(sshd: SshServer, within: Deadline, old: str, kind: str) -> None:
    """A server that has only an old one gets no command, and the message says which kind is lacking."""
    with sshd.configuration.open("a") as file:
        file.write(f"{old}\n")
    subprocess.run([str(SSHD.found()), "-t", "-f", str(sshd.configuration)], check=True)
    with pytest.raises(
        GuestRefused, match=f"no algorithm in common with the harness: .*no acceptable {kind}"
    ):
        ssh_to(sshd).run("true", within, idempotent=True)
    assert 1 == sshd.connections


def test_a_wrong_key_is_refused(sshd: SshServer, within: Deadline, tmp_path: Path) -> None:
    """Once: a guest that says no is not asked again."""
    make_key(tmp_path / "stranger")
    with pytest.raises(GuestRefused, match="the guest refuses the user or the key"):
        ssh_to(sshd, key=tmp_path / "stranger").run("true", within, idempotent=True)
    assert 1 == sshd.connections


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff\xfe\x00"])
def test_a_file_that_is_no_key_is_named(sshd: SshServer, tmp_path: Path, content: bytes) -> None:
    """Before anything is sent."""
    bad = tmp_path / "bad"
    bad.write_bytes(content)
    for path in (bad, tmp_path / "absent"):
        with pytest.raises(UsageError, match=f"cannot read the private key {path}"):
            ssh_to(sshd, key=path)


def test_one_connection_serves_many_commands(
    over_ssh: WireTransport, sshd: SshServer, within: Deadline
) -> None:
    """Until it breaks; then a new one is made."""
    over_ssh.run("true", within)
    over_ssh.run("true", within)
    assert 1 == sshd.connections
    over_ssh.close()
    over_ssh.run("true", within)
    assert 2 == sshd.connections


def test_a_connection_cut_in_a_command_is_told_as_such(over_ssh: WireTransport, within: Deadline) -> None:
    """sshd itself is ended by the command, so no exit status comes."""
    with pytest.raises(
        GuestUnreachable, match="connection lost, last stage reached 'command running"
    ) as caught:
        over_ssh.run("kill -9 $PPID; sleep 5", within)
    assert caught.value.sent


def test_a_command_ended_by_a_signal_says_so(over_ssh: WireTransport, within: Deadline) -> None:
    """It has no exit code, and the connection is still there."""
    outcome = over_ssh.run("kill -9 $$", within)
    assert (-1, False) == (outcome.exit_code, outcome.complete)
    assert ("the command was ended by a signal, or without an exit status",) == outcome.remarks


def test_output_held_open_by_a_child_does_not_hold_us(over_ssh: WireTransport, within: Deadline) -> None:
    """The command's end is known, so its output is only waited for a little longer."""
    outcome = over_ssh.run("sleep 30 & echo $!", within)
    os.kill(int(outcome.stdout), 9)
    assert 0 == outcome.exit_code
    assert not outcome.complete


def test_an_upload_cut_on_the_way_goes_on(
    over_ssh: WireTransport, sshd: SshServer, within: Deadline, tmp_path: Path
) -> None:
    """One call, two connections, and nothing sent twice but what was under way."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(SIZE))
    sshd.cut_after = SIZE * 3 // 4
    copied = over_ssh.put(source, str(target), within)
    assert source.read_bytes() == target.read_bytes()
    assert (True, 2, 2) == (SIZE // 4 < copied.resumed_at < SIZE, copied.attempts, sshd.connections)


def test_a_download_cut_on_the_way_goes_on(
    over_ssh: WireTransport, sshd: SshServer, within: Deadline, tmp_path: Path
) -> None:
    """The same, the other way."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(SIZE))
    sshd.cut_answers_after = SIZE * 3 // 4
    copied = over_ssh.get(str(source), target, within)
    assert source.read_bytes() == target.read_bytes()
    assert (True, 2, 2) == (SIZE // 4 < copied.resumed_at < SIZE, copied.attempts, sshd.connections)


def test_a_full_disk_in_the_guest_is_reported(
    over_ssh: WireTransport, full_disk: Path, within: Deadline, tmp_path: Path
) -> None:
    """SFTP has no word for it, so the error says how far it came and asks the question."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(SIZE))
    with pytest.raises(GuestRefused, match="disk"):
        over_ssh.put(source, str(full_disk / "target"), within)
    assert not (full_disk / "target").exists()


def test_a_full_disk_on_the_host_is_reported(
    over_ssh: WireTransport, full_disk: Path, within: Deadline, tmp_path: Path
) -> None:
    """It is the host's fault, not the guest's, and the useless part is removed."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(SIZE))
    with pytest.raises(InfrastructureError, match="No space left on device"):
        over_ssh.get(str(source), full_disk / "target", within)
    assert [] == list(full_disk.iterdir())


def test_a_server_that_says_nothing_is_given_up(sshd: SshServer, within: Deadline) -> None:
    """The banner never comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sshd.port, real = listener.getsockname()[1], sshd.port
        link = ssh_to(sshd)
        sshd.port = real
        with pytest.raises(GuestHang, match="last stage reached 'connecting'"):
            link.run("true", Deadline(0.3, "a command"))


def test_another_service_is_no_sshd(within: Deadline, sshd: SshServer) -> None:
    """A port that answers with something else gives an error within the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        sshd.port, real = listener.getsockname()[1], sshd.port
        link = ssh_to(sshd)
        sshd.port = real
        with pytest.raises(GuestHang, match=r"in [0-9] tries; the last one: .*banner"):
            link.run("true", Deadline(0.6, "a command"))
        listener.shutdown(socket.SHUT_RDWR)
