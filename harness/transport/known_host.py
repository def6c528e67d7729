# SPDX-License-Identifier: MIT
"""An SSH connection to a host whose key the user or the system knows already: another key is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

KNOWN_HOSTS = (Path(".ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))
"""The user's file, below the home directory, and the system's (ssh(1), FILES)."""


def connect_known(host: str, **options: Any) -> Any:
    """Return paramiko's client, connected. Keys come from the user's agent and ~/.ssh. Raises what paramiko raises."""
    import paramiko

    client = paramiko.SSHClient()
    for file in KNOWN_HOSTS:
        path = Path.home() / file
        if path.is_file():
            client.load_host_keys(str(path))
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.connect(host, **options)
    except BaseException:
        client.close()
        raise
    return client
