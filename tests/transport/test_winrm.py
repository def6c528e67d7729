# SPDX-License-Identifier: MIT
"""Real pywinrm against the WS-Management double: what goes wrong on the way to Windows, and what is said about it."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from transport.conftest import PASSWORD, winrm_to
from transport.wsman_double import (
    NO_COMMAND_ID,
    NO_SHELL,
    TIMED_OUT,
    Double,
    Fault,
    Handler,
    Hook,
    make_certificate,
)

from harness.deadline import Deadline
from harness.errors import GuestHang, GuestRefused, GuestUnreachable, InfrastructureError, UsageError
from harness.transport.link import WireTransport
from harness.transport.pin import CertificatePin
from harness.transport.results import CommandResult

pytestmark = pytest.mark.remote


def test_a_wrong_password_is_refused(double: Double, within: Deadline) -> None:
    """No shell is made, and neither password appears in the message."""
    with pytest.raises(GuestRefused, match="the guest refuses the user or the password") as caught:
        winrm_to(double, password="wrong-horse").run("true", within)
    assert "horse" not in str(caught.value)
    assert {} == double.seen


def test_only_ntlm_is_ever_offered(over_winrm: WireTransport, double: Double, within: Deadline) -> None:
    """The password cannot be read off the connection by the guest."""
    over_winrm.run("true", within)
    assert {"Negotiate"} == set(double.schemes)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_of_tls_are_refused(double: Double, within: Deadline) -> None:
    """A server that speaks TLS 1.1 at most, and speaks it, gets not one HTTP request."""
    for side in (double.tls, lax := ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
        side.minimum_version = ssl.TLSVersion.TLSv1
        side.set_ciphers("ALL:@SECLEVEL=0")
    double.tls.maximum_version = ssl.TLSVersion.TLSv1_1
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", double.port)) as plain, lax.wrap_socket(plain) as spoken:
        assert "TLSv1.1" == spoken.version()
    with pytest.raises(GuestRefused, match=r"the guest does not speak TLS 1\.2 or later"):
        winrm_to(double).run("true", within, idempotent=True)
    assert ({}, {}) == (dict(double.schemes), dict(double.seen))


@pytest.mark.parametrize("level", ["0", "1", "2", "x", ""])
def test_ntlm_before_version_2_is_refused(
    double: Double, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    """The environment cannot make pyspnego send an answer that is quickly broken."""
    monkeypatch.setenv("LM_COMPAT_LEVEL", level)
    with pytest.raises(UsageError, match=r"LM_COMPAT_LEVEL is .*, which allows NTLM before version 2"):
        winrm_to(double)


def test_ntlm_is_bound_to_the_connection(over_winrm: WireTransport, double: Double, within: Deadline) -> None:
    """The double checks the channel bindings, as Windows can be told to: an answer is good for this certificate only."""
    over_winrm.run("true", within)
    double.certificate = b"another"
    with pytest.raises(GuestRefused, match="the guest refuses the user or the password"):
        over_winrm.run("true", within)


def test_another_certificate_gets_nothing(double: Double, within: Deadline, tmp_path: Path) -> None:
    """Not one HTTP request, so not a byte of authentication, goes to a machine that shows another certificate."""
    _, other = make_certificate(tmp_path, "other")
    with pytest.raises(InfrastructureError, match="the certificate is not the pinned one"):
        winrm_to(double, pin=other).run("true", within)
    assert ({}, {}) == (dict(double.schemes), dict(double.seen))


def test_the_name_in_the_certificate_does_not_matter(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """The double's certificate names WIN-TEMPLATE, and it is reached by its address."""
    assert b"WIN-TEMPLATE" in double.certificate
    assert 0 == over_winrm.run("true", within).exit_code


def test_a_slow_command_is_waited_for(over_winrm: WireTransport, double: Double, within: Deadline) -> None:
    """ "Nothing yet" is asked again: the command takes longer than one operation may."""
    assert "done\n" == over_winrm.run("sleep 1.3; echo done", within).stdout
    assert 2 <= double.seen["Receive"]


