# SPDX-License-Identifier: MIT
"""The build of a template: boot Setup repeatedly until the guest reports that all is done and turns itself off.

Every restart of the guest ends QEMU and starts it again: for the guest a cold start instead of a warm one, for the host the
moment at which no process uses the disk. If the build has progressed since the last checkpoint, that moment becomes the
next one (:mod:`harness.template.checkpoints`). If not (the guest crashed, or restarts within a stage), the build continues.

A build begins at the last checkpoint whose inputs are still the same. :func:`choose_checkpoint` decides.
"""

from __future__ import annotations

import contextlib
import dataclasses
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
from harness.history.json_file import indented
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
from harness.template.adopted_disk import AdoptedDisk
from harness.template.answer import write_secret
from harness.template.boot import SetupBoot, SetupBootEnd, full_disk
from harness.template.checkpoints import (
    BuildInputs,
    Checkpoint,
    CheckpointStack,
    CheckpointState,
    differences,
    disk_errors,
)
from harness.template.diagnosis import Symptom, diagnose, sentence
from harness.template.guest_logs import bring_out
from harness.template.guest_logs import words as words_of_logs
from harness.template.manifest import GuestCredentials, Medium, TemplateManifest, sha256_of, utc
from harness.template.progress import MOST_RESETS, BuildPosition, BuildProgress
from harness.template.provision import NEEDED, fact_fits
from harness.template.reporter import Reporter
from harness.template.serial_logs import SerialLogs
from harness.template.serial_markers import SerialMarker
from harness.template.stage import BuildStage, StageTimeouts
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
"""Bytes that must be free: the layers of an installed Windows, and the image made of them."""

FULL = 1 << 20
"""Bytes. A disk with less free space counts as full."""

START = 60.0
FLATTEN = 7200.0
"""Seconds to start QEMU, and to write the finished image."""

CERTIFICATE, HOST_KEY = "certificate", "ssh-host-key"
"""Facts that the guest reports, and by which the harness later identifies it."""


Start = Literal["latest", "installed", "nothing"]
"""Where a build begins: at the last checkpoint that its inputs allow, at *installed*, or with an empty disk."""


class WindowsRelease(msgspec.Struct, frozen=True):
    """A Windows release: the edition by its name in the template, the image's description, and 0 or its days of evaluation."""

    edition: str
    image: str
    evaluation_days: int


