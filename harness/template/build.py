# SPDX-License-Identifier: MIT
"""Builds a template: boots Setup again and again until the guest says that all is done and turns itself off.

Every restart of the guest ends QEMU and starts it anew: for the guest a cold start instead of a warm one, for the host the
moment at which nobody has the disk open. If the build is further than at the last checkpoint, that moment becomes the
next one (:mod:`harness.template.checkpoints`); if not (the guest crashed, or restarts within a stage), it just goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

import harness
from harness.capture.live.bounds import kept_small
from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, TemplateFailed, UsageError
from harness.history.record import FORMAT as HISTORY_FORMAT
from harness.history.record import Clock, End, Header, Stage
from harness.history.writer import HistoryWriter, Listener
from harness.host.lease import take_lease
from harness.host.registry import Registry
from harness.interrupts import uninterrupted
from harness.invocation import invocation
from harness.machine import disk_image
from harness.machine.machine import MachineSpec
from harness.machine.qemu.machine import QemuMachine
from harness.template.answer import write_secret
from harness.template.boot import SetupBoot, SetupBootEnd, full_disk
from harness.template.checkpoints import CheckpointStack, disk_errors
from harness.template.diagnosis import Symptom, diagnose, sentence
from harness.template.manifest import GuestCredentials, Medium, TemplateManifest, sha256_of, utc
from harness.template.progress import MOST_RESETS, BuildProgress
from harness.template.provision import NEEDED, fact_fits
from harness.template.reporter import Reporter
from harness.template.stage import StageTimeouts
from harness.template.store import (
    DISK,
    DOCUMENT,
    KEY,
    LOG,
    MANIFEST,
    SECRETS,
    VARIABLES,
    BuiltTemplate,
    Store,
)

SPACE = 24 << 30
"""Bytes that must be free: the layers of an installed Windows, and once more for the image made of them."""

FULL = 1 << 20
"""Bytes; with less than that free a disk is taken to be full."""

START = 60.0
FLATTEN = 7200.0
"""Seconds to start QEMU, and to write the finished image."""

CERTIFICATE, HOST_KEY = "certificate", "ssh-host-key"
"""Facts that the guest tells and the harness knows it by later on."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """All that one build needs. ``machine`` makes the machine from the disk and the variables it is to have.

    ``inputs`` names everything the template is made from with its SHA-256; a resumed build must have the same.
    ``variables`` is the firmware's empty variable store, sizes are in bytes. Without the facts ``needed`` it is not done.
    ``document`` is the text of the template's template.toml.
    """

    template: str
    title: str
    support: str
    edition: str
    image: str
    medium: Medium
    inputs: dict[str, str]
    machine: Callable[[Path, Path], MachineSpec]
    variables: Path
    disk_size: int
    secrets: GuestCredentials
    transfer: Literal["sftp", "winrm"] = "winrm"
    needed: tuple[str, ...] = NEEDED
    evaluation_days: int = 0
    space: int = SPACE
    document: str = ""
    qemu_version: str = ""

    def digest(self) -> str:
        """Return a digest of all that the template is made from."""
        return hashlib.sha256(msgspec.json.encode(sorted(self.inputs.items()))).hexdigest()


class TemplateBuild:
    """One build of ``recipe`` into ``store``, whose lock for it the caller holds."""

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        *,
        pace: StageTimeouts | None = None,
        listeners: tuple[Listener, ...] = (),
        registry: Registry | None = None,
    ) -> None:
        self._recipe = recipe
        self._store = store
        self._pace = pace or StageTimeouts()
        self._listeners = listeners
        self._registry = registry
        self._stack = CheckpointStack(
            store.checkpoints(recipe.template),
            inputs=recipe.digest(),
            variables=recipe.variables,
            size=recipe.disk_size,
        )

    def run(self, deadline: Deadline) -> BuiltTemplate:
        """Build, from the last checkpoint if there is one; return what was built.

        Raises TemplateFailed when the guest or Setup is to blame, InfrastructureError when the host is, UsageError when
        what is kept was made from something else, MachineFailed when QEMU died. The checkpoints are kept whatever ends it.
        """
        self._check()
        folder = self._stack.log_folder()
        outcome: Literal["completed", "failed", "interrupted"] = "failed"
        with HistoryWriter(folder) as writer:
            for listener in self._listeners:
                writer.subscribe(listener)
            reporter = Reporter(writer, self._stack.state.seconds)
            try:
                writer.write(
                    Header(
                        format=HISTORY_FORMAT,
                        harness=harness.__version__,
                        run=f"build-{self._recipe.template}",
                        guest=self._recipe.template,
                        wall=utc(time.time()),
                    )
                )
                writer.write(Clock(domain="host", hz=1_000_000_000))
                accelerator = self._install(writer, reporter, folder, deadline)
                built = self._finish(reporter, accelerator, deadline)
                outcome = "completed"
            except HarnessError as error:
                with contextlib.suppress(InfrastructureError):
                    reporter.end(error)
                if self._stack.state.checkpoint:
                    reached = self._stack.state.reached.words()
                    error.hint += f"\nThe same command goes on at {reached}; --from-scratch begins anew."
                if _free(folder) < FULL:
                    # Whoever met it first: QEMU, the log, or a tool.
                    raise full_disk(folder) from error
                raise
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            finally:
                # A full disk keeps the log from ending as it should; what ended the build is told all the same.
                with uninterrupted(), contextlib.suppress(InfrastructureError):
                    reporter.end()
                    writer.write(End(outcome=outcome))
        return built

    def _check(self) -> None:
        state, name = self._stack.state, self._recipe.template
        if state.inputs != self._recipe.digest():
            raise UsageError(
                f"an interrupted build of {name} was made from another medium, edition, template or script",
                hint="Give the same again, or throw it away: "
                + invocation("template", "build", name, "--iso", "PATH", "--from-scratch"),
            )
        free = _free(self._store.root)
        if free < self._recipe.space:
            raise InfrastructureError(
                f"{free >> 20} MiB are free in {self._store.root}, and a build of {name} may need {self._recipe.space >> 20} MiB",
                hint="Free some space there, or set HOTPLUG_HARNESS_TEMPLATES to a directory on another disk.",
            )

    def _install(self, writer: HistoryWriter, reporter: Reporter, folder: Path, deadline: Deadline) -> str:
        """Boot until all is done; return the accelerator that was used."""
        stack = self._stack
        progress = BuildProgress(stack.state.reached, stack.state.facts)
        if stack.state.checkpoint:
            reporter.note(f"goes on after checkpoint {stack.state.checkpoint}: {stack.state.reached.words()}")
        stack.rewind()
        accelerator = self._spec().accelerator
        while not stack.state.reached.stage.last:
            reporter.reach(progress.reached)
            end = self._boot(writer, progress, reporter, folder, deadline)
            if end is SetupBootEnd.SHUTDOWN and not progress.done:
                raise self._gone_wrong(progress, Symptom.TURNED_OFF, folder)
            if end is SetupBootEnd.RESTART:
                progress.reset()
            reporter.end()
            if progress.reached.order > stack.state.reached.order and (
                end is SetupBootEnd.SHUTDOWN or not progress.done
            ):
                stack.checkpoint(progress.reached, progress.facts)
                stack.note(seconds=reporter.seconds)
            elif progress.resets > MOST_RESETS:
                raise self._gone_wrong(progress, Symptom.RESETS, folder)
        return accelerator

    def _spec(self) -> MachineSpec:
        return self._recipe.machine(self._stack.disk, self._stack.variables)

    def _boot(
        self,
        writer: HistoryWriter,
        progress: BuildProgress,
        reporter: Reporter,
        folder: Path,
        deadline: Deadline,
    ) -> SetupBootEnd:
        name = f"build-{self._recipe.template}"
        spec = self._spec()

        def say(text: str) -> None:
            writer.write(Stage(name="lease", phase="note", detail=text))

        with take_lease(
            spec.resource_request(), folder, what=f"the build of {self._recipe.template}", say=say
        ):
            machine = QemuMachine(spec, folder, writer, name=name, registry=self._registry)
            try:
                machine.start(deadline.within(START, "start QEMU"))
                with kept_small(machine.console, machine.debugcon, machine.log):
                    end = SetupBoot(machine, progress, reporter, self._pace, folder).run(deadline)
                    if end is SetupBootEnd.SHUTDOWN:
                        # Its own time too: until then its clock is the host's, in UTC.
                        self._stack.note(shutdown=utc(machine.events("SHUTDOWN")[0].qemu_us / 1e6))
                    return end
            finally:
                machine.close()

    def _gone_wrong(self, progress: BuildProgress, symptom: Symptom, folder: Path) -> TemplateFailed:
        reached = progress.reached
        diagnosis = diagnose(reached.stage, symptom)
        return TemplateFailed(
            sentence(reached.stage, symptom, reached.step_words()),
            hint=f"Likely cause: {diagnosis.likely}.\n{diagnosis.advice}\nCOM1: {folder / 'console.log'}",
            reached=reached.words(),
        )

    def _finish(self, reporter: Reporter, accelerator: str, deadline: Deadline) -> BuiltTemplate:
        recipe, stack = self._recipe, self._stack
        facts = _believed(stack.state.facts, recipe.needed)
        draft = self._store.draft(recipe.template)
        with reporter.stage("image") as said, disk_errors(draft):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(mode=0o755)
            disk_image.flatten(stack.disk, draft / DISK, deadline.within(FLATTEN, "write the image"))
            shutil.copyfile(stack.variables, draft / VARIABLES)
            files = {}
            for name in (DISK, VARIABLES):
                files[name] = sha256_of(draft / name, deadline.within(FLATTEN, "digest the image"))
                (draft / name).chmod(0o444)
            said.append(f"{(draft / DISK).stat().st_size >> 20} MiB")
        with disk_errors(draft):
            shutil.copytree(stack.folder / "log", draft / LOG)
            write_secret(draft / SECRETS, msgspec.json.encode(recipe.secrets))
            write_secret(draft / KEY, recipe.secrets.private_key.encode())
            (draft / DOCUMENT).write_text(recipe.document, encoding="utf-8")
            manifest = TemplateManifest(
                template=recipe.template,
                title=recipe.title,
                support=recipe.support,
                edition=recipe.edition,
                image=recipe.image,
                medium=recipe.medium,
                built=utc(time.time()),
                harness=harness.__version__,
                qemu=recipe.qemu_version,
                accelerator=accelerator,
                files=files,
                inputs=recipe.inputs,
                certificate=facts.pop(CERTIFICATE),
                host_key=facts.pop(HOST_KEY, ""),
                transfer=recipe.transfer,
                evaluation_days=recipe.evaluation_days,
                shutdown=stack.state.shutdown,
                stages=reporter.seconds,
                attempts=stack.state.attempts,
                facts=facts,
            )
            (draft / MANIFEST).write_bytes(
                msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
            )
            (draft / MANIFEST).chmod(0o444)
        built = self._store.publish(recipe.template, draft)
        stack.remove()
        return built


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that ``folder`` is on. Raises InfrastructureError."""
    with disk_errors(folder):
        return shutil.disk_usage(folder).free


def _believed(facts: dict[str, str], needed: tuple[str, ...]) -> dict[str, str]:
    """Return the facts that are of a known kind and form. Raises TemplateFailed if a needed one is not among them."""
    believed = {name: value for name, value in facts.items() if fact_fits(name, value)}
    for name in sorted({*needed, CERTIFICATE} - believed.keys()):
        told = f"told {facts[name][:100]!r} as its {name}" if name in facts else f"never told its {name}"
        raise TemplateFailed(
            f"the guest {told}",
            hint=f"The step that sets it up must write 'HPN-MARK fact {name} VALUE' on COM1 before the done marker.",
            reached="shutdown",
        )
    return believed
