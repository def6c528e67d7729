# SPDX-License-Identifier: MIT
"""Provisioning: the scripts that prepare an installed Windows for hot-adds, and their settings.

The steps are ``NN-name.ps1`` in ``vm_templates/windows-common/provision``, in the order of their numbers. A template's own
``provision`` folder adds steps, or replaces one by the same file name. ``start.ps1`` runs them in the guest and reports
each to the host on COM1. They read ``settings.json``, which holds no secret.

The second line of each step declares whether it is *essential*, whose failure ends the build, or *comfort*, whose failure
is a warning. ``launch.ps1`` belongs to the installation: at each boot it starts ``start.ps1`` from the drive that has it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import BadDocument, UsageError
from harness.template.answer import COMMON
from harness.template.template import Template, templates_directory

FOLDER = "provision"
INSTALL = "install"
"""The folder of the answer medium with the files that the installation leaves on the guest's disk."""

LAUNCHER = "launch.ps1"

DECLARED = re.compile(r"# (Essential|Comfort): \S")
"""The second line of a step."""

STEP = re.compile(r"[0-9]{2}-([a-z0-9-]{1,40})\.ps1")
RUNNER = ("start.ps1", "Provision.psm1")

SESSION = "HotplugHarness"
"""Name of the event trace session that begins with the boot."""

SESSION_GUID = "{0D0C9B5C-6C5B-4E0E-9D5B-3A5F6C1A7E21}"
PROVIDER_GUID = "{6F1B0E52-9C3D-4E57-8A64-2D5C8A1E7B90}"
"""The provider of ``guest_drivers/hpnotify/src/hpnotify.man``."""

DEDICATED_DUMP = "hotplug-harness-dump.sys"
"""The file, at the root of the system drive, into which Windows writes a dump at the crash itself."""

LARGEST_SCRIPT = 256 << 10
LARGEST_OPENSSH = 128 << 20

OpenSsh = Literal["inbox", "msi", "zip", "cab", "iso", "none"]
"""The source of the OpenSSH server: the installation medium, a file, a medium of features on demand, or none."""

_FILES: dict[str, OpenSsh] = {".msi": "msi", ".zip": "zip", ".cab": "cab", ".iso": "iso"}

BINDING = r"[0-9]{1,4}(?: [A-Za-z0-9_.-]{1,64} problem [0-9]{1,3},?){0,16}"
"""The number of devices, and their services and problem codes (CM_PROB_…), each pair once."""

FACTS = {
    "administrator": r"Administrator",
    "build": r"[0-9]{4,6}\.[0-9]{1,6}",
    "certificate": r"[0-9a-f]{64}",
    "defender": r"removed|installed|quiet|real-time",
    "devices-acpi0007": BINDING,
    "devices-acpi0010": BINDING,
    "devices-pnp0c80": BINDING,
    "dhcp": r"server [0-9.]{0,15} address [0-9a-fA-F.: ]{0,200} gateway [0-9a-fA-F.: ]{0,200} dns(?: [0-9a-fA-F.: ]{0,200})?",
    "dynamic-processors": r"yes|no",
    "edition": r"[A-Za-z0-9]{1,64}",
    "grace-minutes": r"[0-9]{1,9}",
    "installation": r"[A-Za-z ]{1,32}",
    "license": r"[0-6]",
    "network-category": r"[A-Za-z ]{1,60}",
    "openssh": r"inbox|msi|zip|cab|iso|none",
    "processor-container": r"[A-Za-z]{1,20}: ?[ -~]{0,200}",
    "rearms": r"[0-9]{1,4}",
    "ssh-host-key": r"ssh-ed25519 [A-Za-z0-9+/=]{40,120}",
    "sshd-test": r"(?:ok|failed)(?: [ -~]{0,900})?",
    "test-certificate": r"trusted",
    "winrm-listeners": r"[0-9]{1,3}(?: [A-Z ]{1,60})?",
}
"""The facts that the steps report by ``fact`` markers: the name, and the pattern of its value."""

NEEDED = ("build", "certificate", "edition", "openssh")
"""Facts without which a build is not complete; ``ssh-host-key`` too, unless ``openssh`` is ``none``."""


class ProvisionStep(msgspec.Struct, frozen=True):
    """One step: ``name`` as in its marker, and the script. The failure of an ``essential`` one ends the build."""

    name: str
    script: Path
    essential: bool


