# SPDX-License-Identifier: MIT
"""WinRM over HTTPS, by pywinrm: NTLM inside TLS, with the certificate pinned.

The certificate is compared before the first byte of HTTP is sent, so an unknown server learns nothing. Basic
authentication, which would show the password to the guest, is never offered. Each command has its own connection
and shell: one that stays open across a hot-add may be cut when network and processors are rebalanced.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.etree import ElementTree

from harness.deadline import Deadline
from harness.errors import (
    GuestHang,
    GuestRefused,
    GuestUnreachable,
    HarnessError,
    InfrastructureError,
    MissingPart,
)
from harness.transport.algorithms import check_ntlm
from harness.transport.bound import bounded, too_late
from harness.transport.dialect import IN_USE
from harness.transport.pin import CertificatePin
from harness.transport.pinned_https import LARGEST_RESPONSE, Sockets, pinned_adapter
from harness.transport.powershell import Windows
from harness.transport.retry import FileInUse, Pauses
from harness.transport.secret import Secret
from harness.transport.wire import ByteSink, RawResult

if TYPE_CHECKING:
    from winrm.protocol import Protocol


PORT = 5986
UTF_8 = 65001
"""The code page requested for a shell."""

OPERATION_TIMEOUT = 20
"""Seconds after which the guest answers "nothing yet"; pywinrm's own default, repeated until the deadline."""

IDLE = "PT300S"
"""How long the guest keeps an unused shell. One whose connection broke would otherwise stay for two hours,
and a user may have only 30 shells (MaxShellsPerUser)."""

CHUNK = 48 * 1024
"""Bytes of a file in one envelope, where they are Base64 twice."""

FAREWELL = 2.0
"""Seconds past the deadline in which the command must be ended in the guest."""

MOST_UNENDED = 16
"""Shells that could not be ended, and that the next command ends first. Older ones end by their idle timeout."""

SHELL_NOT_FOUND = 2150858843
"""0x8033805B, ERROR_WSMAN_UNEXPECTED_SELECTORS: the guest does not know the shell, or the command in it.
A restarted service has forgotten both."""

ABORTED = 995
"""ERROR_OPERATION_ABORTED: the answer of a stopping service to open requests."""

FULL = {
    2150858815: "QUOTA_LIMIT",
    2150859173: "QUOTA_MAX_SHELLS",
    2150859174: "QUOTA_MAX_OPERATIONS",
    2150859175: "QUOTA_USER",
    2150859176: "QUOTA_SYSTEM",
    2150859179: "QUOTA_MAX_SHELLUSERS",
    2150859236: "QUOTA_MAX_SHELLS_PPQ",
    2150859237: "QUOTA_MAX_USERS_PPQ",
    2150859238: "QUOTA_MAX_PLUGINSHELLS_PPQ",
    2150859239: "QUOTA_MAX_PLUGINOPERATIONS_PPQ",
    2150859240: "QUOTA_MAX_OPERATIONS_USER_PPQ",
    2150859241: "QUOTA_MAX_COMMANDS_PER_SHELL_PPQ",
}
"""Faults that refuse a request because others are open, and ask to try again later (MS-WSMV 3.1.4.5.2.1; numbers
and names, which begin with ERROR_WSMAN_: wsmerror.h). A refused request has not run."""

SOON = 1.0
"""Seconds. If an operation timeout arrives earlier, the guest did not wait, so the harness does."""

BUSY = (502, 503, 504)
_WORDS = 400


