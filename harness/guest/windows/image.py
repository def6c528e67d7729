# SPDX-License-Identifier: MIT
"""A built template as a run uses it: its disk, its firmware's variables, and its identity."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.template.store import BuiltTemplate
from harness.template.template import Template
from harness.transport.pin import CertificatePin, HostKeyPin
from harness.transport.secret import Secret

ADMINISTRATOR = "Administrator"


class WindowsImage(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a build. ``base`` and ``variables`` are never written to; every run has its own of both.

    ``certificate`` is the SHA-256 of WinRM's. ``host_key`` is the SSH server's, None if the guest has none. ``key`` is the
    file of the private key that the server accepts. ``digest`` identifies everything it was made from.
    """

    template: Template
    base: Path
    variables: Path
    certificate: CertificatePin
    password: Secret
    digest: str
    description: str = ""
    user: str = ADMINISTRATOR
    host_key: HostKeyPin | None = None
    key: Path | None = None

    @property
    def name(self) -> str:
        """The template's name, which labels every verdict."""
        return self.template.name


def image_of(built: BuiltTemplate, template: Template) -> WindowsImage:
    """Return what a run needs of a built template.

    Raises InfrastructureError if its secrets cannot be read, UsageError if its manifest holds no certificate or key.
    """
    manifest = built.manifest
    by_ssh = bool(manifest.host_key) and built.key.is_file()
    return WindowsImage(
        template=template,
        base=built.disk,
        variables=built.variables,
        certificate=CertificatePin.parse(manifest.certificate),
        password=Secret(built.secrets().password),
        digest=built.digest(),
        description=f"{manifest.title}, {manifest.edition}, build {manifest.facts.get('build', 'unknown')}",
        user=manifest.facts.get("administrator", ADMINISTRATOR),
        host_key=HostKeyPin.parse(manifest.host_key) if by_ssh else None,
        key=built.key if by_ssh else None,
    )
