# SPDX-License-Identifier: MIT
"""Hosts in network namespaces of their own: a hub with the scheduler, and a link to each host that can be cut.

Each namespace is held by a process of this one, without a name. So it ends with the last process in it, also when a test is
killed, and several networks have the same addresses beside each other.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from harness.fleet.certificates import make_certificates
from harness.fleet.tls import TlsFiles
from harness.setup.cache import cache_directory
from tests.fleet.conftest import Fleet
from tests.transport.servers import SshServer

T = TypeVar("T")

HUB = "hub"
NET = "10.213.7"
HUB_ADDRESS = f"{NET}.1"
NEW_NETWORK = 0x40000000
"""CLONE_NEWNET (Linux: include/uapi/linux/sched.h)."""


class NoNamespaces(Exception):
    """This machine makes no network namespaces; the text is the reason."""


class HostNetwork:
    """A bridge in the hub's namespace, and a namespace for each of ``names``. Raises NoNamespaces."""

    def __init__(self, names: Sequence[str]) -> None:
        for program, package in (("ip", "iproute2"), ("unshare", "util-linux"), ("nsenter", "util-linux")):
            if shutil.which(program) is None:
                raise NoNamespaces(f"needs {program}: apt-get install {package}")
        self.addresses = {name: f"{NET}.{number}" for number, name in enumerate(names, 11)}
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._thread = ThreadPoolExecutor(1, initializer=lambda: _enter(self._holders[HUB].pid))
        try:
            for name in (HUB, *names):
                self._holders[name] = _holder()
            self._ip(
                HUB,
                "link add lab type bridge",
                f"addr add {HUB_ADDRESS}/24 dev lab",
                "link set lab up",
                "link set lo up",
            )
            for name, address in self.addresses.items():
                peer = self._holders[name].pid
                self._ip(
                    HUB,
                    f"link add to-{name} type veth peer name eth0 netns {peer}",
                    f"link set to-{name} master lab up",
                )
                self._ip(name, f"addr add {address}/24 dev eth0", "link set eth0 up", "link set lo up")
        except BaseException:
            self.close()
            raise

    def before(self, name: str) -> list[str]:
        """Return the program that starts a command in the namespace of a host."""
        return ["nsenter", "--target", str(self._holders[name].pid), "--net", "--"]

    def link(self, name: str, *, up: bool) -> None:
        """Cut the link of a host, or join it again."""
        self._ip(HUB, f"link set to-{name} {'up' if up else 'down'}")

    def inside(self, call: Callable[[], T]) -> T:
        """Call something in a thread of this process whose connections, and those of threads that it starts, are the hub's."""
        return self._thread.submit(call).result()

    def close(self) -> None:
        """Give up the namespaces."""
        self._thread.shutdown()
        for holder in self._holders.values():
            holder.communicate()

    def _ip(self, name: str, *lines: str) -> None:
        done = subprocess.run(
            [*self.before(name), "ip", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, check=False
        )  # fmt: skip
        if done.returncode != 0:
            raise NoNamespaces(f"ip cannot make the network: {done.stderr.strip()}")


def _holder() -> subprocess.Popen[bytes]:
    """Start a process in a network namespace of its own. It ends with this one, which has the other end of its pipe."""
    holder = subprocess.Popen(
        ["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        holder.stdin.write(b"\n")
        holder.stdin.flush()
    # What answers is the program in the new namespace.
    if holder.stdout.read(1) != b"\n":
        raise NoNamespaces(holder.communicate()[1].decode(errors="replace").strip())
    return holder


def _enter(process: int) -> None:
    """Move this thread into the network namespace of a process (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/proc/{process}/ns/net").open("rb") as space:
        if libc.setns(space.fileno(), NEW_NETWORK) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class NetworkFleet(Fleet):
    """A fleet with TLS whose hosts are in namespaces of their own, each with leases of its own. Scheduler and nightly run are at the
    hub. Raises NoNamespaces."""

    def __init__(self, place: Path, names: Sequence[str] = "abc") -> None:
        super().__init__(place)
        self.network = HostNetwork(names)
        made = make_certificates([HUB_ADDRESS, *self.network.addresses.values()], place / "certificates")
        own, *others = [TlsFiles(one.ca, one.cert, one.key) for one in made]
        self._files = dict(zip(self.network.addresses, others, strict=True))
        self.tls = own
        self.url = f"tls://{HUB_ADDRESS}:8786"
        self.sftp: SshServer | None = None

    def before(self, name: str) -> list[str]:
        """Return the program that starts a process on its host."""
        return self.network.before(name if name in self._files else HUB)

    def options(self, name: str) -> list[str]:
        """Return the options of TLS, and a host's address."""
        tls = self._files.get(name, self.tls)
        assert tls is not None
        words = ["--ca", str(tls.ca), "--cert", str(tls.cert), "--key", str(tls.key)]
        return [*words, "--listen", self.network.addresses[name]] if name in self._files else words

    def own(self, name: str) -> dict[str, str]:
        """Return the variables of a process: each host has leases of its own."""
        return {"HOTPLUG_HARNESS_LEASES": str(self.place / f"leases-{name}")} if name in self._files else {}

    def inside(self, call: Callable[[], T]) -> T:
        """Call something at the hub."""
        return self.network.inside(call)

    def serve_sftp(self) -> SshServer:
        """Let run directories return by SFTP over the network. Call it before anything is started."""
        folder, home = self.place / "ssh", self.place / "home" / ".ssh"
        folder.mkdir()
        home.mkdir(parents=True)
        server = self.inside(lambda: SshServer(folder, HUB_ADDRESS))
        (home / "id_ed25519").write_bytes(server.key.read_bytes())
        (home / "known_hosts").write_text(f"[{HUB_ADDRESS}]:{server.port} {server.host_key}\n")
        self.environment |= {
            "HOME": str(home.parent), "SSH_AUTH_SOCK": "", "HOTPLUG_HARNESS_CACHE": str(cache_directory(os.environ)),
        }  # fmt: skip
        self.exchange = f"sftp://{HUB_ADDRESS}:{server.port}{self.place / 'results'}"
        self.sftp = server
        return server

    def close(self) -> None:
        """Kill what still runs, and give up the network."""
        super().close()
        if self.sftp is not None:
            self.sftp.stop()
        self.network.close()