class WinrmWire:
    """The wire to the guest at ``address``. Nothing is sent yet.

    Raises MissingPart without pywinrm, UsageError where the environment allows an NTLM before version 2.
    """

    def __init__(
        self,
        address: str,
        *,
        user: str,
        password: Secret,
        certificate: CertificatePin,
        port: int = PORT,
        operation_timeout: int = OPERATION_TIMEOUT,
        dialect: Windows | None = None,
    ) -> None:
        try:
            import winrm.protocol  # noqa: F401
        except ImportError as error:
            raise MissingPart(f"pywinrm is not installed: {error}", hint="pip install pywinrm") from error
        check_ntlm()
        self.name = f"WinRM to {address}:{port}"
        self.dialect = dialect or Windows()
        self._endpoint = f"https://{f'[{address}]' if ':' in address else address}:{port}/wsman"
        self._user = user
        self._password = password
        self._certificate = certificate
        self._operation_timeout = operation_timeout
        self._unended: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def write(self, target: str, offset: int, source: BinaryIO, deadline: Deadline) -> None:
        """See Wire. One PowerShell reads the file's bytes from its stdin."""
        script = self.dialect.operation("write", path=target, offset=str(offset))
        answer = self.execute(self.dialect.invoke(script), deadline, limit=_WORDS, source=source)
        self._succeeded(answer, f"cannot write {target}")

    def read(self, source: str, offset: int, length: int, sink: ByteSink, deadline: Deadline) -> None:
        """See Wire. One PowerShell prints the file's bytes. Complete lines are kept if the connection breaks."""
        lines = _Lines(sink, length, self.name)
        script = self.dialect.operation("read", path=source, offset=str(offset), length=str(length))
        answer = self.execute(self.dialect.invoke(script), deadline, limit=_WORDS, stdout=lines.add)
        self._succeeded(answer, f"cannot read {source}")

    def close(self) -> None:
        """See Wire. No connection stays open between commands."""

    def _succeeded(self, answer: RawResult, what: str) -> None:
        if answer.exit_code != 0:
            words = answer.stderr.text()[0].strip()[:_WORDS]
            refused = FileInUse if answer.exit_code == IN_USE else GuestRefused
            raise refused(f"{self.name}: {what}: exit code {answer.exit_code}: {words}")

    def execute(
        self,
        line: str,
        deadline: Deadline,
        *,
        limit: int,
        source: BinaryIO | None = None,
        stdout: Callable[[bytes], None] | None = None,
    ) -> RawResult:
        """See Wire. ``source`` is the command's standard input; ``stdout`` takes its output instead of the result."""
        self._end_others(deadline)
        talk = _Conversation(self._protocol, self.name)
        answer = RawResult(limit)

        def work() -> RawResult:
            with talk.translated():
                talk.command(line, console=source is None)
                if source is not None:
                    talk.feed(source, deadline)
                talk.receive(answer, stdout, deadline)
            # The command has ended: its result is valid even if its shell can no longer be closed.
            with contextlib.suppress(HarnessError), talk.translated():
                talk.end()
            return answer

        try:
            return bounded(
                work, deadline, abort=talk.abort, late=lambda: too_late(self.name, deadline, talk.stage)
            )
        except (GuestHang, GuestRefused, GuestUnreachable):
            if talk.shell and not self._farewell(talk.shell, talk.command_id, FAREWELL):
                self._unended[talk.shell] = talk.command_id
                while len(self._unended) > MOST_UNENDED:
                    del self._unended[next(iter(self._unended))]
            raise
        finally:
            talk.abort()

    def _end_others(self, deadline: Deadline) -> None:
        """End commands that a broken connection left in the guest: they may keep a file open."""
        for shell, command_id in list(self._unended.items()):
            if not self._farewell(shell, command_id, min(FAREWELL, deadline.remaining())):
                return
            self._unended.pop(shell, None)

    def _farewell(self, shell: str, command_id: str, seconds: float) -> bool:
        """End an abandoned command over a new connection. Return False if the guest did not answer in time."""
        last = _Conversation(self._protocol, self.name)
        last.shell, last.command_id = shell, command_id

        def work() -> None:
            with last.translated():
                last.end()

        try:
            bounded(
                work,
                Deadline(seconds, "ending the command in the guest"),
                abort=last.abort,
                late=lambda: GuestHang("the guest did not end the command"),
            )
        except (GuestHang, GuestUnreachable):
            # It is an answer too that the guest does not know the shell.
            return last.answers
        except HarnessError:
            return True
        finally:
            last.abort()
        return True

    def _protocol(self, sockets: Sockets) -> Protocol:
        from winrm.protocol import Protocol

        protocol = Protocol(
            self._endpoint,
            transport="ntlm",
            username=self._user,
            password=self._password.reveal(),
            # pywinrm's own validation checks the issuer and the name. The harness's, mounted below, checks the bytes.
            server_cert_validation="ignore",
            operation_timeout_sec=self._operation_timeout,
            read_timeout_sec=self._operation_timeout + 10,
            proxy=None,
            # NTLM's answer is valid on this connection only, for the holder of the pinned certificate.
            send_cbt=True,
        )
        build = protocol.transport.build_session
        certificate = self._certificate

        def build_pinned() -> Any:
            # pywinrm drops its session when a shell is closed, and makes another on demand.
            fresh = protocol.transport.session is None
            session = build()
            if fresh:
                session.trust_env = False
                session.max_redirects = 0
                session.adapters.clear()
                session.mount("https://", pinned_adapter(self.name, certificate, sockets))
            return session

        protocol.transport.build_session = build_pinned  # type: ignore[method-assign]
        return protocol


