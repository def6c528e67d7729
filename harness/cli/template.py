# SPDX-License-Identifier: MIT
"""``harness template``: list, show, build, verify and remove guests that are built from an installation
medium."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.cli.output import say, say_json, say_result
from harness.cli.parameters import Json
from harness.deadline import Deadline
from harness.errors import ExitCode, HarnessError, UsageError, system_errors
from harness.invocation import invocation
from harness.report.escape import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.cli.documents import ListedTemplate, TemplateDocument, TemplateList, VerifiedTemplate
    from harness.host.qemu_build import QemuBuild
    from harness.template.build import Start
    from harness.template.manifest import TemplateManifest
    from harness.template.promise import PromiseFinding
    from harness.template.store import BuiltTemplate, Store

BUILD_SECONDS = 12 * 3600.0
"""Seconds that a whole build may take; the stages have their own limits."""

HASH_SECONDS = 3600.0
"""Seconds that reading the disk of a template may take."""

EMULATED = 12.0
"""The factor for the time of each stage without KVM."""

TemplateName = Annotated[
    str, typer.Argument(metavar="NAME", help=f"The template; '{invocation('template', 'list')}' names them.")
]
Accel = Annotated[str, typer.Option(metavar="auto|kvm|tcg", help="auto probes KVM and falls back to TCG.")]
QemuPath = Annotated[str, typer.Option("--qemu", metavar="PATH", help="The QEMU binary to use.")]


def store_of_user() -> Store:
    """Return the user's store of templates. Raises UsageError."""
    from harness.template.store import Store, store_directory

    return Store(store_directory(os.environ))


def list_(json: Json = False) -> int:
    """List the templates, how far each is supported, and whether it is built."""
    from harness.template.checkpoints import CheckpointStack
    from harness.template.template import find_templates

    store, now = store_of_user(), time.time()
    rows: list[ListedTemplate] = []
    for name, template in find_templates().items():
        built, damage = _looked_up(store, name)
        kept = CheckpointStack.read(store.checkpoints(name))
        unfinished = store.checkpoints(name).exists() and not (kept and kept.finished)
        rows.append(
            {
                "name": name,
                "title": template.title,
                "support": template.support.status,
                "built": built.manifest.built if built else "",
                "age_days": built.manifest.age_days(now) if built else None,
                "days_left": built.manifest.run_days if built else None,
                "days_left_real_time": built.manifest.days_left(now) if built else None,
                "warnings": len(built.manifest.warnings) if built else 0,
                "unfinished": unfinished,
                "installed": bool(kept and kept.installed),
                "damage": damage,
            }
        )
        state = _state(built.manifest, now) if built else printable(damage, 300) or "not built"
        if unfinished:
            state += "; a build of it was interrupted, the next one continues it"
        if not json:
            say(f"{name:21} {template.support.status:16} {state}")
    if json:
        document: TemplateList = {"directory": str(store.root), "templates": rows}
        say_json(document)
    return ExitCode.HOLDS


def _looked_up(store: Store, name: str) -> tuple[BuiltTemplate | None, str]:
    """Return the state of a built template, or its damage: a damaged one does not hide the others."""
    try:
        return store.built(name), ""
    except HarnessError as error:
        return None, error.message


def _state(manifest: TemplateManifest, now: float) -> str:
    from harness.template.evaluation import left_words

    age = manifest.age_days(now)
    days = f"built {age} days ago" if age != 1 else "built a day ago"
    days += left_words(manifest, now)
    count = len(manifest.warnings)
    return f"{days}, {count} warning{'s' if count > 1 else ''}" if count else days


def show(name: TemplateName, json: Json = False) -> int:
    """Describe a built template: what it was built from and what it promises."""
    from harness.template.template import find_template

    find_template(name)
    store = store_of_user()
    built = store.find(name)
    rows = _shown(store, built, time.time())
    say_result(_document(built), (f"{what:14} {printable(text, 400)}" for what, text in rows), json=json)
    return ExitCode.HOLDS