def steps(template: Template) -> list[ProvisionStep]:
    """Return the steps of ``template`` in their order.

    Raises BadDocument for a file that is not a step, for a duplicate name, and for a step that does not declare whether it
    is essential.
    """
    files: dict[str, Path] = {}
    for folder in (templates_directory() / COMMON / FOLDER, Path(template.directory) / FOLDER):
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if file.name not in RUNNER:
                files[file.name] = file
    found = []
    for name in sorted(files):
        match = STEP.fullmatch(name)
        if match is None:
            raise BadDocument(
                f"{files[name]}: not the name of a step", hint="Call it NN-name.ps1, in small letters."
            )
        found.append(ProvisionStep(match[1], files[name], _essential(files[name])))
    names = [step.name for step in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadDocument(
            f"{template.name} has two provisioning steps called {twice[0]!r}",
            hint="To replace a step, give yours the same number too.",
        )
    return found


def _essential(script: Path) -> bool:
    with script.open("rb") as file:
        head = file.read(1000).decode("ascii", "replace").splitlines()
    match = DECLARED.match(head[1]) if len(head) > 1 else None
    if match is None:
        raise BadDocument(
            f"{script}:2: does not declare whether the step is essential",
            hint="Begin the second line with '# Essential: ' or '# Comfort: ', and continue with the reason.",
        )
    return match[1] == "Essential"


class OpenSshSource(msgspec.Struct, frozen=True):
    """The source of the OpenSSH server: its ``kind``, and the ``file`` if it is one."""

    kind: OpenSsh
    file: Path | None = None


def openssh_source(template: Template, said: str = "") -> OpenSshSource:
    """Return the OpenSSH source of ``template``, as the user ``said``: a file, ``inbox``, ``none``, "" for its own.

    Raises UsageError for a file of another kind, and for ``inbox`` where the server is not on the medium.
    """
    if said in ("", "none"):
        return OpenSshSource("inbox" if template.openssh == "inbox" and not said else "none")
    if said == "inbox":
        if template.openssh == "inbox":
            return OpenSshSource("inbox")
        raise UsageError(
            f"{template.name} has no OpenSSH server on its medium",
            hint="Give a file that it comes in, or --openssh none.",
        )
    file = Path(said)
    kind = _FILES.get(file.suffix.lower())
    if kind is not None:
        return OpenSshSource(kind, file)
    raise UsageError(
        f"{said}: not a file that OpenSSH comes in",
        hint="Give an .msi or .zip of Win32-OpenSSH, the .cab, the ISO of features on demand, or none for no SSH at all.",
    )


def settings(template: Template, openssh: OpenSsh) -> bytes:
    """Return ``settings.json`` for the steps."""
    return json.dumps(
        {
            "template": template.name,
            "openssh": openssh,
            "comfort": [step.name for step in steps(template) if not step.essential],
            "max_processors": template.topology.max_processors,
            "group_size": template.topology.group_size,
            "dump": {"file": DEDICATED_DUMP, "megabytes": int(template.memory.maximum) // 8 >> 20},
            "trace": {"session": SESSION, "guid": SESSION_GUID, "provider": PROVIDER_GUID},
        },
        indent=2,
    ).encode()


def scripts(template: Template) -> dict[str, bytes]:
    """Return the files of the ``provision`` folder on the answer medium, without settings, keys and certificate.

    Lines end in CR LF. Raises BadDocument for a script that is too large or not ASCII: PowerShell 5.1 reads
    a script without byte order mark in the system's code page (Microsoft Learn: "about_Character_Encoding").
    """
    common = templates_directory() / COMMON / FOLDER
    found = {name: common / name for name in RUNNER} | {
        step.script.name: step.script for step in steps(template)
    }
    return {name: _script(path) for name, path in found.items()}


def launcher() -> dict[str, bytes]:
    """Return the files of the ``install`` folder on the answer medium, like :func:`scripts`."""
    return {LAUNCHER: _script(templates_directory() / COMMON / INSTALL / LAUNCHER)}


def _script(path: Path) -> bytes:
    data = path.read_bytes()
    if len(data) > LARGEST_SCRIPT or not data.isascii():
        raise BadDocument(f"{path}: not ASCII, or larger than {LARGEST_SCRIPT >> 10} KiB")
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def fact_fits(name: str, value: str) -> bool:
    """Return whether ``name`` is a fact of the steps and ``value`` matches its pattern. A guest may send anything."""
    return name in FACTS and re.fullmatch(FACTS[name], value) is not None