class _Conversation:
    """One shell with one command in it. ``stage`` is the last stage that it reached.

    ``answers``: the guest itself refused the last request, hence there is a connection to it.
    """

    def __init__(self, protocol: Callable[[Sockets], Protocol], name: str) -> None:
        self.stage = "nothing sent"
        self.shell = ""
        self.command_id = ""
        self.answers = False
        self._name = name
        self._sent = False
        self._sockets = Sockets()
        self._make = protocol
        self._made: Protocol | None = None

    @property
    def _protocol(self) -> Protocol:
        if self._made is None:
            self._made = self._make(self._sockets)
        return self._made

    def abort(self) -> None:
        self._sockets.cut()

    def command(self, line: str, *, console: bool) -> None:
        self.stage = "connecting"
        self.shell = self._protocol.open_shell(codepage=UTF_8, idle_timeout=IDLE)
        self.stage = "shell open"
        self._sent = True
        self.command_id = self._protocol.run_command(self.shell, line, console_mode_stdin=console)
        self.stage = "command running, no output yet"

    def feed(self, source: BinaryIO, deadline: Deadline) -> None:
        from winrm.exceptions import WSManFaultError

        sent = 0
        pauses = Pauses(deadline)

        def send(data: bytes, *, end: bool = False) -> None:
            while True:
                try:
                    self._protocol.send_command_input(self.shell, self.command_id, data, end=end)
                except WSManFaultError as error:
                    if error.wsman_fault_code not in FULL:
                        raise
                    pauses.wait()
                else:
                    pauses.reset()
                    return

        try:
            while chunk := source.read(CHUNK):
                send(base64.b64encode(chunk) + b"\r\n")
                sent += len(chunk)
                self.stage = f"command running, {sent} bytes sent"
            send(b"\r\n", end=True)
        except WSManFaultError as error:
            if error.wsman_fault_code == SHELL_NOT_FOUND:
                raise
            # The command ended before it read all input: its exit code and stderr say more than this fault.
            self.stage = f"command refused its input after {sent} bytes"

    def receive(self, answer: RawResult, stdout: Callable[[bytes], None] | None, deadline: Deadline) -> None:
        from winrm.exceptions import WinRMOperationTimeoutError, WSManFaultError

        done = False
        pauses = Pauses(deadline)
        while not done:
            soon = Deadline(SOON, "an answer without output")
            try:
                out, err, code, done = self._protocol.get_command_output_raw(self.shell, self.command_id)
            except WinRMOperationTimeoutError:
                if not soon.expired:
                    pauses.wait()
                continue
            except WSManFaultError as error:
                if error.wsman_fault_code not in FULL:
                    raise
                # The command continues in the guest. Only this request was one too many.
                pauses.wait()
                continue
            pauses.reset()
            if stdout is None:
                answer.stdout.add(out)
            else:
                stdout(out)
            answer.stderr.add(err)
            answer.exit_code = code
            if answer.size:
                self.stage = f"command running, {answer.size} bytes of output"
        self.stage = "command ended"

    def end(self) -> None:
        try:
            if self.command_id:
                self._protocol.cleanup_command(self.shell, self.command_id)
        finally:
            self._protocol.close_shell(self.shell)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the errors of pywinrm and its dependencies into the harness's own."""
        import requests
        import spnego.exceptions
        from winrm import exceptions as its

        try:
            yield
        except its.InvalidCredentialsError as error:
            raise GuestRefused(
                f"{self._name}: the guest refuses the user or the password",
                hint="A local administrator needs LocalAccountTokenFilterPolicy; a template keeps its password.",
            ) from error
        except its.WSManFaultError as error:
            words = f"{_fault_words(error.response, error.reason)} (fault {error.wsman_fault_code})"
            if error.wsman_fault_code == SHELL_NOT_FOUND:
                raise self._lost(words, "the guest does not know the shell or the command") from error
            if error.wsman_fault_code == ABORTED:
                raise self._lost(words) from error
            if error.wsman_fault_code in FULL and not self.command_id:
                self.answers = True
                raise GuestUnreachable(
                    f"{self._name}: {self.stage}: {words}",
                    sent=False,
                    hint="The guest allows no more shells of this user. Whose shells are these? In it: winrm enumerate shell",
                ) from error
            raise GuestRefused(f"{self._name}: {self.stage}: {words}") from error
        except its.WinRMTransportError as error:
            if error.code in BUSY:
                raise self._lost(f"HTTP {error.code}") from error
            raise GuestRefused(f"{self._name}: {self.stage}: the guest answered HTTP {error.code}") from error
        except (requests.exceptions.SSLError, requests.exceptions.InvalidSchema) as error:
            if "ingerprint" in str(error):
                raise InfrastructureError(
                    f"{self._name}: the certificate is not the pinned one: {_fingerprints(error)}",
                    hint="Another machine answers here, or the guest was rebuilt: its manifest has the right one.",
                ) from error
            if re.search("PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL", str(error)):
                raise GuestRefused(
                    f"{self._name}: the guest does not speak TLS 1.2 or later",
                    hint="Windows Server 2016 and later do, unless it was disabled in Schannel.",
                ) from error
            raise self._lost(str(error)) from error
        except requests.exceptions.TooManyRedirects as error:
            raise GuestRefused(
                f"{self._name}: {self.stage}: the guest redirects to another address"
            ) from error
        except its.WinRMOperationTimeoutError as error:
            raise self._lost("w:TimedOut", "the guest did not finish an operation in time") from error
        except (requests.exceptions.RequestException, OSError) as error:
            if isinstance(error, PermissionError):
                raise GuestRefused(
                    f"{self._name}: {error}", hint="Is NTLM switched on in the guest?"
                ) from error
            raise self._lost(str(error)) from error
        except (
            its.WinRMError,
            spnego.exceptions.SpnegoError,
            # From pywinrm and requests_ntlm, for an answer that breaks the protocol.
            SyntaxError,
            StopIteration,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            AssertionError,
        ) as error:
            kind = type(error).__name__
            raise GuestRefused(
                f"{self._name}: {self.stage}: the guest's answer is not WS-Management ({kind}: {str(error)[:_WORDS]})"
            ) from error

    def _lost(self, words: str, answered: str = "") -> GuestUnreachable:
        self.answers = bool(answered)
        return GuestUnreachable(
            f"{self._name}: {answered or 'connection lost'}, last stage reached {self.stage!r}: {words[:_WORDS]}",
            sent=self._sent,
            hint="" if self._sent else "Is the guest up, its WinRM service running and the port forwarded?",
        )