Visit = Callable[[QemuMachine], list[SerialMarker]]
"""Logs on to the guest of a running machine, and returns what it learnt as markers."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """All inputs of one build. ``machine`` makes the machine from the disk and the variables that it is to have.

    ``inputs`` names everything the template is made from, each with its SHA-256.
    ``variables`` is the firmware's empty variable store. Sizes are in bytes. The build is not complete without the facts
    ``needed``. ``document`` is the text of the template's template.toml.

    An adopted disk is ``source``. It has no Setup, so the build begins at the stage ``begin`` with a visit. ``identify`` returns
    the Windows release from the facts.
    """

    template: str
    title: str
    support: str
    edition: str
    image: str
    medium: Medium
    inputs: BuildInputs
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
    source: AdoptedDisk | None = None
    begin: BuildPosition = BuildPosition()
    identify: Callable[[dict[str, str]], WindowsRelease] | None = None


@dataclasses.dataclass(eq=False)
class TemplateBuild:
    """One build of ``recipe`` into ``store``. The caller holds the store's lock for it."""

    recipe: Recipe
    store: Store
    _: dataclasses.KW_ONLY
    pace: StageTimeouts
    listeners: tuple[Listener, ...] = ()
    registry: Registry = dataclasses.field(default_factory=Registry)
    start: Start = "latest"
    visit: Visit | None = None

    def __post_init__(self) -> None:
        self._logs = SerialLogs()
        self._shutdown = ""
        self._stack = CheckpointStack(
            self.store.checkpoints(self.recipe.template),
            inputs=self.recipe.inputs,
            variables=self.recipe.variables,
            size=self.recipe.disk_size,
            source=self.recipe.source,
        )

    def run(self, deadline: Deadline) -> BuiltTemplate:
        """Build, from the checkpoint that ``start`` names, and return the result.

        Raises TemplateFailed for a failure of the guest or Setup, InfrastructureError for one of the host, UsageError if
        the stored checkpoints were made from something else, MachineFailed if QEMU died. The checkpoints are always kept.
        """
        self._check_space()
        why = choose_checkpoint(self._stack, self.recipe.template, self.recipe.inputs, self.start)
        folder = self._stack.log_folder()
        outcome: Literal["completed", "failed", "interrupted"] = "failed"
        with HistoryWriter(folder) as writer:
            for listener in self.listeners:
                writer.subscribe(listener)
            reporter = Reporter(writer, self._stack.state.last.seconds)
            try:
                writer.write(
                    Header(
                        format=HISTORY_FORMAT,
                        harness=harness.__version__,
                        run=f"build-{self.recipe.template}",
                        guest=self.recipe.template,
                        wall=utc(time.time()),
                    )
                )
                writer.write(Clock(domain="host", hz=1_000_000_000))
                if why:
                    reporter.note(why)
                accelerator = self._install(writer, reporter, folder, deadline)
                built = self._finish(reporter, accelerator, deadline)
                outcome = "completed"
            except HarnessError as error:
                with contextlib.suppress(InfrastructureError):
                    reporter.end(error)
                if _free(folder) < FULL:
                    # QEMU, the log or a tool may meet it first.
                    raise full_disk(folder) from error
                if isinstance(error, TemplateFailed):
                    error.hint += f"\n{self._bring_logs(folder)}"
                if self._stack.state.checkpoint:
                    reached = self._stack.state.last.reached.words()
                    anew = invocation("template", "remove", self.recipe.template, "--checkpoints")
                    if self.recipe.source is None:
                        anew = "--from nothing"
                    error.hint += (
                        f"\nThe same command continues at {reached}; {anew} starts from the beginning."
                    )
                raise
            except KeyboardInterrupt:
                outcome = "interrupted"
                raise
            finally:
                # On a full disk the log cannot end properly. The error that ended the build is still reported.
                with uninterrupted(), contextlib.suppress(InfrastructureError):
                    reporter.end()
                    writer.write(End(outcome=outcome))
        return built

    def _check_space(self) -> None:
        free = _free(self.store.root)
        if free < self.recipe.space:
            raise InfrastructureError(
                f"{free >> 20} MiB are free in {self.store.root}, and a build of {self.recipe.template} may need {self.recipe.space >> 20} MiB",
                hint="Free some space there, or set HOTPLUG_HARNESS_TEMPLATES to a directory on another disk.",
            )

    def _bring_logs(self, folder: Path) -> str:
        """Fetch the guest's logs, and return a line about them. An error here does not hide the build's own."""
        secrets = (self.recipe.secrets.password, self.recipe.secrets.private_key)
        try:
            return words_of_logs(bring_out(self._logs, self._stack.disk, folder, secrets), folder)
        except HarnessError as error:
            return f"The guest's logs could not be fetched: {error.message}"

    def _install(self, writer: HistoryWriter, reporter: Reporter, folder: Path, deadline: Deadline) -> str:
        """Boot until all is done; and return the accelerator that was used."""
        stack = self._stack
        last = stack.state.last
        reached = last.reached if stack.state.checkpoint else self.recipe.begin
        progress = BuildProgress(reached, last.facts, last.warnings)
        if stack.state.checkpoint:
            reporter.note(f"continues after checkpoint {stack.state.checkpoint}: {last.reached.words()}")
        stack.rewind()
        accelerator = self._spec().accelerator
        while not stack.state.last.reached.stage.last:
            reporter.reach(progress.reached)
            end = self._boot(writer, progress, reporter, folder, deadline)
            if end is SetupBootEnd.SHUTDOWN and not progress.done:
                raise self._gone_wrong(progress, Symptom.TURNED_OFF, folder)
            if end is SetupBootEnd.RESTART:
                progress.reset()
            reporter.end()
            if progress.reached.order > stack.state.last.reached.order and (
                end is SetupBootEnd.SHUTDOWN or not progress.done
            ):
                stack.checkpoint(
                    Checkpoint(
                        reached=progress.reached,
                        facts=progress.facts,
                        warnings=tuple(progress.warnings),
                        seconds=reporter.seconds,
                        shutdown=self._shutdown,
                    )
                )
            elif progress.resets > MOST_RESETS:
                raise self._gone_wrong(progress, Symptom.RESETS, folder)
        return accelerator

    def _spec(self) -> MachineSpec:
        return self.recipe.machine(self._stack.disk, self._stack.variables)

    def _boot(
        self,
        writer: HistoryWriter,
        progress: BuildProgress,
        reporter: Reporter,
        folder: Path,
        deadline: Deadline,
    ) -> SetupBootEnd:
        name = f"build-{self.recipe.template}"
        spec = self._spec()

        def say(text: str) -> None:
            writer.write(Stage(name="lease", phase="note", detail=text))

        with take_lease(
            spec.resource_request(), folder, what=f"the build of {self.recipe.template}", say=say
        ):
            machine = QemuMachine(spec, folder, writer, name=name, registry=self.registry)
            try:
                machine.start(deadline.within(START, "start QEMU"))
                with kept_small(machine.console, machine.debugcon, machine.log):
                    pay = self.visit
                    visits = pay is not None and progress.reached.order <= self.recipe.begin.order
                    boot = SetupBoot(
                        machine,
                        progress,
                        reporter,
                        self.pace,
                        folder,
                        self._logs,
                        (lambda: pay(machine)) if pay is not None and visits else None,
                    )
                    end = _written_out(machine, lambda: boot.run(deadline))
                    if end is SetupBootEnd.SHUTDOWN:
                        # The guest's own time too: until then its clock is the host's, in UTC.
                        self._shutdown = utc(machine.events("SHUTDOWN")[0].qemu_us / 1e6)
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
        recipe, stack = self.recipe, self._stack
        facts = _believed(stack.state.last.facts, recipe.needed)
        transfer = recipe.transfer
        if recipe.source is not None:
            transfer = "sftp" if HOST_KEY in facts else "winrm"
        identity = WindowsRelease(recipe.edition, recipe.image, recipe.evaluation_days)
        if recipe.identify is not None:
            identity = recipe.identify(facts)
        draft = self.store.draft(recipe.template)
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
                origin="adopted" if recipe.source is not None else "built",
                edition=identity.edition,
                image=identity.image,
                medium=recipe.medium,
                built=utc(time.time()),
                harness=harness.__version__,
                qemu=recipe.qemu_version,
                accelerator=accelerator,
                files=files,
                inputs={**recipe.inputs.installation, **recipe.inputs.provisioning},
                certificate=facts.pop(CERTIFICATE),
                host_key=facts.pop(HOST_KEY, ""),
                transfer=transfer,
                evaluation_days=identity.evaluation_days,
                shutdown=stack.state.last.shutdown,
                stages=reporter.seconds,
                attempts=stack.state.attempts,
                facts=facts,
                warnings=stack.state.last.warnings,
            )
            (draft / MANIFEST).write_bytes(indented(manifest))
            (draft / MANIFEST).chmod(0o444)
        built = self.store.publish(recipe.template, draft)
        stack.finish()
        return built


