# SPDX-License-Identifier: MIT
"""From a template and an installation medium to the recipe of a build: edition, answers, secrets, machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from harness.config import read_document
from harness.deadline import Deadline
from harness.errors import UsageError, system_errors
from harness.host.firmware import Ovmf, find_ovmf
from harness.host.qemu_build import QemuBuild
from harness.machine.machine import MachineSpec
from harness.template import provision
from harness.template.answer import ANSWER_FILE, answers_for, render
from harness.template.build import HOST_KEY, Recipe
from harness.template.checkpoints import BuildInputs, disk_errors
from harness.template.edition import brings_key, choose, is_evaluation, read_images
from harness.template.keys import kept_secrets
from harness.template.manifest import Medium, sha256_of
from harness.template.medium import answer_medium, write_medium
from harness.template.store import SECRETS, Store
from harness.template.template import DOCUMENT, Edition, Template
from harness.template.wim import described

READ = 3600.0
"""Seconds for reading the installation medium once."""

LONGEST_KEY_FILE = 4096


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a build.

    ``edition`` "" is the template's first. ``openssh`` is the file or medium with the SSH server, "inbox", "none", or "" for
    the template's own. ``key`` is a file with a product key. ``generic_key`` selects the edition's public key. ``certificate``
    is the test certificate in DER that the guest is to trust, b"" for none.
    """

    iso: Path
    edition: str = ""
    openssh: str = ""
    key: Path | None = None
    generic_key: bool = False
    certificate: bytes = b""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digests_of(files: dict[str, bytes], folder: str) -> dict[str, str]:
    """Return the digests of the answer medium's files in ``folder``; the key is left out, since it differs from build to build."""
    return {
        name: _digest(content)
        for name, content in sorted(files.items())
        if name.startswith(f"{folder}/") and name != f"{provision.FOLDER}/authorized_keys"
    }


def write_answers(folder: Path, files: dict[str, bytes]) -> Path:
    """Make the answer medium of ``files`` in the build's ``folder`` anew; return it. Raises InfrastructureError."""
    answer = folder / "answers.iso"
    with disk_errors(folder):
        answer.unlink(missing_ok=True)
    write_medium(answer, files)
    return answer


def provisioning_inputs(
    document: str, files: dict[str, bytes], openssh: provision.OpenSshSource
) -> dict[str, str]:
    """Return what provisioning depends on by its name: the template's document, the answer medium's files, an OpenSSH medium."""
    inputs = {DOCUMENT: _digest(document.encode()), **digests_of(files, provision.FOLDER)}
    for medium in openssh_media(openssh):
        inputs["openssh"] = sha256_of(medium, Deadline(READ, "read the OpenSSH medium"))
    return inputs


def openssh_media(openssh: provision.OpenSshSource) -> list[Path]:
    """Return the medium that OpenSSH is taken from, as the machine's drive gets it; none for a file on the answer medium."""
    return [openssh.file.absolute()] if openssh.kind == "iso" and openssh.file is not None else []


def medium_of(file: Path, what: str, say: Callable[[str], None], detail: str = "") -> Medium:
    """Read ``file`` once, and return it with its digest. ``say`` gets the progress, which begins with ``detail``."""
    size = file.stat().st_size
    say(f"reading {file.name}, {size >> 20} MiB{detail}")
    digest = sha256_of(
        file, Deadline(READ, f"read {what}"), progress=lambda done: say(f"{done >> 20} of {size >> 20} MiB")
    )
    return Medium(name=file.name, size=size, sha256=digest)


def machine_maker(
    template: Template, accelerator: Literal["kvm", "tcg"], qemu: QemuBuild, firmware: Ovmf, media: list[Path]
) -> Callable[[Path, Path], MachineSpec]:
    """Return what makes the build's machine from the disk and the variables that it is to have; ``media`` are in its drives."""

    def machine(disk: Path, variables: Path) -> MachineSpec:
        return template.machine_spec(
            accelerator=accelerator,
            qemu=qemu.path,
            firmware=firmware,
            variables=variables,
            disk=disk,
            cdroms=media,
        )

    return machine


