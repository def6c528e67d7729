# SPDX-License-Identifier: MIT
"""A password that no log line, no representation and no command line shows."""

from __future__ import annotations

import stat
from pathlib import Path

from harness.errors import UsageError, system_errors

LONGEST = 4096
"""The most bytes of a password file that are read."""


class Secret:
    """A password. Only :meth:`reveal` returns it."""

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def from_file(cls, path: Path) -> Secret:
        """Read the first line of ``path``. Raises UsageError if others may read the file, or it cannot be read."""
        with (
            system_errors(
                f"cannot read the password file {path}",
                hint="The password of a template is stored when the template is built.",
                kind=UsageError,
            ),
            path.open("rb") as file,
        ):
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(LONGEST + 1)
        if mode & 0o077:
            raise UsageError(
                f"the password file {path} has mode {mode:04o}: others may read it",
                hint=f"chmod 600 {path}",
            )
        first = content.split(b"\n", 1)[0].rstrip(b"\r")
        try:
            value = first.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"the password file {path} is not UTF-8 (byte {error.start})") from error
        if not value or len(content) > LONGEST:
            raise UsageError(f"the password file {path} has no password of at most {LONGEST} bytes in it")
        return cls(value)

    def reveal(self) -> str:
        """Return the password itself, for the library that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")
