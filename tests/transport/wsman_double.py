# SPDX-License-Identifier: MIT
"""A WS-Management server on loopback: HTTPS with a certificate of its own, NTLM for real, shells that run commands.

It speaks as much of MS-WSMV as a command shell needs: Create, Command, Send, Receive, Signal, Delete. A command line
runs under ``/bin/sh``, with a directory in front of ``PATH`` where ``powershell.exe`` is. Basic authentication is off.
Its answers have the structure of recorded conversations with Windows, and ``test_wsman_double.py`` compares them.
Three faults are recorded: w:TimedOut, an unknown command, and a Receive that names no command. The fault for an unknown
shell is not recorded. It follows MS-WSMV and the recorded fault with the same number.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import spnego
import spnego.channel_bindings
import spnego.exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
W = "{http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd}"
RSP = "{http://schemas.microsoft.com/wbem/wsman/1/windows/shell}"
TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer/"
SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/"
CMD = SHELL + "cmd"
NAMESPACES = {
    "s": S,
    "a": A,
    "x": "{http://schemas.xmlsoap.org/ws/2004/09/transfer}",
    "e": "{http://schemas.xmlsoap.org/ws/2004/08/eventing}",
    "n": "{http://schemas.xmlsoap.org/ws/2004/09/enumeration}",
    "w": W,
    "rsp": RSP,
    "p": "{http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd}",
}
FAULT_DETAIL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/"
ANONYMOUS = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
TIMED_OUT = (
    2150858793,
    "w:TimedOut",
    "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.  ",
)
NO_SHELL = (
    2150858843,
    "w:InvalidSelectors",
    "The shell was not found on the server.",
    "UnexpectedSelectors",
)
NO_COMMAND = (
    2150858843,
    "w:InvalidSelectors",
    (
        "The WS-Management service cannot process the request because the request contained invalid selectors for the "
        "resource. "
    ),
    "UnexpectedSelectors",
    (
        "The Windows Remote Shell received a request to perform an operation on a command identifier that does not exist. "
        "Either the command has completed execution or the client specified an invalid command identifier. "
    ),
)
NO_COMMAND_ID = (
    87,
    "w:InvalidParameter",
    "The parameter is incorrect. ",
    "InvalidValue",
    (
        '<f:ProviderFault provider="Shell cmd plugin" path="%systemroot%\\system32\\winrscmd.dll">'
        "The parameter is incorrect. </f:ProviderFault>"
    ),
)
"""ERROR_INVALID_PARAMETER: the answer of the cmd plugin to a Receive for the shell itself, which has no output."""

PIECE = 32 * 1024
PIECES = 3
"""A response holds at most so many Stream elements of so many bytes: together less than MaxEnvelopeSize."""

Hook = Callable[["Handler"], None]


class Fault(Exception):
    """An answer that is a SOAP fault.

    ``words`` is the reason. ``detail`` is the last word of the FaultDetail, which names the sender's mistake; without
    it the fault is the receiver's. ``message`` is the content of the WSManFault's Message, if it is not the reason.
    """

    def __init__(self, code: int, subcode: str, words: str, detail: str = "", message: str = "") -> None:
        super().__init__(words)
        self.code, self.subcode, self.words, self.detail = code, subcode, words, detail
        self.message = message or words


class Dropped(Exception):
    """The connection is gone; nothing more is answered on it."""


def make_certificate(directory: Path, name: str) -> tuple[Path, bytes]:
    """Make a self-signed certificate for ``name``; return the file with it and its key, and its DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path, certificate.public_bytes(serialization.Encoding.DER)