def _written_out(machine: QemuMachine, run: Callable[[], SetupBootEnd]) -> SetupBootEnd:
    """Run a boot. After a failure stop the guest: its disk is read next, and a stop writes all data out (do_vm_stop)."""
    try:
        return run()
    except TemplateFailed:
        with contextlib.suppress(HarnessError):
            machine.pause(Deadline(START, "stop the guest"))
        raise


def check_installed(state: CheckpointState | None, name: str) -> None:
    """Raise UsageError if there is no checkpoint *installed*, with what there is instead."""
    if state is not None and state.installed:
        return
    if state is None or not state.checkpoint:
        kept, advice = "nothing of a build is kept", "Build it from its medium, without --from: "
    else:
        kept = f"the interrupted build came to {state.last.reached.words()} only"
        advice = "Go on with it, without --from: "
    raise UsageError(
        f'{name} has no checkpoint "installed": {kept}',
        hint=advice + invocation("template", "build", name, "--iso", "PATH"),
    )


def choose_checkpoint(stack: CheckpointStack, name: str, inputs: BuildInputs, start: Start) -> str:
    """Go back as far as ``start`` says and the changed inputs require. Return why, "" if that is not necessary.

    Raises UsageError if the stored installation was made from something else, which only the user may discard, or if
    *installed* is requested and does not exist.
    """
    state = stack.state
    if start == "installed":
        check_installed(state, name)
    another = differences(state.inputs.installation, inputs.installation)
    if another and state.checkpoint and (start == "installed" or not state.finished):
        raise UsageError(
            f"what is kept of a build of {name} was made from another {_listed(another)}",
            hint="Give the same as before, or discard it: "
            + invocation("template", "remove", name, "--checkpoints"),
        )
    mended = differences(state.inputs.provisioning, inputs.provisioning)
    number, why = state.checkpoint, ""
    if another:
        number, why = 0, f"starts from the beginning: another {_listed(another)} than that of the last build"
    elif mended or start == "installed":
        why = (
            f"provisioning starts again: {_listed(mended)} changed" if mended else "provisioning starts again"
        )
        number = sum(each.reached.stage.place <= BuildStage.INSTALLED.place for each in state.checkpoints)
    if number != state.checkpoint or inputs != state.inputs or state.finished:
        stack.go_back(number, inputs)
    return why


def _listed(names: list[str], most: int = 4) -> str:
    """Return names as text: *medium, edition and 3 more*."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def _free(folder: Path) -> int:
    """Return the free bytes of the disk that ``folder`` is on. Raises InfrastructureError."""
    with disk_errors(folder):
        return shutil.disk_usage(folder).free


def _believed(facts: dict[str, str], needed: tuple[str, ...]) -> dict[str, str]:
    """Return the facts that are of a known kind and form. Raises TemplateFailed if a needed one is not among them."""
    believed = {name: value for name, value in facts.items() if fact_fits(name, value)}
    for name in sorted({*needed, CERTIFICATE} - believed.keys()):
        told = (
            f"reported {facts[name][:100]!r} as its {name}" if name in facts else f"never reported its {name}"
        )
        raise TemplateFailed(
            f"the guest {told}",
            hint=f"The step that sets it up must write 'HPN-MARK fact {name} VALUE' on COM1 before the done marker.",
            reached="shutdown",
        )
    return believed