def _shown(store: Store, built: BuiltTemplate, now: float) -> Iterator[tuple[str, str]]:
    from harness.template.checkpoints import CheckpointStack
    from harness.template.clock import clock_start
    from harness.template.manifest import utc

    manifest = built.manifest
    start = clock_start(manifest)
    yield from (
        ("template", f"{manifest.template}, {manifest.title} ({manifest.support})"),
        ("state", _state(manifest, now)),
        (
            "built",
            f"{manifest.built} by harness {manifest.harness}, QEMU {manifest.qemu}, {manifest.accelerator}",
        ),
        (
            "clock",
            f"a run's begins at {utc(start.clock.start) if start.clock.start else 'its start'}, {start.why}",
        ),
        ("attempts", str(manifest.attempts)),
        ("edition", f"{manifest.edition}: {manifest.image}"),
        ("origin", manifest.origin),
        (
            "medium" if manifest.origin == "built" else "disk",
            f"{manifest.medium.name}, {manifest.medium.size} bytes, sha256 {manifest.medium.sha256}",
        ),
        ("files travel", "over SSH" if manifest.transfer == "sftp" else "over WinRM: it has no SSH server"),
        ("certificate", f"WinRM's, sha256 {manifest.certificate}"),
        ("host key", manifest.host_key or "none"),
    )
    yield from (("warning", f"{each.step}: {each.message}") for each in manifest.warnings)
    yield from sorted(manifest.facts.items())
    yield from (("file", f"{name} sha256 {digest}") for name, digest in sorted(manifest.files.items()))
    yield from (("made from", f"{name} sha256 {digest}") for name, digest in sorted(manifest.inputs.items()))
    yield "took", ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in manifest.stages.items())
    yield "directory", str(built.folder)
    yield "log", str(built.folder / manifest.log)
    kept = CheckpointStack.read(store.checkpoints(manifest.template))
    if kept is not None and kept.installed:
        again = invocation(
            "template", "build", manifest.template, "--iso", "PATH", "--force", "--from", "installed"
        )
        yield "kept", f"its installation; to repeat only provisioning: {again}"


def build(
    name: TemplateName,
    iso: Annotated[Path, typer.Option(metavar="PATH", help="The ISO of the installation medium.")],
    edition: Annotated[
        str, typer.Option(metavar="E", help="The edition to install; the template's first one by default.")
    ] = "",
    openssh: Annotated[
        str,
        typer.Option(
            metavar="FILE|inbox|none",
            help="The source of the SSH server; none for no SSH, inbox for the one on the medium.",
        ),
    ] = "",
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the product key; none for evaluation.")
    ] = None,
    generic_key: Annotated[
        bool,
        typer.Option(
            "--generic-key",
            help="Use Microsoft's public key of the edition, for volume licences; it activates nothing.",
        ),
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The certificate, in DER, that signs the drivers under test."),
    ] = None,
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="installed|nothing",
            help="Repeat provisioning on the kept installation, or discard what is kept and start over.",
        ),
    ] = "",
    from_scratch: Annotated[bool, typer.Option("--from-scratch", help="The same as --from nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the template if it is already built.")
    ] = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Build a template that is known not to work.")
    ] = False,
    accel: Accel = "auto",
    qemu: QemuPath = "",
    json: Json = False,
) -> int:
    """Install Windows from a medium, unattended, and make a template of it; continues an interrupted build."""
    from harness.report.stage_view import StageView
    from harness.template.build import TemplateBuild, check_installed
    from harness.template.checkpoints import CheckpointStack
    from harness.template.recipe import BuildOptions, make_recipe
    from harness.template.stage import StageTimeouts
    from harness.template.template import find_template

    template, store = find_template(name), store_of_user()
    start = _start(from_, from_scratch)
    support = template.support
    if support.status == "known-broken" and not anyway:
        raise UsageError(
            f"{name} is known not to work: {support.reason}",
            hint=f"See {support.link}. {support.workaround}\nBuild it all the same with --anyway.".strip(),
        )
    with store.building(name), StageView(quiet=json) as view:
        built_already(store, name, force=force)
        if start == "nothing":
            store.discard(name)
        if start == "installed":
            # Before the medium is read, which takes minutes.
            check_installed(CheckpointStack.read(store.checkpoints(name)), name)
        wishes = BuildOptions(
            iso=iso,
            edition=edition,
            openssh=openssh,
            key=key_file,
            generic_key=generic_key,
            certificate=read_certificate(certificate) if certificate else b"",
        )
        found, accelerator = accelerator_for(accel, qemu, view.say)
        recipe = make_recipe(template, wishes, store, accelerator=accelerator, qemu=found, say=view.say)
        pace = StageTimeouts(EMULATED if accelerator == "tcg" else 1.0)
        try:
            built = TemplateBuild(recipe, store, pace=pace, listeners=(view,), start=start).run(
                Deadline(BUILD_SECONDS, f"build {name}")
            )
        except KeyboardInterrupt:
            view.say("what was done is kept; the same command continues it")
            raise
    say_built(built, f"{name} is built", json=json)
    return ExitCode.HOLDS


def built_already(store: Store, name: str, *, force: bool) -> None:
    """Raise UsageError if the template is built and is not to be replaced, or a run uses it."""
    if not store.folder(name).exists():
        return
    if not force:
        raise UsageError(
            f"{name} is already built",
            hint=f"--force replaces it. What it is: {invocation('template', 'show', name)}",
        )
    store.check_unused(name)


def say_built(built: BuiltTemplate, done: str, *, json: bool) -> None:
    """Say that a template was made: ``done`` is how."""
    lines = [
        f"{done}: {built.folder}",
        *(f"warning: {printable(f'{each.step}: {each.message}', 400)}" for each in built.manifest.warnings),
        f"Prove what it promises: {invocation('template', 'verify', built.manifest.template)}",
    ]
    say_result(_document(built), lines, json=json)


