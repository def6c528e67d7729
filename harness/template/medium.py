# SPDX-License-Identifier: MIT
"""The answer medium: an ISO with the answer file at its root, next to all that provisioning needs.

Names are Joliet's, which Windows reads; the ISO 9660 names are invented, for readers that support nothing else
(Microsoft: "Joliet Specification"; ECMA-119). The medium holds the administrator's password, so only its owner may read it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness.errors import UsageError, system_errors
from harness.template import provision
from harness.template.answer import ANSWER_FILE, write_secret
from harness.template.edition import load_pycdlib
from harness.template.template import Template

LABEL = "UNATTEND"

LONGEST_NAME = 64
"""Characters of a Joliet name."""


def answer_medium(
    template: Template,
    answer: str,
    *,
    authorized_key: str,
    certificate: bytes | None = None,
    openssh: provision.OpenSshSource | None = None,
) -> dict[str, bytes]:
    """Return the files of the answer medium, by their paths.

    ``answer`` is the rendered answer file, ``authorized_key`` a public key as ``authorized_keys`` holds it, ``certificate``
    the test certificate in DER, ``openssh`` the source of OpenSSH, None for the template's own. An ISO is not copied: it is a
    separate medium. Raises UsageError for content that does not fit on the medium.
    """
    key = authorized_key.strip()
    if "\n" in key or not key.isascii() or not key.isprintable() or len(key.split()) < 2:
        raise UsageError(
            "the public key is not one line of an OpenSSH key", hint="Give KEY.pub, not the private key."
        )
    source = openssh or provision.openssh_source(template)
    files = {
        ANSWER_FILE: answer.encode(),
        f"{provision.FOLDER}/settings.json": provision.settings(template, source.kind),
        f"{provision.FOLDER}/authorized_keys": f"{key}\n".encode(),
    }
    for name, script in provision.scripts(template).items():
        files[f"{provision.FOLDER}/{name}"] = script
    for name, script in provision.launcher().items():
        files[f"{provision.INSTALL}/{name}"] = script
    if certificate is not None:
        files[f"{provision.FOLDER}/test.cer"] = certificate
    if source.file is not None and source.kind != "iso":
        files[f"{provision.FOLDER}/openssh.{source.kind}"] = _payload(source.file)
    return files


def _payload(path: Path) -> bytes:
    with system_errors(str(path), hint="Give a file that you may read.", kind=UsageError):
        size = path.stat().st_size
        if size > provision.LARGEST_OPENSSH:
            raise UsageError(f"{path}: {size >> 20} MiB, too large for an OpenSSH package")
        return path.read_bytes()


def write_medium(path: Path, files: Mapping[str, bytes]) -> None:
    """Write an ISO with ``files`` (path with slashes -> content) to the new file ``path``, which only its owner can read.

    Raises InfrastructureError if it exists or cannot be written, UsageError for a name that is too long for Joliet.
    """
    disc = load_pycdlib().PyCdlib()
    disc.new(interchange_level=3, joliet=3, vol_ident=LABEL)
    places = {PurePosixPath("."): ""}
    for number, name in enumerate(sorted(files), 1):
        inner = PurePosixPath(name)
        if (
            inner.is_absolute()
            or ".." in inner.parts
            or any(len(part) > LONGEST_NAME for part in inner.parts)
        ):
            raise UsageError(f"{name!r} cannot be a path on the answer medium")
        for folder in reversed(inner.parents):
            if folder not in places:
                places[folder] = f"{places[folder.parent]}/D{len(places):07d}"
                disc.add_directory(places[folder], joliet_path=f"/{folder}")
        disc.add_fp(
            io.BytesIO(files[name]),
            len(files[name]),
            f"{places[inner.parent]}/F{number:07d}.;1",
            joliet_path=f"/{inner}",
        )
    content = io.BytesIO()
    disc.write_fp(content)
    disc.close()
    write_secret(path, content.getvalue())
