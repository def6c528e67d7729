# SPDX-License-Identifier: MIT
"""An exchange by SFTP that checks the host key. fsspec's own accepts any key."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from harness.transport.known_host import connect_known

SILENT_S = 60.0
"""Seconds without a byte from the server after which it is given up."""


def pinned_sftp(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address of SFTP, and the path on it. Raises what paramiko raises.

    The host's key must be in the user's or the system's known_hosts. Keys come from the user's agent and from ~/.ssh.
    """
    from fsspec.implementations.sftp import SFTPFileSystem

    class PinnedSFTP(SFTPFileSystem):  # type: ignore[misc]
        """fsspec's SFTP, with unknown host keys refused."""

        cachable = False

        def _connect(self) -> None:
            self.client = connect_known(self.host, **self.ssh_kwargs)
            self.ftp = self.client.open_sftp()
            # A server that says nothing any more would be waited for without end.
            self.ftp.get_channel().settimeout(SILENT_S)

        def exists(self, path: str, **_: Any) -> bool:
            """Return whether a file or folder is there. fsspec's own takes every exception for no, a signal's too
            (fsspec 2026: ``AbstractFileSystem.exists``), so a worker that was told to end would go on."""
            try:
                self.info(path)
            except FileNotFoundError:
                return False
            return True

    parts = urlsplit(url)
    options: dict[str, Any] = {"timeout": 30}
    if parts.port:
        options["port"] = parts.port
    if parts.username:
        options["username"] = parts.username
    return PinnedSFTP(parts.hostname or "", **options), parts.path or "/"
