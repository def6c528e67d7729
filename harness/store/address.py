# SPDX-License-Identifier: MIT
"""The address of the result store: a file of SQLite, or a database of PostgreSQL without its password.

The address comes from :data:`VARIABLE`, else from ``[store] url`` of a ``lab.toml``. The default is the file
:data:`FILE` beside the nightly runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec

from harness.errors import UsageError

VARIABLE = "HOTPLUG_HARNESS_STORE"
"""Environment variable with the address of the store."""

FILE = "results.sqlite"
"""The name of the store's file beside the nightly runs."""

EXAMPLES = "sqlite:///nightly/results.sqlite, postgresql:///lab?host=/run/postgresql, postgresql://lab@db.example.org/lab"

LOGIN_HINT = (
    "Put it into ~/.pgpass, mode 0600, as HOST:PORT:DATABASE:USER:PASSWORD,\n"
    "or name a service of pg_service.conf: postgresql:///?service=NAME"
)


class StoreAddress(msgspec.Struct, frozen=True):
    """``url`` is the URL that SQLAlchemy opens. ``file`` is SQLite's file, None for a server."""

    url: str
    file: Path | None = None

    def __str__(self) -> str:
        return str(self.file) if self.file is not None else self.url.replace("+psycopg", "", 1)


def store_address(into: Path, said: str = "", *, base: Path | None = None) -> StoreAddress:
    """Return the address of the store for nightly runs in ``into``.

    ``said`` is the ``[store] url`` of a ``lab.toml``, whose relative paths begin at ``base``. Raises UsageError.
    """
    if given := os.environ.get(VARIABLE, ""):
        return read_address(given, what=VARIABLE)
    if said:
        return read_address(said, what="[store] url", base=base)
    return _file(into / FILE)


def read_address(text: str, *, what: str, base: Path | None = None) -> StoreAddress:
    """Parse an address. ``what`` names its place in messages. Raises UsageError, whose message never contains a
    password."""
    try:
        parts = urlsplit(text)
        words = {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}
        secret = parts.password is not None or words & {"password", "sslpassword"}
        port = parts.port
    except ValueError as error:
        # The text itself may contain a password.
        raise UsageError(f"{what}: not an address of a store", hint=f"For example {EXAMPLES}") from error
    if secret:
        raise UsageError(f"{what}: an address of a store must not have a password in it", hint=LOGIN_HINT)
    scheme, _, driver = parts.scheme.partition("+")
    if scheme == "sqlite" and driver in ("", "pysqlite") and not parts.netloc and len(parts.path) > 1:
        if parts.query:
            raise UsageError(f"{what}: an address of SQLite takes no '?{parts.query}'")
        return _file((base or Path()) / text.partition(":///")[2])
    if (
        scheme in ("postgresql", "postgres")
        and driver in ("", "psycopg")
        and text.partition(":")[2][:2] == "//"
    ):
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        user = f"{parts.username}@" if parts.username else ""
        place = f"{user}{host}{f':{port}' if port else ''}"
        query = f"?{parts.query}" if parts.query else ""
        return StoreAddress(f"postgresql+psycopg://{place}{parts.path or '/'}{query}")
    raise UsageError(
        f"{what}: not an address of SQLite or PostgreSQL: {parts.scheme or text[:40]!r}",
        hint=f"For example {EXAMPLES}",
    )


def _file(path: Path) -> StoreAddress:
    return StoreAddress(f"sqlite:///{path}", path)