def product_key(file: Path | None) -> str:
    """Return the product key in ``file``, "" for no file. Raises UsageError; the key itself is in no message."""
    if file is None:
        return ""
    with (
        system_errors(f"cannot read the product key file {file}", kind=UsageError),
        file.open("rb") as source,
    ):
        words = source.read(LONGEST_KEY_FILE).decode("ascii", "replace").split()
    if len(words) != 1:
        raise UsageError(f"{file} must hold one product key and nothing else")
    return words[0].upper()


def _key(template: Template, edition: Edition, wishes: BuildOptions) -> str:
    """Return the product key that the build is to use, "" for none."""
    if not wishes.generic_key:
        return product_key(wishes.key)
    if wishes.key is not None:
        raise UsageError(
            "--generic-key and --key-file cannot be combined: both say which product key to use",
            hint="Leave out one of them.",
        )
    if not edition.generic_key:
        raise UsageError(
            f"no public key of {template.name}'s edition {edition.name!r} is known",
            hint="Its template.toml may have one: generic_key. Or give one in a file: --key-file FILE.",
        )
    return edition.generic_key


def make_recipe(
    template: Template,
    wishes: BuildOptions,
    store: Store,
    *,
    accelerator: Literal["kvm", "tcg"],
    qemu: QemuBuild,
    say: Callable[[str], None],
) -> Recipe:
    """Read the medium, make the secrets and the answer medium in the build's folder, and return the recipe.

    The caller holds the store's lock for the build. Raises UsageError for a medium that cannot be read or lacks the edition,
    for a host processor without a model in the template, and for an invalid key or file. Raises MissingPart without UEFI
    firmware, InfrastructureError for a full disk.
    """
    # First the checks that need no read of the medium.
    template.processor(accelerator)
    openssh = provision.openssh_source(template, wishes.openssh)
    key = _key(template, template.edition(wishes.edition), wishes)
    iso = wishes.iso.absolute()
    edition, image = choose(template, read_images(iso), wishes.edition)
    if not key and not is_evaluation(image) and not brings_key(iso):
        raise UsageError(
            f"{iso.name} is not for evaluation, and Setup would stop and ask for the product key of {described(image)}",
            hint="Give the key in a file, --key-file FILE, or a medium for evaluation.\n"
            "--generic-key takes Microsoft's public key of the edition, which installs and activates nothing; it is for volume "
            'licences (Microsoft Learn: "Key Management Services (KMS) client activation and product keys").',
        )
    ovmf = find_ovmf()
    medium = medium_of(iso, "the medium", say, f": {described(image)}")
    folder = store.checkpoints(template.name)
    secrets = kept_secrets(folder / SECRETS)
    answers = answers_for(image, password=secrets.password, product_key=key)
    files = answer_medium(
        template,
        render(template, answers),
        authorized_key=secrets.public_key,
        certificate=wishes.certificate or None,
        openssh=openssh,
    )
    answer = write_answers(folder, files)
    document = read_document(Path(template.directory) / DOCUMENT)
    # Provisioning sets Windows' processor groups.
    shape = msgspec.structs.replace(template.topology, group_size=0)
    inputs = BuildInputs(
        installation={
            "medium": medium.sha256,
            "edition": _digest(edition.name.encode()),
            # As filled in for this image, without the secrets.
            ANSWER_FILE: _digest(render(template, answers_for(image, password="none")).encode()),  # noqa: S106
            "product key": "generic" if wishes.generic_key else "given" if key else "none",
            "machine": _digest(
                msgspec.json.encode(
                    [template.machine, template.cpu, shape, template.memory, template.devices], enc_hook=int
                )
            ),
            **digests_of(files, provision.INSTALL),
        },
        provisioning=provisioning_inputs(document, files, openssh),
    )
    return Recipe(
        template=template.name,
        title=template.title,
        support=template.support.status,
        edition=edition.name,
        image=described(image),
        medium=medium,
        inputs=inputs,
        machine=machine_maker(template, accelerator, qemu, ovmf, [iso, answer, *openssh_media(openssh)]),
        variables=ovmf.variables,
        disk_size=int(template.devices.disk_size),
        secrets=secrets,
        transfer="winrm" if openssh.kind == "none" else "sftp",
        needed=provision.NEEDED if openssh.kind == "none" else (*provision.NEEDED, HOST_KEY),
        evaluation_days=template.evaluation_days if is_evaluation(image) else 0,
        document=document,
        qemu_version=qemu.text,
    )
