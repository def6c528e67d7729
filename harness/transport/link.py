# SPDX-License-Identifier: MIT
"""The transport: commands and files in a guest, over any wire, with retries, long scripts, jobs and decoded output."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, UsageError
from harness.transport import copying
from harness.transport.dialect import IN_USE
from harness.transport.results import (
    FILE_LIMIT,
    FILES_LIMIT,
    OUTPUT_LIMIT,
    CommandResult,
    Copied,
    GatheredFile,
)
from harness.transport.retry import FileInUse, persist
from harness.transport.wire import RawResult, Wire

ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of output kept from the harness's own scripts, which print a line, or one for each file of a directory."""

FIRST_INTERVAL, LONGEST_INTERVAL = 0.02, 0.25
"""Seconds between two queries of a job."""

_JOB = re.compile(r"[0-9a-z][0-9a-z-]{0,63}")
_WORDS = 400


class WireTransport:
    """Commands, scripts, files and jobs in a guest, over ``wire``: a ``WinrmWire``, ``SshWire`` or ``QgaWire``.

    Every method raises GuestHang when the deadline passes, naming the last stage reached; GuestRefused with the
    guest's message; GuestUnreachable when the connection broke and it is not known whether the command ran; and
    InfrastructureError when certificate or host key are not the pinned ones, or the host's disk is full.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.name = wire.name

    def __repr__(self) -> str:
        return f"<transport {self.name}>"

    def run(
        self, command: str, deadline: Deadline, *, idempotent: bool = False, limit: int = OUTPUT_LIMIT
    ) -> CommandResult:
        """Run one command line of the guest's shell (cmd.exe on Windows) and wait for its end.

        An exit code other than 0 is a result, not an error. A command that is ``idempotent`` is repeated, with growing
        pauses, until the deadline. Any other command is repeated only if it cannot have reached the guest. Raises
        UsageError for a line that is too long or not a single line.
        """
        dialect = self.wire.dialect
        longest, forbidden = dialect.longest_line, dialect.forbidden
        if len(command) > longest or not command.strip() or any(each in command for each in forbidden):
            raise UsageError(
                f"{self.name}: a command of {len(command)} characters is not a command line",
                hint=f"It has 1 to {longest} characters, none of them of {forbidden!r}; a script may have more.",
            )
        return self._execute(command, deadline, idempotent=idempotent, limit=limit)

    def script(
        self, text: str, deadline: Deadline, *, idempotent: bool = False, limit: int = OUTPUT_LIMIT
    ) -> CommandResult:
        """Run a script (PowerShell on Windows), like :meth:`run`. It may be longer than a command line."""
        dialect = self.wire.dialect
        line = dialect.invoke(text)
        if len(line) > dialect.longest_line:
            content = dialect.content(text)
            directory = dialect.join(dialect.home, "scripts")
            path = dialect.join(directory, f"{hashlib.sha256(content).hexdigest()[:32]}{dialect.suffix}")
            self.ask(dialect.operation("prepare", directory=directory), deadline)
            copying.put_bytes(self, content, path, deadline)
            line = dialect.invoke_file(path)
        return self._execute(line, deadline, idempotent=idempotent, limit=limit)

    def put(self, source: Path, target: str, deadline: Deadline, *, limit: int = FILE_LIMIT) -> Copied:
        """Copy a file into the guest. It appears under ``target`` only when complete, with its SHA-256 checked in the guest.

        An interrupted copy continues where it stopped, in this call or in the next one for the same content. Raises
        UsageError if the host cannot read ``source`` or it is larger than ``limit``.
        """
        return copying.put(self, source, target, deadline, limit)

    def get(self, source: str, target: Path, deadline: Deadline, *, limit: int = FILE_LIMIT) -> Copied:
        """Copy a file out of the guest. It appears at ``target`` only when complete, with its SHA-256 checked on the host.

        Raises GuestRefused if there is no such file or it is larger than ``limit``.
        """
        return copying.get(self, source, target, deadline, limit)

    def gather(
        self,
        directory: str,
        into: Path,
        deadline: Deadline,
        *,
        files: int = FILES_LIMIT,
        limit: int = FILE_LIMIT,
    ) -> list[GatheredFile]:
        """Copy the plain files of a guest's directory, ``limit`` bytes in all, into the host's directory ``into``.

        Their names there are ``0000``, ``0001``, …: a name that the guest chose never becomes a path. A name with a
        separator or a control character is refused, like a file past a limit. The list says so.
        """
        return copying.gather(self, directory, into, deadline, files, limit)

    def start(self, text: str, deadline: Deadline, *, job: str = "") -> str:
        """Start a script that may outlive the connection, e.g. across a hot-add, and return the job's id.

        A second call with the same ``job`` does not run the script again. Every step may be repeated, because the
        runner claims the job before it runs the script.
        """
        job = job or secrets.token_hex(8)
        dialect = self.wire.dialect
        directory = self._directory(job)
        self.ask(dialect.operation("prepare", directory=directory), deadline)
        for name, content in (("script", text), ("runner", dialect.operation("runner", directory=directory))):
            path = dialect.join(directory, name + dialect.suffix)
            copying.put_bytes(self, dialect.content(content), path, deadline)
        self.ask(dialect.operation("launch", directory=directory), deadline)
        return job

    def collect(self, job: str, deadline: Deadline, *, limit: int = OUTPUT_LIMIT) -> CommandResult:
        """Wait for a job's end and return its result. Raises GuestRefused if the guest has no such job."""
        dialect = self.wire.dialect
        directory = self._directory(job)
        seen = ["nothing"]

        def ended() -> str | None:
            state = self.ask(dialect.operation("state", directory=directory), deadline)
            seen[0] = state
            if state == "absent":
                raise GuestRefused(
                    f"{self.name}: the guest knows no job {job!r}", hint="Was it started, or forgotten?"
                )
            return state if state.startswith("done") else None

        try:
            state = deadline.poll(ended, interval=FIRST_INTERVAL, longest=LONGEST_INTERVAL)
        except GuestHang as error:
            raise GuestHang(
                f"{self.name}: job {job} did not end within {deadline.seconds:g} s: last state seen {seen[0]!r}",
                hint=error.message,
            ) from error
        answer = RawResult(limit)
        for output in (answer.stdout, answer.stderr):
            copying.read_output(self, dialect.join(directory, output.name), output, deadline)
        answer.exit_code = _integer(self.name, state.removeprefix("done"))
        return _outcome(answer, 1)

    def forget(self, job: str, deadline: Deadline) -> None:
        """Remove a job's files from the guest."""
        self.ask(self.wire.dialect.operation("remove", path=self._directory(job)), deadline)

    def close(self) -> None:
        """Close the connection, if there is one. The next call opens a new one."""
        self.wire.close()

    def ask(self, script: str, deadline: Deadline) -> str:
        """Run one of the harness's own scripts, which may all run twice, and return its output without line ends.

        If another process uses a file, the script waits for it: that process may not have noticed yet that a connection was cut.
        Raises GuestRefused with the guest's message if the script fails, or if it prints more than it should.
        """
        line = self.wire.dialect.invoke(script)
        return persist(lambda _: self._asked(line, deadline), deadline, name=self.name, idempotent=True)

    def _asked(self, line: str, deadline: Deadline) -> str:
        outcome = self._execute(line, deadline, idempotent=True, limit=ANSWER_LIMIT)
        if outcome.exit_code != 0:
            words = (outcome.stderr.strip() or outcome.stdout.strip() or "no output")[:_WORDS]
            refused = FileInUse if outcome.exit_code == IN_USE else GuestRefused
            raise refused(f"{self.name}: {deadline.what}: exit code {outcome.exit_code}: {words}")
        if not outcome.complete:
            raise GuestRefused(f"{self.name}: {deadline.what}: half an answer: {'; '.join(outcome.remarks)}")
        return outcome.stdout.strip()

    def _execute(self, line: str, deadline: Deadline, *, idempotent: bool, limit: int) -> CommandResult:
        return persist(
            lambda attempt: _outcome(self.wire.execute(line, deadline, limit=limit), attempt),
            deadline,
            name=self.name,
            idempotent=idempotent,
        )

    def _directory(self, job: str) -> str:
        if not _JOB.fullmatch(job):
            raise UsageError(
                f"{job[:80]!r} cannot be the id of a job",
                hint="It has 1 to 64 lower-case letters, digits and hyphens, and does not begin with a hyphen.",
            )
        dialect = self.wire.dialect
        return dialect.join(dialect.join(dialect.home, "jobs"), job)


def _outcome(answer: RawResult, attempts: int) -> CommandResult:
    stdout, said = answer.stdout.text()
    stderr, also = answer.stderr.text()
    return CommandResult(
        exit_code=answer.exit_code,
        stdout=stdout,
        stderr=stderr,
        remarks=(*answer.remarks, *said, *also),
        complete=not (answer.stdout.cut or answer.stderr.cut or answer.remarks),
        attempts=attempts,
    )


def _integer(name: str, text: str) -> int:
    try:
        return int(text.strip()[:20])
    except ValueError as error:
        raise GuestRefused(f"{name}: {text.strip()[:40]!r} is not an exit code") from error
