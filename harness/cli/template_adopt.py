# SPDX-License-Identifier: MIT
"""``harness template adopt``: makes a template of an existing Windows disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.parameters import Json
from harness.cli.template import (
    BUILD_SECONDS,
    EMULATED,
    Accel,
    QemuPath,
    accelerator_for,
    built_already,
    read_certificate,
    say_built,
    store_of_user,
)
from harness.deadline import Deadline
from harness.errors import ExitCode, UsageError, system_errors

if TYPE_CHECKING:
    from harness.guest.windows.adoption import AdoptionVisit
    from harness.template.adoption import AdoptOptions
    from harness.template.store import BuiltTemplate, Store
    from harness.template.template import Template

LONGEST_KEY = 64 << 10


def adopt(
    disk: Annotated[Path, typer.Argument(metavar="DISK", help="The image of Windows' system disk.")],
    name: Annotated[
        str, typer.Option("--template", metavar="NAME", help="The template of this Windows release.")
    ],
    password_file: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="A file with the built-in administrator's password, readable only by you."
        ),
    ],
    user: Annotated[
        str, typer.Option(metavar="NAME", help="The built-in administrator's name.")
    ] = "Administrator",
    ssh_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Log in over SSH with this private key, instead of WinRM over HTTPS."
        ),
    ] = None,
    provision: Annotated[
        bool, typer.Option("--provision", help="Set up in the template what the disk lacks, without asking.")
    ] = False,
    openssh: Annotated[
        str,
        typer.Option(metavar="FILE|inbox|none", help="The source of the SSH server, as for a build."),
    ] = "",
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The certificate, in DER, that signs the drivers under test."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the template if there is one.")] = False,
    boot_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Seconds until Windows must accept the login.")
    ] = 900.0,
    accel: Accel = "auto",
    qemu: QemuPath = "",
    json: Json = False,
) -> int:
    """Make a template of an existing disk with Windows; the disk itself is never written to."""
    from harness.guest.windows.adoption import AdoptionVisit, Login
    from harness.template.adopted_disk import look_at
    from harness.template.adoption import AdoptOptions
    from harness.template.template import find_template

    template, store = find_template(name), store_of_user()
    login = Login.from_files(user, password_file, ssh_key)
    wishes = AdoptOptions(
        disk=look_at(disk),
        password=login.password.reveal(),
        key=_key(ssh_key) if ssh_key else "",
        openssh=openssh,
        certificate=read_certificate(certificate) if certificate else b"",
    )
    lacking: list[str] = []

    def attempt(consent: bool) -> BuiltTemplate:
        import hashlib

        visit = AdoptionVisit(
            template,
            login,
            provision=consent,
            boot_timeout=boot_timeout,
            test_certificate=hashlib.sha256(wishes.certificate).hexdigest() if certificate else "",
        )
        try:
            return _adopt(template, wishes, store, visit, accel, qemu, force=force, quiet=json)
        finally:
            lacking[:] = [each.name for each in visit.lacking if visit.can_be_mended]

    try:
        built = attempt(provision)
    except UsageError as error:
        if provision or json or not lacking or not sys.stdin.isatty():
            raise
        typer.echo(error.message, err=True)
        typer.confirm("Set that up in the template?", abort=True, err=True)
        built = attempt(True)
    say_built(built, f"{name} is adopted from {disk}", json=json)
    return ExitCode.HOLDS


def _adopt(
    template: Template,
    wishes: AdoptOptions,
    store: Store,
    visit: AdoptionVisit,
    accel: str,
    qemu: str,
    *,
    force: bool,
    quiet: bool,
) -> BuiltTemplate:
    from harness.report.stage_view import StageView
    from harness.template.adoption import adoption_recipe
    from harness.template.build import TemplateBuild
    from harness.template.checkpoints import CheckpointStack
    from harness.template.stage import StageTimeouts

    name = template.name
    with store.building(name), StageView(quiet=quiet) as view:
        built_already(store, name, force=force)
        found, accelerator = accelerator_for(accel, qemu, view.say)
        recipe = adoption_recipe(template, wishes, store, accelerator=accelerator, qemu=found, say=view.say)
        visit.say = view.say
        pace = StageTimeouts(EMULATED if accelerator == "tcg" else 1.0)
        try:
            return TemplateBuild(recipe, store, pace=pace, listeners=(view,), visit=visit).run(
                Deadline(BUILD_SECONDS, f"adopt {name}")
            )
        except UsageError:
            state = CheckpointStack.read(store.checkpoints(name))
            if state is not None and not state.checkpoint:
                # There is nothing yet that the next attempt could continue from.
                store.discard(name)
            raise
        except KeyboardInterrupt:
            view.say("what was done is kept; the same command continues it")
            raise


def _key(file: Path) -> str:
    with system_errors(f"cannot read the SSH key {file}", kind=UsageError), file.open("rb") as source:
        return source.read(LONGEST_KEY).decode("ascii", "replace")
