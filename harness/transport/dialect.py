# SPDX-License-Identifier: MIT
"""The dialect protocol: the commands of a guest's shell that check files and run jobs.

The script of an operation prints ASCII and one line, except for ``listing``.
:class:`harness.transport.link.WireTransport` reads it.
"""

from __future__ import annotations

from typing import Literal, Protocol

IN_USE = 75
"""Exit code of a script when another process blocks a file: EX_TEMPFAIL of sysexits.h, to be tried again."""

ShellOperation = Literal[
    "size", "digest", "settle", "remove", "listing", "prepare", "runner", "launch", "state", "read", "write"
]
"""The operations, with their values:

- ``size`` of ``path`` prints the size of a file in bytes, or ``absent``.
- ``digest`` of ``path`` prints the size of a file in bytes and its SHA-256, or ``absent``.
- ``settle`` renames ``part`` to ``target`` and prints ``settled`` if its SHA-256 is ``sha256``, else ``differs SHA256``.
  It prints ``settled`` too if that was done before, and ``absent`` if there is no such file.
- ``remove`` removes the file or the directory ``path`` with its content. A missing one is not an error.
- ``listing`` prints, for each plain file of ``directory``, its size and the Base64 of its name in UTF-8.
- ``prepare`` makes ``directory`` and its parents.
- ``runner`` runs ``script`` in a job's ``directory``, at most once, and stores its result there: in ``stdout``, ``stderr``
  and, written last, ``exit``.
- ``launch`` starts the runner of a job in ``directory`` so that it outlives the connection.
- ``state`` prints the state of a job in ``directory``: ``absent``, ``waiting``, ``running`` or ``done`` and its exit code.
- ``read`` and ``write`` are WinRM's: part of a file as lines of Base64, on stdout or from stdin.
"""


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

    def operation(self, name: ShellOperation, /, **values: str) -> str:
        """Return the script of an operation."""
