# SPDX-License-Identifier: MIT
"""OpenSSH's sshd and the QEMU guest agent as plain processes, without a guest around them."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from harness.deadline import Deadline
from harness.setup.parts import part

SSHD, AGENT = part("remote").needs
HARMFUL = "guest-shutdown,guest-suspend-disk,guest-suspend-ram,guest-suspend-hybrid,guest-fsfreeze-freeze,guest-fstrim"


def make_key(path: Path) -> str:
    """Make a key pair, the private key in ``path``, and return the public key's line."""
    key = ed25519.Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode("ascii")
    )


class SshServer:
    """A listener at ``address`` that starts one ``sshd -i`` for each connection, so that the kernel picks the port.

    ``cut_after`` cuts the next connection after so many bytes from the client, ``cut_answers_after`` after so many
    from the server; 0 leaves it alone.
    """

    def __init__(self, directory: Path, address: str = "127.0.0.1") -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.key = directory / "client"
        (directory / "authorized").write_text(make_key(self.key) + "\n")
        (directory / "authorized").chmod(0o600)
        self.host_key = make_key(directory / "host")
        self.directory = directory
        self.configuration = directory / "sshd_config"
        self.configure("host")
        self.cut_after = 0
        self.cut_answers_after = 0
        self.connections = 0
        self._started: list[subprocess.Popen[bytes]] = []
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def configure(self, host_key: str) -> None:
        """Write the configuration; it holds for connections made afterwards."""
        self.configuration.write_text(
            f"HostKey {self.directory / host_key}\nAuthorizedKeysFile {self.directory / 'authorized'}\n"
            "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n"
            # What stands in the user's own start-up files is none of this test's business, and takes time.
            f"SetEnv HOME={self.directory}\n"
        )

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ours, theirs = socket.socketpair()
            with theirs, (self.directory / "sshd.log").open("ab") as log:
                command = [SSHD.found(), "-i", "-e", "-f", str(self.configuration)]
                self._started.append(subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=log))
            there, self.cut_after = self.cut_after, 0
            back, self.cut_answers_after = self.cut_answers_after, 0
            threading.Thread(target=_pump, args=(client, ours, there), daemon=True).start()
            threading.Thread(target=_pump, args=(ours, client, back), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and end what was started."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for process in self._started:
            process.terminate()
            process.wait()


def _pump(source: socket.socket, sink: socket.socket, budget: int) -> None:
    passed = 0
    try:
        while data := source.recv(1 << 16):
            passed += len(data)
            if budget and passed > budget:
                break
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Agent:
    """``qemu-ga`` on a listening Unix socket, without the commands that would do something to this machine."""

    def __init__(self, directory: Path, popen: dict[str, object]) -> None:
        self.path = directory / "qga"
        command = [
            AGENT.found(),
            "-m",
            "unix-listen",
            "-p",
            str(self.path),
            "-t",
            str(directory),
            "-b",
            HARMFUL,
        ]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **popen,  # type: ignore[call-overload]
        )
        Deadline(60, "qemu-ga to listen").poll(self.path.exists)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
