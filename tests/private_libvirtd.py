# SPDX-License-Identifier: MIT
"""A libvirtd of the tests' own: its state, its sockets and its configuration in a directory that goes with it.

Whoever is not root gets what ``qemu:///session`` gives. Root gets a system libvirtd, which has its places compiled in: it
runs in a mount namespace in which those places are the directory's. Files and processes are everybody's, so that QEMU
finds the tests' files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.setup.parts import part
from tests.part_markers import needs

SYSTEM = """
set -e
cd "$1"
mkdir -p run/libvirt lib/libvirt etc log/libvirt cache/libvirt
cp /etc/passwd /etc/group .
# The user that libvirt is built to run QEMU as; it need not exist where the daemon alone is installed.
grep -q ^libvirt-qemu: passwd || echo 'libvirt-qemu:x:64055:64055::/:/bin/false' >>passwd
grep -q ^libvirt-qemu: group || echo 'libvirt-qemu:x:64055:' >>group
grep -q ^kvm: group || echo 'kvm:x:64056:' >>group
chmod 755 . *
# A mount point that only a package of libvirt's own system daemon brings; nothing is written below it.
mkdir -p /etc/libvirt
for place in run=/run lib=/var/lib log=/var/log cache=/var/cache etc=/etc/libvirt passwd=/etc/passwd group=/etc/group; do
    mount --bind "${place%%=*}" "${place#*=}"
done
# libvirt asks QEMU for all it can do again and again if QEMU's user may not open what root may.
if test -e /dev/kvm; then
    cp -a /dev/kvm kvm
    chmod 666 kvm
    mount --bind kvm /dev/kvm
fi
shift
exec "$@"
"""


class PrivateLibvirtd:
    """A running libvirtd; ``uri`` leads to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.system = os.geteuid() == 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        if self.system:
            self.run = directory / "run" / "libvirt"
            self.uri = f"qemu+unix:///system?socket={self.run / 'libvirt-sock'}"
        else:
            self.run = directory / "runtime" / "libvirt"
            self.uri = f"qemu+unix:///session?socket={self.run / 'libvirt-sock'}"
        self._environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": str(directory),
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(directory / "runtime"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "XDG_CACHE_HOME": str(directory / "cache"),
        }

    def _spawn(self, name: str, program: str, socket: str) -> None:
        command = [program]
        if self.system:
            # The namespace of the first is that of all: a libvirtd that is started again finds what it left.
            first = next((each for each in self._processes.values() if each.poll() is None), None)
            if first is None:
                command = ["unshare", "--mount", "sh", "-c", SYSTEM, "sh", str(self.directory), program]
            else:
                command = ["nsenter", f"--mount=/proc/{first.pid}/ns/mnt", program]
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        Deadline(60, f"{name}'s socket").poll(
            lambda: (self.run / socket).exists() or self._processes[name].poll() is not None
        )
        assert self._processes[name].poll() is None, (self.directory / f"{name}.log").read_text()

    def start(self) -> None:
        """Start virtlogd, as hosts that run libvirt have it, and libvirtd."""
        virtlogd = shutil.which("virtlogd", path=self._environment["PATH"])
        if virtlogd is None:
            # libvirt takes it for granted unless it is told to do without.
            place = self.directory / ("etc" if self.system else "config/libvirt")
            place.mkdir(parents=True, exist_ok=True)
            (place / "qemu.conf").write_text('stdio_handler = "file"\n')
        elif "virtlogd" not in self._processes:
            self._spawn("virtlogd", virtlogd, "virtlogd-sock")
        self._spawn("libvirtd", part("libvirt").needs[0].found(), "libvirt-sock")

    def kill(self) -> None:
        """Kill libvirtd as it stands; guests go on."""
        self._processes["libvirtd"].kill()
        self._processes["libvirtd"].wait()
        (self.run / "libvirt-sock").unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        """Process number of libvirtd."""
        return self._processes["libvirtd"].pid

    def domains(self) -> list[str]:
        """Return the UUIDs of the domains that libvirtd knows."""
        with self._connected() as connection:
            return [domain.UUIDString() for domain in connection.listAllDomains()]

    def networks(self) -> list[str]:
        """Return the names of the networks that libvirtd knows."""
        with self._connected() as connection:
            return [network.name() for network in connection.listAllNetworks()]

    def destroy(self, uuid: str) -> None:
        """Destroy a domain, as any other user of libvirt may."""
        with self._connected() as connection:
            connection.lookupByUUIDString(uuid).destroy()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        import libvirt

        connection = libvirt.open(self.uri)
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """End the daemons, libvirtd first; guests that a failed test left are ended with them."""
        for name in ("libvirtd", "virtlogd"):
            process = self._processes.get(name)
            if process is not None and process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


@contextlib.contextmanager
def running_libvirtd(within: str | None = None) -> Iterator[PrivateLibvirtd]:
    """A libvirtd that runs until the end of the block; its directory, which goes too, is made in ``within``."""
    directory = Path(tempfile.mkdtemp(prefix="hh-", dir=within))
    (directory / "runtime").mkdir(mode=0o700)
    daemon = PrivateLibvirtd(directory)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
@needs("libvirt")
def private_libvirtd() -> Iterator[PrivateLibvirtd]:
    """One libvirtd for all tests of a session: it takes seconds to ask QEMU for all that it can do."""
    with running_libvirtd() as daemon:
        yield daemon
