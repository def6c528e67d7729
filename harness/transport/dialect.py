# SPDX-License-Identifier: MIT
"""The dialect protocol: the commands of a guest's shell that check files and run jobs.

Each method from ``size`` on returns a script. Its output is ASCII and one line, except for ``listing``.
:class:`harness.transport.link.WireTransport` reads it.
"""

from __future__ import annotations

from typing import Protocol

IN_USE = 75
"""Exit code of a script when another process blocks a file: EX_TEMPFAIL of sysexits.h, to be tried again."""


class Dialect(Protocol):
    """A guest's shell. ``home`` is the guest's directory for long scripts and jobs, ``suffix`` that of a script's name.

    ``longest_line`` is the most characters of a command line, ``forbidden`` those that it may not hold.
    """

    home: str
    suffix: str
    longest_line: int
    forbidden: str

    def invoke(self, script: str) -> str:
        """Return the command line that runs a script given in the line itself."""

    def content(self, script: str) -> bytes:
        """Return the content of a script's file."""

    def invoke_file(self, path: str) -> str:
        """Return the command line that runs a script file."""

    def arguments(self, line: str) -> list[str]:
        """Return the program and arguments that run a command line, for wires without a shell."""

    def join(self, directory: str, name: str) -> str:
        """Return the path of ``name`` in ``directory``."""

    def size(self, path: str) -> str:
        """Print the size of a file in bytes, or ``absent``."""

    def digest(self, path: str) -> str:
        """Print the size of a file in bytes and its SHA-256, or ``absent``."""

    def settle(self, part: str, target: str, sha256: str) -> str:
        """Rename ``part`` to ``target`` and print ``settled`` if its SHA-256 matches, else print ``differs SHA256``.

        Print ``settled`` too if that was done before, and ``absent`` if there is no such file.
        """

    def remove(self, path: str) -> str:
        """Remove a file or a directory with its content. A missing one is not an error."""

    def listing(self, directory: str) -> str:
        """Print, for each plain file of a directory, its size and the Base64 of its name in UTF-8."""

    def prepare(self, directory: str) -> str:
        """Make a directory and its parents."""

    def runner(self, directory: str) -> str:
        """Return the script that runs ``script`` in a job's directory, at most once, and stores its result there.

        The result is in ``stdout``, ``stderr`` and, written last, ``exit``.
        """

    def launch(self, directory: str) -> str:
        """Start the runner of a job so that it outlives the connection."""

    def state(self, directory: str) -> str:
        """Print the state of a job: ``absent``, ``waiting``, ``running`` or ``done`` and its exit code."""