class _Lines:
    """A decoder of Base64 lines, in pieces of any size."""

    def __init__(self, sink: ByteSink, length: int, name: str) -> None:
        self._sink = sink
        self._left = length
        self._name = name
        self._rest = b""

    def add(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LARGEST_RESPONSE:
            raise GuestRefused(f"{self._name}: a line of Base64 without an end")
        for line in lines:
            try:
                content = base64.b64decode(line.strip(), validate=True)
            except binascii.Error as error:
                raise GuestRefused(f"{self._name}: a line that is not Base64: {line[:40]!r}") from error
            if len(content) > self._left:
                raise GuestRefused(f"{self._name}: the guest sent more of the file than requested")
            self._left -= len(content)
            self._sink.write(content)


def _fault_words(response: str, reason: str) -> str:
    """Return a fault's message, preceded by the provider that wrote it. pywinrm's reason says less."""
    # The response is bounded, and pywinrm has parsed it already.
    inner = ElementTree.fromstring(response).iterfind(".//{*}Detail/{*}WSManFault//*")  # noqa: S314
    said = [words for each in inner for words in (each.get("provider"), each.text) if words and words.strip()]
    return ": ".join(" ".join(words.split()) for words in said or [reason])[:_WORDS]


def _fingerprints(error: Exception) -> str:
    text = str(error)
    start = text.find("ingerprint")
    return text[max(0, start - 1) : start + 300]
