# SPDX-License-Identifier: MIT
"""The visit to a Windows that is adopted as a template: log on with its owner's credentials, check a template's promises.

If its owner consents, provisioning sets up what is lacking. The visit then starts the launcher on the answer medium, the
same that an installation leaves behind, and the build continues like that of a newly installed Windows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.deadline import Deadline
from harness.errors import GuestError, GuestRefused, TemplateFailed, UsageError
from harness.guest.windows.transports import LOOPBACK
from harness.machine.forwards import forwarded_ports
from harness.machine.machine import Machine
from harness.template import promise
from harness.template.adoption import begin_script, identify
from harness.template.manifest import Medium, TemplateManifest, utc
from harness.template.promise import STEPS, PromiseEvidence, PromiseFinding
from harness.template.serial_markers import DoneMarker, FactMarker, SerialMarker
from harness.template.template import SSH_PORT, WINRM_PORT, Template
from harness.transport import ssh, winrm
from harness.transport.first_contact import certificate_at, host_key_at
from harness.transport.link import WireTransport
from harness.transport.pin import CertificatePin, HostKeyPin
from harness.transport.results import CommandResult
from harness.transport.secret import Secret

FIRST_INTERVAL, LONGEST_INTERVAL = 0.1, 2.0
"""Seconds between two attempts to log on."""

TRY = 30.0
ASK = 300.0
"""Seconds for one attempt to log on, and for one answer of a running Windows."""

BUILT_IN = re.compile(r"S-1-5-21-[0-9-]{1,60}-500\b")
"""The built-in administrator (Microsoft Learn: "Well-known SIDs")."""

WHO = "whoami /user"
END = "shutdown.exe /s /t 5"


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials: ``user`` with ``password`` for WinRM over HTTPS, or with ``key``, known to the guest, for SSH."""

    user: str
    password: Secret
    key: Path | None = None

    @classmethod
    def from_files(cls, user: str, password: Path, key: Path | None) -> Login:
        """Read the password. Raises UsageError if others may read the file, or it cannot be read."""
        return cls(user=user, password=Secret.from_file(password), key=key)


class Entered(msgspec.Struct, frozen=True, kw_only=True):
    """The transport of a successful logon, and the guest's identity. ``host_key`` is None if SSH was not used."""

    transport: WireTransport
    certificate: CertificatePin | None
    host_key: HostKeyPin | None = None


Enter = Callable[[Machine, Login, Deadline], Entered]
"""One attempt to log on to the guest. Raises GuestError."""


def enter(machine: Machine, login: Login, deadline: Deadline) -> Entered:
    """Log on once, and pin the identity that the guest shows: the harness's own QEMU forwards its port. Raises GuestError."""
    ports = forwarded_ports(machine, deadline)
    certificate, host_key = None, None
    if login.key is None:
        certificate = certificate_at(LOOPBACK, ports[WINRM_PORT], deadline)
        link: WireTransport = WireTransport(
            winrm.WinrmWire(
                LOOPBACK,
                port=ports[WINRM_PORT],
                user=login.user,
                password=login.password,
                certificate=certificate,
            )
        )
    else:
        host_key = host_key_at(LOOPBACK, ports[SSH_PORT], deadline)
        link = WireTransport(
            ssh.SshWire(LOOPBACK, port=ports[SSH_PORT], user=login.user, key=login.key, host_key=host_key)
        )
    try:
        said = link.run(WHO, deadline)
        if said.exit_code != 0:
            raise GuestRefused(f"{WHO} ended with {said.exit_code}: {said.stderr.strip()[:200]}")
    except BaseException:
        link.close()
        raise
    if not BUILT_IN.search(said.stdout):
        link.close()
        raise UsageError(
            f"{login.user} is not the built-in administrator of this Windows: {said.stdout.strip()[:200]!r}",
            hint="Give that account by its name, --user NAME, and its password; a template is entered as that account.",
        )
    if certificate is None:
        try:
            certificate = certificate_at(LOOPBACK, ports[WINRM_PORT], deadline)
        except GuestError:
            # Provisioning makes a certificate.
            certificate = None
    return Entered(transport=link, certificate=certificate, host_key=host_key)