def test_a_command_past_its_deadline_is_ended_in_the_guest(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """pywinrm would ask for ever; the deadline ends that, and the guest is told."""
    with pytest.raises(GuestHang, match=r"an endless command: not done within 2 s"):
        over_winrm.run("yes", Deadline(2, "an endless command"))
    assert (1, 1) == (double.seen["Signal"], double.seen["Delete"])
    assert {} == double.shells


def test_a_response_that_never_ends_is_cut_off(over_winrm: WireTransport, double: Double) -> None:
    """A byte now and then satisfies every read timeout, but not the outer deadline."""

    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not handler.server.stopping.wait(0.02):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    double.hooks["Command"] = trickle
    watch = Deadline(300, "watch")
    with pytest.raises(GuestHang, match="last stage reached 'shell open'"):
        over_winrm.run("true", Deadline(2, "a command"))
    assert watch.remaining() > 200


def test_a_response_of_any_size_is_not_swallowed(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """More than an envelope may hold is refused while it comes in."""
    double.hooks["Create"] = lambda handler: handler.reply(200, b"x" * 1_100_000)
    with pytest.raises(GuestRefused, match="a response of more than 1048576 bytes"):
        over_winrm.run("true", within)


@pytest.mark.parametrize("body", [b"", b"<html>It works!</html>", b"\xff\xfe", b"<s:Envelope>", b"<a/>" * 3])
def test_an_answer_of_another_kind_is_refused(
    over_winrm: WireTransport, double: Double, within: Deadline, body: bytes
) -> None:
    """What is no WS-Management gives an error that says so."""
    double.hooks["Create"] = lambda handler: handler.reply(200, body)
    with pytest.raises(GuestRefused, match="the guest's answer is not WS-Management"):
        over_winrm.run("true", within)


def test_a_redirect_is_not_followed(over_winrm: WireTransport, double: Double, within: Deadline) -> None:
    """A guest does not choose where our credentials go."""

    def redirect(handler: Handler) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"https://127.0.0.1:{double.port}/elsewhere")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        handler.wfile.flush()

    double.hooks["Create"] = redirect
    with pytest.raises(GuestRefused, match="the guest redirects to another address"):
        over_winrm.run("true", within)


def test_a_fault_comes_back_in_the_guests_words(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """With the fault's number, which is what the documentation is indexed by."""

    def refuse(_handler: Handler) -> None:
        raise Fault(5, "w:AccessDenied", "Access is denied.")

    double.hooks["Create"] = refuse
    with pytest.raises(GuestRefused, match=r"connecting: Access is denied\. \(fault 5\)$"):
        over_winrm.run("true", within)


FULL_WORDS = (
    "The WS-Management service cannot process the request. The maximum number of concurrent operations for this user has been "
    "exceeded. Close existing operations for this user, or raise the quota for this user. "
)


def full(times: int, double: Double, where: str, code: int = 2150859174) -> Hook:
    """Return a hook that refuses so many requests of one kind for a quota."""

    def refuse(_handler: Handler) -> None:
        nonlocal times
        times -= 1
        if times:
            double.hooks[where] = refuse
        raise Fault(code, "w:QuotaLimit", FULL_WORDS)

    return refuse


@pytest.mark.parametrize("code", [2150858815, 2150859173, 2150859174, 2150859179, 2150859240])
@pytest.mark.parametrize("where", ["Create", "Command"])
def test_a_full_guest_is_waited_for(
    over_winrm: WireTransport, double: Double, within: Deadline, where: str, code: int
) -> None:
    """Nothing has run, so that a command which is not idempotent is tried again too, and runs once. No shell is left."""
    double.hooks[where] = full(2, double, where, code)
    outcome = over_winrm.run("echo here", within)
    assert ("here\n", 3) == (outcome.stdout, outcome.attempts)
    assert (2 if where == "Create" else 0) == double.seen["Create"] - double.seen["Delete"]
    assert {} == double.shells


@pytest.mark.parametrize("where", ["Receive", "Send"])
def test_a_question_too_many_ends_no_command(
    over_winrm: WireTransport, double: Double, within: Deadline, where: str, tmp_path: Path
) -> None:
    """The command goes on in the guest, and so does its conversation: it runs once and nothing of a file is sent twice."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"content" * 20_000)
    double.hooks[where] = full(2, double, where)
    if where == "Receive":
        outcome = over_winrm.run("echo here", within)
        assert ("here\n", 1, 1) == (outcome.stdout, outcome.attempts, double.seen["Command"])
    else:
        over_winrm.put(source, str(target), within)
        assert source.read_bytes() == target.read_bytes()
    assert {} == double.shells


def test_a_guest_that_stays_full_is_given_up_in_its_words(over_winrm: WireTransport, double: Double) -> None:
    """The error says who refuses, why, and where to look."""
    double.hooks["Create"] = full(1000, double, "Create", 2150859173)
    with pytest.raises(GuestHang, match=r"maximum number of concurrent .* \(fault 2150859173\)") as caught:
        over_winrm.run("true", Deadline(1.5, "a command"))
    assert "winrm enumerate shell" in str(caught.value.hint)


def test_a_guest_that_does_not_wait_is_not_asked_without_a_pause(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """A w:TimedOut that comes at once is no wait: the number of questions grows by the pauses, not by the speed of the line."""
    begun = time.monotonic()
    asked = []

    def at_once(handler: Handler) -> None:
        asked.append(time.monotonic())
        if time.monotonic() < begun + 2:
            double.hooks["Receive"] = at_once
            time_out(handler)

    double.hooks["Receive"] = at_once
    outcome = over_winrm.run("echo here", within)
    assert ("here\n", 1) == (outcome.stdout, outcome.attempts)
    # 0.1 + 0.2 + 0.4 + 0.8 s, and one more that goes past the two seconds.
    assert len(asked) <= 7


@pytest.mark.parametrize("where", ["Create", "Command", "Receive"])
def test_an_idempotent_command_survives_a_reset(
    over_winrm: WireTransport, double: Double, within: Deadline, where: str
) -> None:
    """It is tried again over a new connection."""
    double.hooks[where] = Handler.drop
    outcome = over_winrm.run("echo here", within, idempotent=True)
    assert ("here\n", 2) == (outcome.stdout, outcome.attempts)


def test_a_command_that_may_have_run_is_not_tried_again(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """After a reset nobody can tell whether it ran, and the error says how far it came."""
    double.hooks["Receive"] = Handler.drop
    with pytest.raises(
        GuestUnreachable, match="connection lost, last stage reached 'command running"
    ) as caught:
        over_winrm.run("true", within)
    assert caught.value.sent
    assert 1 == double.seen["Command"]


def test_a_command_whose_connection_broke_is_ended(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """Its shell would live on for five minutes, with what it holds open."""
    double.hooks["Receive"] = Handler.drop
    with pytest.raises(GuestUnreachable):
        over_winrm.run("exec sleep 600", within)
    assert (1, 1, {}) == (double.seen["Signal"], double.seen["Delete"], double.shells)


def test_what_could_not_be_ended_is_ended_before_the_next(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """The guest is away for longer than a farewell takes."""
    double.hooks.update({"Receive": Handler.drop, "Signal": Handler.drop, "Delete": Handler.drop})
    with pytest.raises(GuestUnreachable):
        over_winrm.run("exec sleep 600", within)
    assert 1 == len(double.shells)
    assert "here\n" == over_winrm.run("echo here", within).stdout
    assert {} == double.shells


def test_a_command_that_cannot_have_run_is_tried_again(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """A reset before the command was sent did no harm."""
    double.hooks["Create"] = Handler.drop
    assert 2 == over_winrm.run("true", within).attempts


@pytest.mark.parametrize("what", [Double.restart, Double.forget_shells])
def test_a_restart_of_the_service_is_survived(
    over_winrm: WireTransport, double: Double, within: Deadline, what: object
) -> None:
    """Whether connections are reset or the shells are merely forgotten."""
    double.hooks["Receive"] = lambda handler: what(handler.server)  # type: ignore[operator]
    outcome = over_winrm.run("echo here", within, idempotent=True)
    assert ("here\n", 2) == (outcome.stdout, outcome.attempts)


def test_a_forgotten_shell_is_a_lost_connection_for_other_commands(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """Its output is gone; that is not the command's fault."""
    double.hooks["Receive"] = lambda handler: handler.server.forget_shells()
    with pytest.raises(GuestUnreachable, match=NO_SHELL[2]):
        over_winrm.run("true", within)


def test_a_guest_that_is_away_is_waited_for_until_the_deadline(within: Deadline) -> None:
    """Every try is counted and the last one's reason is given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    class Away:
        certificate = b""

    away = Away()
    away.port = port  # type: ignore[attr-defined]
    with pytest.raises(
        GuestHang, match=r"a command not done within 0.5 s, in [23] tries; the last one: .*refused"
    ):
        winrm_to(away).run("true", Deadline(0.5, "a command"))  # type: ignore[arg-type]


def test_a_machine_that_accepts_and_says_nothing_is_given_up(double: Double) -> None:
    """A handshake that never comes is ended too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        double.port, real = listener.getsockname()[1], double.port
        link = winrm_to(double)
        double.port = real
        with pytest.raises(GuestHang, match="last stage reached 'connecting'"):
            link.run("true", Deadline(0.3, "a command"))


def test_an_upload_goes_on_after_a_reset(
    over_winrm: WireTransport, double: Double, within: Deadline, tmp_path: Path
) -> None:
    """What had arrived is not sent again."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 1024)
    pieces = []

    def cut_the_third(handler: Handler) -> None:
        pieces.append(1)
        double.hooks["Send"] = cut_the_third
        if len(pieces) == 3:
            # The process must have taken what it was sent before, or there would be nothing to go on from.
            within.poll(lambda: any(path.stat().st_size > 90_000 for path in tmp_path.glob("target.*.part")))
            handler.drop()

    double.hooks["Send"] = cut_the_third
    copied = over_winrm.put(source, str(target), within)
    assert source.read_bytes() == target.read_bytes()
    assert (98_304, 2) == (copied.resumed_at, copied.attempts)


def test_a_download_goes_on_after_a_reset(
    over_winrm: WireTransport, double: Double, within: Deadline, tmp_path: Path
) -> None:
    """What had arrived is not asked for again."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 4096)
    cut = []

    def cut_in_the_middle(handler: Handler) -> None:
        double.hooks["Receive"] = cut_in_the_middle
        if not cut and any(path.stat().st_size for path in tmp_path.glob("target.*.part")):
            cut.append(True)
            handler.drop()

    double.hooks["Receive"] = cut_in_the_middle
    copied = over_winrm.get(str(source), target, within)
    assert source.read_bytes() == target.read_bytes()
    assert 0 < copied.resumed_at < len(source.read_bytes())
    assert 2 == copied.attempts


def test_the_password_is_in_no_log_and_no_representation(
    over_winrm: WireTransport, double: Double, within: Deadline, caplog: pytest.LogCaptureFixture
) -> None:
    """With every library at its most talkative."""
    caplog.set_level(logging.DEBUG)
    over_winrm.run("true", within)
    shown = [caplog.text, repr(over_winrm), repr(over_winrm.wire), repr(vars(over_winrm.wire))]
    assert [] == [text for text in shown if PASSWORD in text]
    assert "POST /wsman" in caplog.text


def test_nothing_is_left_when_a_command_is_over(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """No shell in the guest, no connection, no thread of ours."""
    before = threading.active_count() - len(double.live)
    for _ in range(3):
        over_winrm.run("true", within)
    within.poll(lambda: not double.live)
    assert {} == double.shells
    within.poll(lambda: threading.active_count() <= before)


def test_a_command_of_two_lines_is_refused(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """cmd.exe would run the first and forget the second."""
    with pytest.raises(UsageError, match="is not a command line"):
        over_winrm.run("echo one\necho two", within)
    assert {} == double.seen


def test_the_example_of_the_page_runs(double: Double, tmp_path: Path) -> None:
    """docs/transports.md shows calls that exist. What PowerShell would answer is another matter."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "transports.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    password_file.chmod(0o600)
    names = {"password_file": password_file, "thumbprint": CertificatePin.of(double.certificate).sha256}
    exec(example.replace("40001", str(double.port)), names)
    assert isinstance(names["outcome"], CommandResult)
    assert 1 == double.seen["Command"]


@pytest.mark.parametrize("activity_ids", [False, True])
def test_an_operation_timeout_is_no_end(
    over_winrm: WireTransport, double: Double, within: Deadline, activity_ids: bool
) -> None:
    """The command is silent before and after its first output; each w:TimedOut is followed by another Receive."""
    double.activity_ids = activity_ids
    outcome = over_winrm.run("sleep 1.8; echo hi; sleep 1.8; echo hi again", within)
    assert ("hi\nhi again\n", 0, 1) == (outcome.stdout, outcome.exit_code, outcome.attempts)
    assert 4 <= double.seen["Receive"]
    assert 1 == double.seen["Command"]


def time_out(_handler: Handler) -> None:
    """Answer as Windows does when an operation takes longer than its OperationTimeout."""
    raise Fault(*TIMED_OUT)


def test_a_shell_that_is_not_made_in_time_is_asked_for_again(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """The command has not reached the guest."""
    double.hooks["Create"] = time_out
    assert 2 == over_winrm.run("true", within).attempts


def test_a_command_that_is_not_started_in_time_may_have_run(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """Only a Receive waits for the command. The error names the timeout, and the shell is closed."""
    double.hooks["Command"] = time_out
    words = "the guest did not finish an operation in time, last stage reached 'shell open': w:TimedOut"
    with pytest.raises(GuestUnreachable, match=words) as caught:
        over_winrm.run("true", within)
    assert caught.value.sent
    assert 1 == double.seen["Command"]
    assert {} == double.shells


def forget_the_command(handler: Handler) -> None:
    """The shell stays."""
    for shell in handler.server.shells.values():
        for command in shell.commands.values():
            command.kill()
        shell.commands.clear()


@pytest.mark.parametrize("activity_ids", [False, True])
def test_a_forgotten_command_may_have_run(
    over_winrm: WireTransport, double: Double, within: Deadline, activity_ids: bool
) -> None:
    """The reason names selectors; the message of the fault names the command. The shell, which is there, is closed."""
    double.activity_ids = activity_ids
    double.hooks["Receive"] = forget_the_command
    words = (
        "the guest does not know the shell or the command, last stage reached 'command running, no output yet': "
        "The Windows Remote Shell received a request to perform an operation on a command identifier that does not exist"
    )
    with pytest.raises(GuestUnreachable, match=words) as caught:
        over_winrm.run("true", within)
    assert caught.value.sent
    assert 1 == double.seen["Command"]
    assert {} == double.shells


def test_a_forgotten_command_is_run_again_if_that_does_no_harm(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """In a new shell; the old one does not stay until it is idle for too long."""
    double.hooks["Receive"] = forget_the_command
    outcome = over_winrm.run("echo here", within, idempotent=True)
    assert ("here\n", 2) == (outcome.stdout, outcome.attempts)
    assert {} == double.shells


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_poll_that_windows_refuses_is_not_repeated(
    over_winrm: WireTransport, double: Double, within: Deadline, idempotent: bool
) -> None:
    """Fault 87 names the plugin that gave it. The same parameter would be incorrect again, and the shell is closed."""

    def refuse(_handler: Handler) -> None:
        raise Fault(*NO_COMMAND_ID)

    double.hooks["Receive"] = refuse
    words = r"command running, no output yet: Shell cmd plugin: The parameter is incorrect\. \(fault 87\)$"
    with pytest.raises(GuestRefused, match=words):
        over_winrm.run("sleep 60", within, idempotent=idempotent)
    assert (1, 1) == (double.seen["Command"], double.seen["Receive"])
    assert {} == double.shells


def test_a_fault_without_a_message_gives_its_reason(
    over_winrm: WireTransport, double: Double, within: Deadline
) -> None:
    """The detail of a fault is optional (SOAP 1.2, 5.4)."""

    def refuse(_handler: Handler) -> None:
        raise Fault(5, "w:AccessDenied", "Access is denied.", message=" ")

    double.hooks["Command"] = refuse
    with pytest.raises(GuestRefused, match=r"shell open: Access is denied\. \(fault 5\)$"):
        over_winrm.run("true", within)