def _document(built: BuiltTemplate) -> TemplateDocument:
    return {"directory": str(built.folder), "manifest": built.manifest}


def _start(wanted: str, from_scratch: bool) -> Start:
    """Return where a build is to start. Raises UsageError."""
    if from_scratch and wanted not in ("", "nothing"):
        raise UsageError(
            f"--from {wanted} and --from-scratch cannot be combined",
            hint="--from-scratch is the same as --from nothing.",
        )
    if not wanted:
        return "nothing" if from_scratch else "latest"
    starts: dict[str, Start] = {"installed": "installed", "nothing": "nothing"}
    if wanted not in starts:
        raise UsageError(f"--from {wanted!r} must be one of {', '.join(starts)}")
    return starts[wanted]


def read_certificate(file: Path) -> bytes:
    """Return the certificate in ``file``. Raises UsageError for one that is not in DER."""
    with system_errors(f"cannot read the certificate {file}", kind=UsageError), file.open("rb") as source:
        content = source.read(1 << 16)
    if not content.startswith(b"\x30"):
        raise UsageError(
            f"{file} is not a certificate in DER",
            hint=f"This makes one, keys/hpnotify-test.cer: {invocation('driver', 'sign', 'DRIVER')}",
        )
    return content


def accelerator_for(
    requested: str, qemu: str, say: Callable[[str], None]
) -> tuple[QemuBuild, Literal["kvm", "tcg"]]:
    """Return QEMU and the accelerator. Only a running guest shows that KVM works; the twin is used for that."""
    from harness.guest.twin import image as twin_image
    from harness.host.qemu_build import find_qemu
    from harness.machine.accelerator import choose
    from harness.setup.cache import cache_directory

    if requested not in ("auto", "kvm", "tcg"):
        raise UsageError(f"--accel {requested!r} must be one of auto, kvm, tcg")
    found = find_qemu(qemu)
    if requested == "tcg":
        say("accelerator: tcg, requested; an installation takes many hours without KVM")
        return found, "tcg"
    cache = cache_directory(os.environ)
    image = twin_image.build(cache, Deadline(900, "make the twin's image"), progress=say)
    choice = choose(requested, found.path, image, cache, Deadline(60, "probe KVM"))  # type: ignore[arg-type] # checked above
    say(f"accelerator: {choice.name}, {choice.reason}")
    return found, choice.name


def verify(
    name: TemplateName,
    boot_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Seconds that Windows may take to answer.")
    ] = 900.0,
    accel: Accel = "auto",
    qemu: QemuPath = "",
    json: Json = False,
) -> int:
    """Boot a temporary copy of a template and check each promise of its manifest, one line each."""
    from harness.template.template import find_template

    find_template(name)
    findings = prove(name, accel, qemu, boot_timeout, quiet=json)
    kept = all(finding.kept for finding in findings)
    document: VerifiedTemplate = {"kept": kept, "promises": findings}
    lines = (
        f"{'kept  ' if each.kept else 'BROKEN'} {each.name:<12} {each.says}: {printable(each.seen, 200)}"
        for each in findings
    )
    say_result(document, lines, json=json)
    return ExitCode.HOLDS if kept else ExitCode.VIOLATED


def prove(name: str, accel: str, qemu: str, boot_timeout: float, *, quiet: bool) -> list[PromiseFinding]:
    """Return the finding on each promise of a built template. Raises what its visit raises."""
    from harness.cli.template_visit import visit
    from harness.report.stage_view import StageView
    from harness.template.promise import untouched

    with store_of_user().using(name) as built, StageView(quiet=quiet) as view:
        files = untouched(built, Deadline(HASH_SECONDS, "read the template"))
        found, accelerator = accelerator_for(accel, qemu, view.say)
        return [files, *visit(built, found, accelerator, view, Deadline(boot_timeout, f"boot {name}"))]


def remove(
    name: TemplateName,
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints", help="Only what is kept of its build; the next build starts with Setup."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> int:
    """Remove a built template and what is kept of its build."""
    store = store_of_user()
    if checkpoints:
        folder = store.checkpoints(name)
        if not folder.exists():
            raise UsageError(f"nothing of a build of {name} is kept")
        if not yes:
            typer.confirm(f"Remove {folder}?", abort=True, err=True)
        with store.building(name):
            store.discard(name)
        say(f"what was kept of the build of {name} is removed")
        return ExitCode.HOLDS
    if not store.folder(name).exists() and not store.checkpoints(name).exists():
        store.find(name)
    if not yes:
        typer.confirm(f"Remove {store.folder(name)}?", abort=True, err=True)
    store.remove(name)
    say(f"{name} is removed")
    return ExitCode.HOLDS