class Command:
    """A process of a shell, and what it has printed that nobody has received yet."""

    def __init__(self, line: str, environment: dict[str, str]) -> None:
        self.changed = threading.Condition()
        self.waiting: list[tuple[str, bytes]] = []
        self.open = {"stdout", "stderr"}
        self.line = line
        self.began = time.monotonic_ns()
        self.ended = 0
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", line],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
        for name in ("stdout", "stderr"):
            threading.Thread(target=self._read, args=(name,), daemon=True).start()

    def _read(self, name: str) -> None:
        pipe = getattr(self.process, name)
        while data := pipe.read(PIECE):
            with self.changed:
                self.waiting.append((name, data))
                self.changed.notify_all()
                self.changed.wait_for(lambda: len(self.waiting) < 2 * PIECES)
        pipe.close()
        with self.changed:
            self.open.discard(name)
            self.ended = 0 if self.open else time.monotonic_ns()
            self.changed.notify_all()

    def kill(self) -> None:
        """End it and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with self.changed:
            self.waiting.clear()
            self.changed.notify_all()
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()


class Shell:
    """A shell and its commands."""

    def __init__(self) -> None:
        self.commands: dict[str, Command] = {}


class Double(http.server.ThreadingHTTPServer):
    """The server. ``hooks`` maps the last word of an action to what happens before it is answered, once.

    ``activity_ids``: each answer carries an ActivityId, as one of the recorded hosts does.

    ``asked`` has the time of each request, ``ran`` every command, both in their order.
    ``seen`` counts the actions, ``schemes`` the authentication schemes that clients tried, ``connections`` those that
    finished their TLS handshake.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, directory: Path, programs: Path, certificate_name: str = "WIN-TEMPLATE") -> None:
        self.asked: list[int] = []
        self.ran: list[Command] = []
        self.seen: Counter[str] = Counter()
        self.schemes: Counter[str] = Counter()
        self.connections = 0
        self.hooks: dict[str, Hook] = {}
        self.activity_ids = False
        self.shells: dict[str, Shell] = {}
        self.stopping = threading.Event()
        self.environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        self.live: set[socket.socket] = set()
        self.lock = threading.Lock()
        pem, self.certificate = make_certificate(directory, certificate_name)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(pem)
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def bindings(self) -> spnego.channel_bindings.GssChannelBindings:
        """What ties an NTLM exchange to this TLS connection (RFC 5929, tls-server-end-point)."""
        digest = hashes.Hash(hashes.SHA256())
        digest.update(self.certificate)
        return spnego.channel_bindings.GssChannelBindings(
            application_data=b"tls-server-end-point:" + digest.finalize()
        )

    def get_request(self) -> tuple[Any, Any]:
        """Accept, and leave the handshake to the connection's own thread."""
        connection, address = super().get_request()
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""

    def restart(self) -> None:
        """Do what a restart of the service does to its clients: shells gone, connections reset, then back again."""
        self.forget_shells()
        with self.lock:
            for connection in list(self.live):
                reset(connection)

    def forget_shells(self) -> None:
        """End all commands and forget all shells."""
        with self.lock:
            gone = list(self.shells.values())
            self.shells.clear()
        for shell in gone:
            for command in shell.commands.values():
                command.kill()

    def stop(self) -> None:
        """Stop serving; nothing is left running."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        self.restart()
        self._thread.join()


def reset(connection: socket.socket) -> None:
    """Have the kernel send RST instead of FIN."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket(fileno=os.dup(connection.fileno())).shutdown(socket.SHUT_RD)
        os.close(connection.detach())
    except OSError:
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection; NTLM authenticates the connection, not the request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Double
    _context: Any = None
    _authenticated = False

    def setup(self) -> None:
        """Shake hands, note the connection."""
        self.request.do_handshake()
        with self.server.lock:
            self.server.connections += 1
            self.server.live.add(self.request)
        super().setup()

    def finish(self) -> None:
        """Forget the connection."""
        with self.server.lock:
            self.server.live.discard(self.request)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_POST(self) -> None:
        """Authenticate, then answer one request."""
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme:
            self.server.schemes[scheme] += 1
        if not self._authenticated and not self._authenticate(scheme, token):
            return
        try:
            self._answer(body)
        except Dropped:
            self.close_connection = True

    def _authenticate(self, scheme: str, token: str) -> bool:
        if scheme not in ("Negotiate", "NTLM"):
            self._refuse("Negotiate")
            return False
        try:
            if self._context is None:
                self._context = spnego.server(
                    protocol="ntlm",
                    channel_bindings=self.server.bindings,
                    options=spnego.NegotiateOptions.use_ntlm,
                )
            answer = self._context.step(base64.b64decode(token))
        except (spnego.exceptions.SpnegoError, ValueError, struct.error):
            self._context = None
            self._refuse("Negotiate")
            return False
        if not self._context.complete:
            self._refuse("Negotiate " + base64.b64encode(answer).decode())
            return False
        self._authenticated = True
        return True

    def _refuse(self, challenge: str) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def reply(self, status: int, content: bytes) -> None:
        """Send a whole response."""
        self.send_response(status)
        self.send_header("Content-Type", "application/soap+xml;charset=UTF-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def drop(self) -> None:
        """Reset this connection in the middle of the exchange."""
        reset(self.request)
        raise Dropped

    def _answer(self, body: bytes) -> None:
        request = Request(body, activity=self.server.activity_ids)
        word = request.action.rpartition("/")[2]
        self.server.seen[word] += 1
        self.server.asked.append(time.monotonic_ns())
        hook = self.server.hooks.pop(word, None)
        try:
            if hook is not None:
                hook(self)
            namespaces, content = getattr(self, f"_on_{word.lower()}")(request)
            self.reply(200, envelope(request, request.action + "Response", content, namespaces))
        except Fault as fault:
            self.reply(500, fault_envelope(request, fault))

    def _shell(self, request: Request) -> Shell:
        with self.server.lock:
            shell = self.server.shells.get(request.selector("ShellId"))
        if shell is None:
            raise Fault(*NO_SHELL)
        return shell

    def _command(self, request: Request, identifier: str | None) -> Command:
        command = self._shell(request).commands.get(identifier or "")
        if command is None:
            raise Fault(*NO_COMMAND)
        return command

    def _on_create(self, request: Request) -> tuple[str, str]:
        identifier = guid()
        with self.server.lock:
            self.server.shells[identifier] = Shell()
        wanted = request.body.find(f"{RSP}Shell")
        variables = (
            ""
            if wanted is None
            else "".join(
                f"<rsp:Variable Name={quoteattr(each.get('Name', ''))}>{escape(each.text or '')}</rsp:Variable>"
                for each in wanted.iter(f"{RSP}Variable")
            )
        )
        environment = f"<rsp:Environment>{variables}</rsp:Environment>" if variables else ""
        return "s a x w rsp p", (
            f"<x:ResourceCreated><a:Address>{escape(request.to)}</a:Address>"
            f"<a:ReferenceParameters><w:ResourceURI>{CMD}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{identifier}</w:Selector></w:SelectorSet></a:ReferenceParameters>'
            f'</x:ResourceCreated><rsp:Shell xmlns:rsp="{RSP[1:-1]}"><rsp:ShellId>{identifier}</rsp:ShellId>'
            f"<rsp:ResourceUri>{CMD}</rsp:ResourceUri><rsp:Owner>WIN-TEMPLATE\\Administrator</rsp:Owner>"
            f"<rsp:ClientIP>127.0.0.1</rsp:ClientIP>{environment}<rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut>"
            f"<rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams>"
            f"<rsp:ShellRunTime>P0DT0H0M0S</rsp:ShellRunTime>"
            f"<rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity></rsp:Shell>"
        )

    def _on_command(self, request: Request) -> tuple[str, str]:
        line = request.body.find(f"{RSP}CommandLine")
        assert line is not None
        words = [
            line.findtext(f"{RSP}Command") or "",
            *[each.text or "" for each in line.iter(f"{RSP}Arguments")],
        ]
        identifier = guid()
        shell = self._shell(request)
        shell.commands[identifier] = command = Command(" ".join(words), self.server.environment)
        self.server.ran.append(command)
        return "s a x w rsp p", (
            f"<rsp:CommandResponse><rsp:CommandId>{identifier}</rsp:CommandId></rsp:CommandResponse>"
        )

    def _on_send(self, request: Request) -> tuple[str, str]:
        for stream in request.body.iter(f"{RSP}Stream"):
            command = self._command(request, stream.get("CommandId"))
            assert command.process.stdin is not None
            try:
                command.process.stdin.write(base64.b64decode(stream.text or ""))
                if stream.get("End") == "true":
                    command.process.stdin.close()
            except (OSError, ValueError):
                raise Fault(2147942632, "w:InternalError", "The pipe is being closed.") from None
        return "s a w rsp p", "<rsp:SendResponse/>"

    def _on_receive(self, request: Request) -> tuple[str, str]:
        wanted = next(request.body.iter(f"{RSP}DesiredStream"))
        identifier = wanted.get("CommandId")
        if identifier is None:
            self._shell(request)
            raise Fault(*NO_COMMAND_ID)
        command = self._command(request, identifier)
        with command.changed:
            if not command.changed.wait_for(lambda: command.waiting or not command.open, request.timeout):
                raise Fault(*TIMED_OUT)
            pieces, command.waiting = command.waiting[:PIECES], command.waiting[PIECES:]
            ended = not command.open and not command.waiting
            command.changed.notify_all()
        streams = "".join(
            f'<rsp:Stream Name="{name}" CommandId="{identifier}">{base64.b64encode(data).decode()}</rsp:Stream>'
            for name, data in pieces
        )
        state = f'<rsp:CommandState CommandId="{identifier}" State="{SHELL}CommandState/'
        if ended:
            code = command.process.wait()
            streams += "".join(
                f'<rsp:Stream Name="{name}" CommandId="{identifier}" End="true"></rsp:Stream>'
                for name in ("stdout", "stderr")
            )
            state += f'Done"><rsp:ExitCode>{code}</rsp:ExitCode></rsp:CommandState>'
        else:
            state += 'Running"></rsp:CommandState>'
        return "s a w rsp p", f"<rsp:ReceiveResponse>{streams}{state}</rsp:ReceiveResponse>"

    def _on_signal(self, request: Request) -> tuple[str, str]:
        self._command(request, next(request.body.iter(f"{RSP}Signal")).get("CommandId")).kill()
        return "s a x w rsp p", "<rsp:SignalResponse/>"

    def _on_delete(self, request: Request) -> tuple[str, str]:
        shell = self._shell(request)
        with self.server.lock:
            self.server.shells.pop(request.selector("ShellId"), None)
        for command in shell.commands.values():
            command.kill()
        return "s a w p", ""


class Request:
    """One SOAP request. ``activity`` asks for an ActivityId in its answer."""

    def __init__(self, body: bytes, *, activity: bool) -> None:
        root = ElementTree.fromstring(body)
        self.header = root.find(f"{S}Header")
        found = root.find(f"{S}Body")
        assert self.header is not None
        assert found is not None
        self.body = found
        self.action = self.header.findtext(f"{A}Action") or ""
        self.activity = activity
        self.to = self.header.findtext(f"{A}To") or ""
        self.message_id = self.header.findtext(f"{A}MessageID") or ""
        self.timeout = float((self.header.findtext(f"{W}OperationTimeout") or "PT20S")[2:-1])

    def selector(self, name: str) -> str:
        """Return the value of a selector, "" if it is not there."""
        assert self.header is not None
        return next(
            (each.text or "" for each in self.header.iter(f"{W}Selector") if each.get("Name") == name), ""
        )


def guid() -> str:
    """Return a new id, as Windows writes them."""
    return str(uuid.uuid4()).upper()


def envelope(request: Request, action: str, content: str, namespaces: str) -> bytes:
    """Return a response; ``namespaces`` are the prefixes that it declares, in order."""
    declared = " ".join(f'xmlns:{prefix}="{NAMESPACES[prefix][1:-1]}"' for prefix in namespaces.split())
    activity = f"<p:ActivityId>{guid()}</p:ActivityId>" if request.activity else ""
    return (
        f'<s:Envelope xml:lang="en-US" {declared}><s:Header><a:Action>{action}</a:Action>'
        f"<a:MessageID>uuid:{guid()}</a:MessageID>{activity}<a:To>{ANONYMOUS}</a:To>"
        f"<a:RelatesTo>{escape(request.message_id)}</a:RelatesTo></s:Header><s:Body>{content}</s:Body></s:Envelope>"
    ).encode()


def fault_envelope(request: Request, fault: Fault) -> bytes:
    """Return a fault as Windows writes it. It names the host as the request does."""
    side = "Sender" if fault.detail else "Receiver"
    detail = f"<w:FaultDetail>{FAULT_DETAIL}{fault.detail}</w:FaultDetail>" if fault.detail else ""
    return envelope(
        request,
        "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault",
        f"<s:Fault><s:Code><s:Value>s:{side}</s:Value><s:Subcode><s:Value>{fault.subcode}</s:Value></s:Subcode>"
        f'</s:Code><s:Reason><s:Text xml:lang="en-US">{fault.words}</s:Text></s:Reason><s:Detail>{detail}'
        f'<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="{fault.code}" '
        f'Machine="{urlsplit(request.to).hostname}"><f:Message>{fault.message}</f:Message></f:WSManFault>'
        "</s:Detail></s:Fault>",
        "s a x e n w p",
    )
