# SPDX-License-Identifier: MIT
"""An adoption: from a disk with a Windows that the lab already has to a build's recipe, without Setup.

The disk is the base of the build's first layer and is never written to. The finished template is an independent copy: one
that depended on the user's file would break if that file was changed, moved or removed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from harness.config import read_document
from harness.errors import UsageError
from harness.host.firmware import find_ovmf
from harness.host.qemu_build import QemuBuild
from harness.template import provision
from harness.template.adopted_disk import AdoptedDisk
from harness.template.answer import ANSWER_FILE, COMMON, write_secret
from harness.template.build import Recipe, WindowsRelease
from harness.template.checkpoints import BuildInputs, disk_errors
from harness.template.edition import EVALUATION
from harness.template.keys import kept_secrets, public_key_of
from harness.template.manifest import GuestCredentials
from harness.template.medium import answer_medium
from harness.template.progress import BuildPosition
from harness.template.recipe import (
    digests_of,
    machine_maker,
    medium_of,
    openssh_media,
    provisioning_inputs,
    write_answers,
)
from harness.template.stage import BuildStage
from harness.template.store import SECRETS, Store
from harness.template.template import DOCUMENT, Template, templates_directory

BEGIN = Path(provision.INSTALL, "begin.ps1")


def begin_script() -> str:
    """Return the script that starts the launcher on the answer medium. Raises BadDocument if it cannot be read."""
    return read_document(templates_directory() / COMMON / BEGIN)


class AdoptOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of an adoption. ``password`` is the built-in administrator's, ``key`` the private key that SSH accepts.

    ``openssh`` and ``certificate`` are as for a build, for provisioning.
    """

    disk: AdoptedDisk
    password: str
    key: str = ""
    openssh: str = ""
    certificate: bytes = b""

    def __repr__(self) -> str:
        """Show no secrets: what is printed may end in a log."""
        return f"AdoptOptions({self.disk}, …)"


def identify(template: Template, facts: dict[str, str]) -> WindowsRelease:
    """Return the Windows release, by its build, edition and installation. Raises UsageError if it is not the template's."""
    build, edition = facts.get("build", ""), facts.get("edition", "")
    installation = facts.get("installation", "")
    number = build.partition(".")[0]
    if template.builds and number not in map(str, template.builds):
        raise UsageError(
            f"the disk holds Windows build {build or 'unknown'}, and {template.name} is build {', '.join(map(str, template.builds))}",
            hint="Name the template of its release: --template NAME.",
        )
    for each in template.editions:
        if edition in each.ids and installation == each.installation:
            evaluation = edition.endswith(EVALUATION)
            return WindowsRelease(each.name, each.title, template.evaluation_days if evaluation else 0)
    known = "; ".join(
        f"{each.title}: {', '.join(each.ids)} ({each.installation})" for each in template.editions
    )
    raise UsageError(
        f"the disk holds the edition {edition or 'unknown'} ({installation or 'unknown'}), which {template.name} does not know",
        hint=f"It knows: {known}.",
    )


def adoption_recipe(
    template: Template,
    wishes: AdoptOptions,
    store: Store,
    *,
    accelerator: Literal["kvm", "tcg"],
    qemu: QemuBuild,
    say: Callable[[str], None],
) -> Recipe:
    """Read the disk, make the answer medium and the secrets in the build's folder, and return the recipe.

    The caller holds the store's lock for the build. Raises the errors of :func:`harness.template.recipe.make_recipe`.
    """
    # First the checks that need no read of the disk.
    template.processor(accelerator)
    disk, openssh = wishes.disk, provision.openssh_source(template, wishes.openssh)
    ovmf = find_ovmf()
    medium = medium_of(disk.file, "the disk", say)
    folder = store.checkpoints(template.name)
    secrets = _secrets(folder / SECRETS, wishes)
    files = answer_medium(
        template,
        "",
        authorized_key=secrets.public_key,
        certificate=wishes.certificate or None,
        openssh=openssh,
    )
    del files[ANSWER_FILE]
    answer = write_answers(folder, files)
    document = read_document(Path(template.directory) / DOCUMENT)
    inputs = BuildInputs(
        installation={"disk": medium.sha256, **digests_of(files, provision.INSTALL)},
        provisioning=provisioning_inputs(document, files, openssh),
    )
    return Recipe(
        template=template.name,
        title=template.title,
        support=template.support.status,
        edition="",
        image="",
        medium=medium,
        inputs=inputs,
        machine=machine_maker(template, accelerator, qemu, ovmf, [answer, *openssh_media(openssh)]),
        variables=ovmf.variables,
        disk_size=disk.size,
        secrets=secrets,
        document=document,
        qemu_version=qemu.text,
        source=disk,
        begin=BuildPosition(BuildStage.FIRST_LOGON),
        identify=lambda facts: identify(template, facts),
    )


def _secrets(file: Path, wishes: AdoptOptions) -> GuestCredentials:
    """Return the template's credentials: the given password and key. Without a key, the stored pair or a new one."""
    kept = kept_secrets(file)
    secrets = msgspec.structs.replace(kept, password=wishes.password)
    if wishes.key:
        secrets = msgspec.structs.replace(
            secrets, private_key=wishes.key, public_key=public_key_of(wishes.key, "the SSH key")
        )
    if secrets == kept:
        return kept
    with disk_errors(file.parent):
        file.unlink(missing_ok=True)
    write_secret(file, msgspec.json.encode(secrets))
    return secrets
