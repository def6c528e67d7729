# SPDX-License-Identifier: MIT
"""The promises of a built template, and their comparison with what a guest shows.

The guest is asked once, by ``vm_templates/windows-common/verify/promises.ps1``, which reports facts and judges nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from harness.config import read_document
from harness.deadline import Deadline
from harness.errors import GuestRefused
from harness.template.answer import COMMON
from harness.template.manifest import TemplateManifest, sha256_of
from harness.template.provision import FOLDER
from harness.template.store import BuiltTemplate
from harness.template.template import Template, templates_directory

SCRIPT = Path("verify", "promises.ps1")

MASK = 0xF
"""The mask that step ``debug`` sets: errors, warnings, trace and information."""

KERNEL_DUMP = 2
"""CrashDumpEnabled of a kernel memory dump."""

PRIVATE = "1"
"""NLM_NETWORK_CATEGORY_PRIVATE (W32: netlistmgr/ne-netlistmgr-nlm_network_category.md)."""

LONGEST_ANSWER = 64 << 10

Value = Annotated[str, msgspec.Meta(max_length=8000)]


FILES = ("files", "disk and firmware variables are those that were built")
WINRM = (
    "certificate",
    "WinRM answers over HTTPS with the certificate that the build reported, to the template's password",
)
SSH = ("SSH", "SSH answers with the host key that the build reported, to the template's key")
"""Promises that are checked from outside: their names and texts."""


class PromiseEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The script's answer. Every value is text, "" if missing. ``stored`` says whether a password is stored, never which."""

    build: Value
    edition: Value
    installation: Value
    processors: Value
    license: Value
    grace: Value
    vbs: Value
    options: Value
    mask: Value
    dump: Value
    nmi: Value
    restart: Value
    trace: Value
    buffers: Value
    update: Value
    logon: Value
    stored: Value
    basic: Value
    plain: Value
    listeners: Value
    trusted: Value
    category: Value
    unidentified: Value
    winrm: Value
    winrmfailure: Value
    sshd: Value
    sshdfailure: Value
    zone: Value
    universal: Value


class PromiseFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One promise: its ``name``, what it ``says``, whether it is ``kept``, and what was ``seen``."""

    name: str
    says: str
    kept: bool
    seen: str


class Promise(NamedTuple):
    """A promise. ``applies``: whether this template makes it; ``shows``: what was seen; ``kept``: whether that is right."""

    name: str
    says: str
    shows: Callable[[PromiseEvidence], str]
    kept: Callable[[PromiseEvidence, TemplateManifest, Template], bool]
    applies: Callable[[TemplateManifest], bool] = lambda _: True


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else -1


SC_ACTION_RESTART = 1
"""The action that restarts a failed service ([MS-SCMR] 2.2.18)."""


def _restarts(failure: str) -> bool:
    """Return whether a service is restarted after every failure, by its FailureActions ([MS-SCMR] 2.2.37)."""
    try:
        value = bytes.fromhex(failure)
        count, at = struct.unpack_from("<12xII", value)
        actions = [struct.unpack_from("<I", value, at + 8 * number)[0] for number in range(min(count, 100))]
    except (ValueError, struct.error):
        return False
    return bool(actions) and set(actions) == {SC_ACTION_RESTART}


def _starts(how: str, failure: str) -> bool:
    """Return whether a service runs, was started after the others, and is restarted if it fails."""
    return how == "Auto True Running" and _restarts(failure)


def _start_words(how: str, failure: str) -> str:
    return f"{how or 'missing'}, {'restarted' if _restarts(failure) else 'not restarted'} when it fails"


def _has_ssh(manifest: TemplateManifest) -> bool:
    return bool(manifest.host_key)


def _certificate(manifest: TemplateManifest) -> str:
    """Return the SHA-256 of the test certificate that was on the answer medium, "" if there was none."""
    return manifest.inputs.get(f"{FOLDER}/test.cer", "")


PROMISES = (
    Promise(
        "build",
        "it is the Windows that was installed",
        lambda seen: f"{seen.edition}, {seen.installation}, build {seen.build}",
        lambda seen, manifest, _: all(
            getattr(seen, name) == manifest.facts[name]
            for name in ("build", "edition", "installation")
            if name in manifest.facts
        ),
    ),
    Promise(
        "license",
        "its evaluation has not ended",
        lambda seen: f"LicenseStatus {seen.license}, {seen.grace} minutes left",
        lambda seen, _, __: _number(seen.grace) > 0,
        lambda manifest: manifest.evaluation_days > 0,
    ),
    Promise(
        "processors",
        "it starts with the template's processors",
        lambda seen: seen.processors,
        lambda seen, _, template: _number(seen.processors) == template.topology.processors,
    ),
    Promise(
        "no VBS",
        "neither virtualization-based security nor Windows' own hypervisor runs",
        lambda seen: f"VirtualizationBasedSecurityStatus {seen.vbs}",
        lambda seen, _, __: seen.vbs == "0",
    ),
    Promise(
        "testsigning",
        "it loads test-signed drivers",
        lambda seen: f"started with {seen.options.strip()!r}",
        lambda seen, _, __: "TESTSIGNING" in seen.options.upper().split(),
    ),
    Promise(
        "certificate",
        "it trusts the test certificate",
        lambda seen: f"{len(seen.trusted.split())} trusted publishers",
        lambda seen, manifest, _: _certificate(manifest) in seen.trusted.split(),
        lambda manifest: bool(_certificate(manifest)),
    ),
    Promise(
        "debug print",
        "the kernel debugger's port shows what drivers print",
        lambda seen: f"mask {seen.mask}",
        lambda seen, _, __: _number(seen.mask) & MASK == MASK and _number(seen.mask) > 0,
    ),
    Promise(
        "dump",
        "a bug check, or an NMI, writes a kernel dump and does not restart",
        lambda seen: (
            f"CrashDumpEnabled {seen.dump}, NMICrashDump {seen.nmi}, AutoReboot {seen.restart or 'missing'}"
        ),
        lambda seen, _, __: (_number(seen.dump), seen.nmi, seen.restart) == (KERNEL_DUMP, "1", "0"),
    ),
    Promise(
        "trace",
        "the event trace begins with the boot, with buffers for every processor that can be added",
        lambda seen: f"Start {seen.trace}, at most {seen.buffers} buffers",
        lambda seen, _, template: (
            seen.trace == "1" and _number(seen.buffers) >= 2 * template.topology.max_processors
        ),
    ),
    Promise(
        "quiet",
        "no update is installed by itself",
        lambda seen: f"NoAutoUpdate {seen.update}",
        lambda seen, _, __: seen.update == "1",
    ),
    Promise(
        "logon",
        "no user is logged on automatically, and the password is not kept in the registry",
        lambda seen: f"AutoAdminLogon {seen.logon}, DefaultPassword {seen.stored}",
        lambda seen, _, __: seen.logon in ("", "0") and seen.stored == "none",
    ),
    Promise(
        "WinRM",
        "WinRM listens on HTTPS alone, without Basic authentication",
        lambda seen: f"listeners {seen.listeners}, Basic {seen.basic}, unencrypted {seen.plain}",
        lambda seen, _, __: (seen.listeners, seen.basic, seen.plain) == ("HTTPS", "false", "false"),
    ),
    Promise(
        "network",
        "its network is private, and one that is not identified will be",
        lambda seen: (
            f"category {seen.category or 'none'}, unidentified networks {seen.unidentified or 'not set'}"
        ),
        lambda seen, _, __: (seen.category, seen.unidentified) == ("Private", PRIVATE),
    ),
    Promise(
        "WinRM start",
        "WinRM starts after the other services, and again when it fails",
        lambda seen: _start_words(seen.winrm, seen.winrmfailure),
        lambda seen, _, __: _starts(seen.winrm, seen.winrmfailure),
    ),
    Promise(
        "SSH start",
        "sshd starts after the other services, and again when it fails",
        lambda seen: _start_words(seen.sshd, seen.sshdfailure),
        lambda seen, _, __: _starts(seen.sshd, seen.sshdfailure),
        _has_ssh,
    ),
    Promise(
        "UTC",
        "its time zone is UTC, and it takes the machine's clock for UTC",
        lambda seen: f"time zone {seen.zone}, RealTimeIsUniversal {seen.universal or 'missing'}",
        lambda seen, _, __: (seen.zone, seen.universal) == ("UTC", "1"),
        # An earlier harness built templates whose clock was in local time.
        lambda manifest: bool(manifest.shutdown),
    ),
)


STEPS = {
    "no VBS": "hot-add",
    "testsigning": "signing",
    "certificate": "signing",
    "debug print": "debug",
    "dump": "debug",
    "trace": "trace",
    "quiet": "quiet",
    "logon": "account",
    "WinRM": "winrm",
    "network": "network",
    "WinRM start": "winrm",
    "SSH start": "openssh",
    "UTC": "clock",
}
"""The provisioning step that keeps each promise. No step can keep the others."""


def script() -> str:
    """Return the script. Raises BadDocument if it cannot be read."""
    return read_document(templates_directory() / COMMON / SCRIPT)


def decode(text: str) -> PromiseEvidence:
    """Return the script's answer. Raises GuestRefused: a guest may send anything."""
    if len(text) > LONGEST_ANSWER:
        raise GuestRefused(f"the guest answered {len(text)} characters, at most {LONGEST_ANSWER} are read")
    try:
        return msgspec.json.decode(text.strip().encode(), type=PromiseEvidence)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise GuestRefused(
            f"the guest's answer about its promises does not decode: {str(error)[:200]}",
            hint="The template was provisioned by other scripts, or is damaged: build it again.",
        ) from error


def judge(seen: PromiseEvidence, manifest: TemplateManifest, template: Template) -> list[PromiseFinding]:
    """Return a finding for every promise that this template makes and that is checked from inside."""
    return [
        PromiseFinding(
            name=promise.name,
            says=promise.says,
            kept=promise.kept(seen, manifest, template),
            seen=promise.shows(seen),
        )
        for promise in PROMISES
        if promise.applies(manifest)
    ]


def promised(manifest: TemplateManifest) -> list[tuple[str, str]]:
    """Return the name and text of each promise that a template makes, in the order in which they are checked."""
    outside = [FILES, WINRM, *([SSH] if manifest.host_key else [])]
    return [*outside, *((one.name, one.says) for one in PROMISES if one.applies(manifest))]


def untouched(built: BuiltTemplate, deadline: Deadline) -> PromiseFinding:
    """Return whether disk and variables are unchanged since the build. Raises InfrastructureError if they cannot be read."""
    changed = [
        name
        for name, digest in sorted(built.manifest.files.items())
        if sha256_of(built.folder / name, deadline) != digest
    ]
    return PromiseFinding(
        name=FILES[0],
        says=FILES[1],
        kept=not changed and bool(built.manifest.files),
        seen=f"changed: {', '.join(changed)}" if changed else f"{len(built.manifest.files)} files unchanged",
    )