class AdoptionVisit:
    """A visit with ``login``. ``lacking`` are the promises of a template that the guest does not keep."""

    def __init__(
        self,
        template: Template,
        login: Login,
        *,
        provision: bool,
        boot_timeout: float,
        test_certificate: str = "",
        say: Callable[[str], None] = lambda _: None,
        enter: Enter = enter,
    ) -> None:
        self.lacking: list[PromiseFinding] = []
        self._template = template
        self._login = login
        self._provision = provision
        self._boot_timeout = boot_timeout
        self._test_certificate = test_certificate
        self.say = say
        self._enter = enter

    @property
    def can_be_mended(self) -> bool:
        """Whether provisioning sets up all that is lacking."""
        return all(each.name in STEPS for each in self.lacking)

    def __call__(self, machine: Machine) -> list[SerialMarker]:
        """Log on, check, and start what is to be done. Return what the guest has reported.

        Raises TemplateFailed if the logon does not succeed in time. Raises UsageError if it is another Windows than the template's,
        if something is lacking that only provisioning sets up and its owner did not consent, or that nothing sets up.
        """
        found = self._log_on(machine)
        if found is None:
            return []
        try:
            evidence = ask_promises(found.transport)
            facts = {
                "build": evidence.build,
                "edition": evidence.edition,
                "installation": evidence.installation,
            }
            identity = identify(self._template, facts)
            self.say(f"it is {identity.image}, build {evidence.build}")
            self.lacking = self._judge(evidence, found, identity.evaluation_days)
            self._check_lacking()
            if self.lacking:
                self.say(f"provisioning begins: it lacks {', '.join(each.name for each in self.lacking)}")
                _obeyed(
                    "the script that starts provisioning",
                    found.transport.script(begin_script(), Deadline(ASK, "start provisioning")),
                )
                return []
            _obeyed(END, found.transport.run(END, Deadline(ASK, "shut Windows down")))
        finally:
            found.transport.close()
        return [*_told(facts, found), DoneMarker()]

    def _log_on(self, machine: Machine) -> Entered | None:
        """Try to log on until the deadline. Return None if the guest restarts meanwhile."""
        deadline = Deadline(self._boot_timeout, "get into the guest")
        words = ""

        def attempt() -> Entered | str | None:
            nonlocal words
            machine.check_alive()
            if machine.events("SHUTDOWN"):
                return "gone"
            try:
                return self._enter(machine, self._login, deadline.within(TRY, "log on"))
            except GuestError as error:
                # Starting services refuse with many errors; the last one is reported if they do not stop.
                words = error.message
                return None

        def late() -> TemplateFailed:
            way = f"SSH with the key {self._login.key}" if self._login.key else "WinRM over HTTPS (port 5986)"
            return TemplateFailed(
                f"no network login as {self._login.user} by {way} within {self._boot_timeout:g} s; "
                f"last heard: {words[:300] or 'nothing'}",
                hint="Windows must take an address by DHCP and let this login in through its firewall. Set it up in the guest, "
                "shut it down, and adopt it again; or give the other way in (--ssh-key). A boot takes minutes without "
                "KVM: --boot-timeout SECONDS.",
                reached="first logon",
            )

        found = deadline.poll(attempt, interval=FIRST_INTERVAL, longest=LONGEST_INTERVAL, error=late)
        return found if isinstance(found, Entered) else None

    def _judge(self, evidence: PromiseEvidence, found: Entered, evaluation_days: int) -> list[PromiseFinding]:
        """Return the promises that are not kept, that of a certificate included if WinRM shows none."""
        template = self._template
        manifest = TemplateManifest(
            template=template.name,
            title=template.title,
            support=template.support.status,
            edition="",
            image="",
            medium=Medium(name="", size=0, sha256=""),
            built="",
            harness="",
            qemu="",
            accelerator="",
            files={},
            inputs={"provision/test.cer": self._test_certificate} if self._test_certificate else {},
            certificate="",
            host_key=found.host_key.line if found.host_key is not None else "",
            evaluation_days=evaluation_days,
            # The shutdown is about to happen: the clock of its runs begins there.
            shutdown=utc(time.time()),
        )
        lacking = [each for each in promise.judge(evidence, manifest, template) if not each.kept]
        if found.certificate is None and "WinRM" not in [each.name for each in lacking]:
            says = "WinRM answers over HTTPS"
            lacking.append(PromiseFinding(name="WinRM", says=says, kept=False, seen="nobody answers"))
        return lacking

    def _check_lacking(self) -> None:
        hopeless = [each for each in self.lacking if each.name not in STEPS]
        if hopeless:
            raise UsageError(
                "the disk cannot become a template: "
                + "; ".join(f"{each.says}: {each.seen}" for each in hopeless)[:400],
                hint="No provisioning step mends this.",
            )
        if self.lacking and not self._provision:
            rows = [f"{each.says}: {each.seen} (step {STEPS[each.name]})" for each in self.lacking]
            raise UsageError(
                f"the disk lacks {len(rows)} of what a template promises:\n  "
                + "\n  ".join(row[:200] for row in rows),
                hint="--provision sets it up in the template; the disk itself stays as it is.",
            )


def ask_promises(link: WireTransport) -> PromiseEvidence:
    """Ask Windows for what a template promises."""
    within = Deadline(ASK, "ask for what the template promises")
    outcome = link.script(promise.script(), within, idempotent=True)
    if outcome.exit_code != 0:
        raise GuestRefused(
            f"the script that asks for the promises ended with {outcome.exit_code}: {outcome.stderr.strip()[:400]}",
            hint="vm_templates/windows-common/verify/promises.ps1 is the script.",
        )
    return promise.decode(outcome.stdout)


def _obeyed(what: str, said: CommandResult) -> None:
    if said.exit_code != 0:
        raise GuestRefused(
            f"{what} ended with {said.exit_code}: {(said.stderr or said.stdout).strip()[:400]}",
            hint="The account must be the built-in administrator's, which User Account Control leaves alone.",
        )


def _told(facts: dict[str, str], found: Entered) -> list[SerialMarker]:
    """Return what the provisioning steps would have reported for a guest that lacks nothing."""
    told = {**facts, "administrator": "Administrator", "openssh": "none"}
    if found.certificate is not None:
        told["certificate"] = found.certificate.sha256
    if found.host_key is not None:
        told |= {"openssh": "inbox", "ssh-host-key": found.host_key.line}
    return [FactMarker(key, value) for key, value in sorted(told.items())]
