# SPDX-License-Identifier: MIT
"""Whole builds on real QEMU; the installer does what its script says.

Builds in which the firmware is not the matter start from SeaBIOS, which takes a tenth of UEFI firmware's processor time.
"""

from __future__ import annotations

import base64
import gzip
import os
import random
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ntfs import make_disk
from part_markers import needs

from harness.errors import InfrastructureError, MachineFailed, TemplateFailed, UsageError
from harness.history.reader import History
from harness.history.record import End, Qmp, Record, Stage
from harness.interrupts import ENDING, Interrupted, interruptible
from harness.machine.machine import MachineSpec, QmpEvent
from harness.template.boot import block_error
from harness.template.build import Recipe, Start, choose_checkpoint
from harness.template.checkpoints import BuildInputs, Checkpoint, CheckpointStack
from harness.template.clock import clock_start
from harness.template.guest_logs import GuestLog
from harness.template.manifest import seconds_of
from harness.template.progress import BuildPosition, StepWarning
from harness.template.stage import BuildStage, StageTimeout, StageTimeouts
from harness.template.store import BuiltTemplate
from tests.template.building import CERTIFICATE, FACT, INPUTS, MENDED, NAME, PACE, PASSWORD, Bench
from tests.template.scripted_medium import (
    bios_medium,
    boot_medium,
    compile_bios_setup,
    compile_setup,
    script_medium,
)

pytestmark = pytest.mark.qemu

OTHER = BuildInputs(installation={"medium": "1" * 64}, provisioning=INPUTS.provisioning)
WINPE = ["key 20", "mark stage winpe"]
COPYING = [*WINPE, "mark stage copying", "write 4", "install", "reset"]
FIRST_LOGON = ["mark stage first-logon", "mark stage installed", "reset"]
LAST = ["mark step 1 2 first", FACT, "mark step 2 2 second", "mark done", "shutdown"]


@pytest.fixture(scope="session")
@needs("qemu")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installer's medium, made once."""
    folder = tmp_path_factory.mktemp("installer")
    return boot_medium(folder / "boot.iso", compile_setup(folder))


@pytest.fixture(scope="session")
@needs("qemu")
def bios_boot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installer's medium for SeaBIOS, made once."""
    folder = tmp_path_factory.mktemp("bios-installer")
    return bios_medium(folder / "boot.iso", compile_bios_setup(folder))


@pytest.fixture
@needs("qemu")
def uefi_bench(tmp_path: Path, boot: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty store, and machines with UEFI firmware."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Bench(tmp_path, boot)


@pytest.fixture
@needs("qemu")
def bench(tmp_path: Path, bios_boot: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """An empty store, and machines with SeaBIOS."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Bench(tmp_path, bios_boot, uefi=False)


def _stages(records: list[Record]) -> list[str]:
    return [record.name for record in records if isinstance(record, Stage) and record.phase == "begin"]


def _keys(records: list[Record]) -> list[int]:
    """Return the numbers of the records of keys that were pressed."""
    return [
        record.n
        for record in records
        if isinstance(record, Qmp) and record.message.get("execute") == "send-key"
    ]


def _published(built: BuiltTemplate) -> None:
    """The files are what the manifest says, cannot be written, and only those that are meant to hold the password."""
    digest = subprocess.run(["sha256sum", built.disk], capture_output=True, text=True, check=True)
    assert built.manifest.files["disk.qcow2"] == digest.stdout.split()[0]
    modes = {
        name: stat.S_IMODE((built.folder / name).stat().st_mode)
        for name in ("disk.qcow2", "secrets.json", "key")
    }
    assert {"disk.qcow2": 0o444, "secrets.json": 0o600, "key": 0o600} == modes
    # Its runs begin when it was turned off, which was before its image was written, and not long ago.
    shutdown, finished = seconds_of(built.manifest.shutdown), seconds_of(built.manifest.built)
    assert finished - 300 < shutdown <= finished
    assert finished - 240 < clock_start(built.manifest).clock.start <= finished + 60
    assert PASSWORD == built.secrets().password
    logs = [file for file in (built.folder / "log").rglob("*") if file.is_file()]
    assert logs
    assert [] == [file for file in logs if PASSWORD.encode() in file.read_bytes()]


def _failing(bench: Bench, script: list[str], kind: type[Exception] = TemplateFailed, **options: Any) -> Any:
    """Build, and return the error that ended it."""
    with pytest.raises(kind) as caught:
        bench.build(bench.recipe(script), **options)
    return caught.value


def _pace(stage: BuildStage, whole: float, still: float) -> StageTimeouts:
    return StageTimeouts(PACE.factor, {stage: StageTimeout(whole, still)})


def test_a_stall_is_told_with_a_picture_and_its_diagnosis(bench: Bench) -> None:
    """When nothing at all happens the build ends, and shows the screen that the guest stopped at."""
    error = _failing(bench, [*WINPE, "say Where is the disk?", "hang"], pace=_pace(BuildStage.WINPE, 600, 2))
    assert "nothing happened in stage WinPE: 2 s" == error.message
    assert "Setup shows a question" in error.hint
    picture = Path(error.hint.partition("Screenshot: ")[2].splitlines()[0])
    assert b"\x89PNG" == picture.read_bytes()[:4]


def test_a_stage_that_never_ends_is_told_though_things_happen(bench: Bench) -> None:
    """A screen that keeps changing is no stall, and is ended by the stage's own limit."""
    error = _failing(bench, [*WINPE, "mark stage copying", "blink"], pace=_pace(BuildStage.COPYING, 2, 600))
    assert "stage copying took too long: 2 s" == error.message


def test_a_medium_that_does_not_start_is_told(uefi_bench: Bench, tmp_path: Path) -> None:
    """Firmware that finds nothing to start ends in the firmware stage."""
    uefi_bench.boot = script_medium(tmp_path / "data.iso", ["not", "bootable"])
    error = _failing(uefi_bench, ["hang"], pace=_pace(BuildStage.FIRMWARE, 2, 600))
    assert "stage firmware took too long: 2 s" == error.message
    assert "not bootable with UEFI" in error.hint


def test_a_failed_step_is_told_in_the_guests_words(bench: Bench) -> None:
    """The step, its name and its message; what the guest did before the step is kept."""
    error = _failing(
        bench,
        [*WINPE, "mark step 1 2 first", "mark fail 1 2 first Access is \x1bdenied.", "mark logs", "hang"],
    )
    assert "provisioning step 1 of 2 (first) failed: Access is ?denied." == error.message
    assert "provisioning, step 1 of 2 (first)" == error.reached


def test_a_shutdown_before_the_done_mark_is_no_success(bench: Bench) -> None:
    """Setup that gives up turns the machine off, which makes no template."""
    error = _failing(bench, [*WINPE, "shutdown"])
    assert "the guest turned itself off in stage WinPE" == error.message
    assert bench.store.built(NAME) is None


def test_a_guest_that_panics_is_told(bench: Bench) -> None:
    """A crash the guest announces itself ends the build at once."""
    assert "the guest crashed in stage WinPE" == _failing(bench, [*WINPE, "panic"]).message


@pytest.mark.root
def test_a_full_disk_of_the_host_is_told_and_the_work_kept(bench: Bench) -> None:
    """QEMU stops the guest when its disk cannot grow; the build says so, and goes on once there is room."""
    folder = bench.store.checkpoints(NAME)
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        error = _failing(bench, [*WINPE, "write 64", "hang"], InfrastructureError)
        assert "the host's disk is full" in error.message
        assert "continues at the last checkpoint" in error.hint
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_guest_that_goes_round_in_circles_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Restarts that lead nowhere, and a medium that is started again although the disk was to be."""
    monkeypatch.setattr("harness.template.build.MOST_RESETS", 0)
    error = _failing(bench, [*COPYING, "reset", "hang"])
    assert "the guest restarted again and again in stage specialize" == error.message
    assert "The same command continues at specialize" in error.hint
    error = _failing(bench, [*COPYING, "mark stage winpe", "hang"])
    assert "the guest began again in stage specialize" == error.message


@pytest.mark.parametrize("number", ENDING)
def test_each_signal_ends_a_build_at_any_record(bench: Bench, number: signal.Signals) -> None:
    """At a drawn record of the log: the log is closed, no machine is left, and what was done is kept for the next."""
    seed = random.randrange(1 << 30)
    struck = random.Random(seed).randrange(1, 40)

    def interrupt(record: Record) -> None:
        if record.n == struck:
            os.kill(os.getpid(), number)

    with interruptible(), pytest.raises(Interrupted, match=f"interrupted by {number.name}"):
        # Whatever is done by then, the guest hangs: the signal alone ends the build.
        bench.build(bench.recipe([*WINPE, "hang"]), listen=interrupt)
    (log,) = bench.store.checkpoints(NAME).rglob("history.jsonl")
    history = History(log.parent)
    last = list(history)[-1]
    assert (history.damage, isinstance(last, End) and last.outcome) == ("", "interrupted"), (seed, struck)
    assert [] == bench.registry.entries(), (seed, struck)
    with bench.store.building(NAME):
        assert CheckpointStack.read(bench.store.checkpoints(NAME)) is not None


def test_a_build_goes_on_after_the_last_restart_whatever_interrupted_it(bench: Bench) -> None:
    """From "press any key" to a template, with a killed QEMU and Ctrl-C in between."""
    hanging = [*COPYING, "mark stage specialize", "reset", "mark step 1 2 first", "hang"]

    def kill(record: Record) -> None:
        """End the QEMU of the second boot as soon as its guest runs."""
        resumed = isinstance(record, Qmp) and record.message.get("event") == "RESUME"
        if resumed and "specialize" in _stages(bench.records):
            for entry in bench.registry.entries():
                if entry.qemu is not None:
                    os.kill(entry.qemu.pid, signal.SIGKILL)

    assert "killed by SIGKILL" in _failing(bench, hanging, MachineFailed, listen=kill).message
    assert ["firmware", "WinPE", "copying", "specialize"] == _stages(bench.records)
    started = next(
        record.n for record in bench.records if isinstance(record, Stage) and record.name == "WinPE"
    )
    assert _keys(bench.records)
    assert max(_keys(bench.records)) < started
    state = CheckpointStack.read(bench.store.checkpoints(NAME))
    assert (1, BuildStage.SPECIALIZE) == (state and state.checkpoint, state and state.last.reached.stage)

    def interrupt(record: Record) -> None:
        if isinstance(record, Stage) and "step 1 of 2" in record.name and record.phase == "begin":
            signal.raise_signal(signal.SIGINT)

    bench.records.clear()
    with pytest.raises(KeyboardInterrupt):
        bench.build(bench.recipe(hanging), listen=interrupt)
    # The second restart came within a stage, so it made no checkpoint.
    assert ["specialize", "specialize", "provisioning, step 1 of 2 (first)"] == _stages(bench.records)
    assert [] == _keys(bench.records)
    assert [] == bench.registry.entries()

    bench.records.clear()
    built = bench.build(bench.recipe([*COPYING, "mark stage specialize", "reset", *LAST]))
    assert [
        "specialize", "specialize", "provisioning, step 1 of 2 (first)", "provisioning, step 2 of 2 (second)",
        "shutdown", "image",
    ] == _stages(bench.records)  # fmt: skip
    assert (3, CERTIFICATE) == (built.manifest.attempts, built.manifest.certificate)
    _published(built)
    assert not bench.store.checkpoints(NAME).exists()


def test_disk_and_variables_go_back_to_the_last_restart_together(uefi_bench: Bench) -> None:
    """From UEFI firmware to a template: both had gone on when the build was interrupted, and the guest compares them."""
    script = [*COPYING, "mark stage specialize", "reset", *LAST]
    restarts: list[int] = []

    def interrupt(record: Record) -> None:
        """Press Ctrl-C when the guest of the second boot, whose progress is saved, restarts the machine."""
        if isinstance(record, Qmp) and '"guest-reset"' in msgspec.json.encode(record.message).decode():
            restarts.append(record.n)
            if len(restarts) == 2:
                signal.raise_signal(signal.SIGINT)

    unhurried = StageTimeouts(2 * PACE.factor)
    with pytest.raises(KeyboardInterrupt):
        uefi_bench.build(uefi_bench.recipe(script), listen=interrupt, pace=unhurried)
    assert ["firmware", "WinPE", "copying", "specialize"] == _stages(uefi_bench.records)
    assert _keys(uefi_bench.records)
    variables = uefi_bench.store.checkpoints(NAME) / "variables.fd"
    gone_on = variables.read_bytes()

    uefi_bench.records.clear()
    script[script.index("reset", len(COPYING))] = "wait 1"
    built = uefi_bench.build(uefi_bench.recipe(script), pace=unhurried)
    assert "specialize" == _stages(uefi_bench.records)[0]
    assert 2 == built.manifest.attempts
    assert gone_on != built.variables.read_bytes()
    _published(built)


def test_a_failed_comfort_step_is_a_warning(bench: Bench) -> None:
    """It is told while the build goes on, once however often it is said, and kept in the manifest."""
    warn = "mark warn no Server Manager: Access is \x1bdenied."
    steps = ["mark stage provisioning", "mark step 1 2 quiet", warn, warn, *LAST[1:]]
    built = bench.build(bench.recipe([*WINPE, *steps]))
    warning = StepWarning("quiet", "no Server Manager: Access is ?denied.")
    assert (warning,) == built.manifest.warnings
    notes = [each.detail for each in bench.records if isinstance(each, Stage) and each.phase == "note"]
    assert 1 == notes.count("warning: quiet: no Server Manager: Access is ?denied.")


def test_a_mended_script_repeats_provisioning_only(bench: Bench) -> None:
    """From a failed step: a mended script, the same command, and no Setup; the guest reads the medium that was made anew.

    What the guest told before is forgotten with what it did. Afterwards the installation is kept for another time.
    """
    installed = [*WINPE, "mark stage copying", "write 4", "install", *FIRST_LOGON]
    failing = ["mark stage provisioning", "mark step 1 1 first", "mark fact build 1.1", "mark warn old", "mark fail 1 1 first no", "mark logs", "hang"]  # fmt: skip
    error = _failing(bench, [*installed, *failing])
    assert "The same command continues at installed; --from nothing starts from the beginning." in error.hint
    mended = ["mark stage provisioning", *LAST]
    bench.records.clear()
    built = bench.build(bench.recipe([*installed, *mended], inputs=MENDED))
    provisioned = [
        "installed", "provisioning", "provisioning, step 1 of 2 (first)", "provisioning, step 2 of 2 (second)",
        "shutdown", "image",
    ]  # fmt: skip
    assert provisioned == _stages(bench.records)
    assert ({}, ()) == (built.manifest.facts, built.manifest.warnings)
    assert {**MENDED.installation, **MENDED.provisioning} == built.manifest.inputs
    notes = [each.detail for each in bench.records if isinstance(each, Stage) and each.phase == "note"]
    assert "provisioning starts again: provision/10-first.ps1 changed" in notes

    state = CheckpointStack.read(bench.store.checkpoints(NAME))
    assert (1, True) == (state and state.checkpoint, state and state.finished)
    bench.records.clear()
    again = bench.build(bench.recipe([*installed, *mended], inputs=MENDED), start="installed")
    assert provisioned == _stages(bench.records)
    assert 1 == again.manifest.attempts


def test_logs_come_over_com1_after_a_failure(bench: Bench) -> None:
    """Those that the guest sends lie in logs/, without the password; what it does not send is named with the reason."""
    content = f"it broke, {PASSWORD}\r\n".encode() * 3
    packed = base64.b64encode(gzip.compress(content)).decode()
    half = len(packed) // 2
    logs = [
        f"mark log provisioning 1 2 {packed[:half]}", f"mark log provisioning 2 2 {packed[half:]}",
        f"mark log ../../etc/passwd 1 1 {packed}", f"mark log cbs 2 2 {packed}", "mark unread setuperr no file", "mark logs",
    ]  # fmt: skip
    error = _failing(bench, [*WINPE, "mark step 1 1 first", "mark fail 1 1 first no", *logs, "hang"])
    (folder,) = bench.store.checkpoints(NAME).rglob("logs")
    assert f"Logs of the guest: {folder} (provisioning.log)" in error.hint
    assert {"logs.json", "provisioning.log"} == {file.name for file in folder.iterdir()}
    kept = (folder / "provisioning.log").read_bytes()
    assert content.replace(PASSWORD.encode(), b"*" * len(PASSWORD)) == kept
    index = {
        each.name: each
        for each in msgspec.json.decode((folder / "logs.json").read_bytes(), type=list[GuestLog])
    }
    digest = subprocess.run(
        ["sha256sum", folder / "provisioning.log"], capture_output=True, text=True, check=True
    )
    found = index["provisioning"]
    assert ("COM1", len(content), digest.stdout.split()[0]) == (found.source, found.size, found.sha256)
    assert "piece 1 of 2 did not come" in index["cbs"].refused
    assert index["setuperr"].refused.endswith("COM1: no file")


@pytest.mark.ntfs
def test_logs_are_read_from_the_disk_of_a_guest_that_stands_still(
    uefi_bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever ended the build: the guest stalls, and its own disk is read once nobody has it open."""
    setup = b"2026-11-26 10:00:00, Error SP the disk is too small\r\n" * 100
    events = b"ElfFile\0" + bytes(range(256)) * 300
    disk = make_disk(
        tmp_path_factory.mktemp("ntfs"),
        {
            "Windows/Panther/setupact.log": setup,
            "$WINDOWS.~BT/Sources/Panther/setupact.log": b"copying",
            "Windows/System32/winevt/Logs/Microsoft-Windows-WinRM%4Operational.evtx": events,
        },
    )
    recipe = uefi_bench.recipe([*WINPE, "hang"])
    made = recipe.machine

    def machine(file: Path, variables: Path) -> MachineSpec:
        """Have the guest stand on a disk that has an NTFS volume."""
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, file], check=True
        )
        return made(file, variables)

    with pytest.raises(TemplateFailed, match="nothing happened in stage WinPE") as caught:
        uefi_bench.build(
            msgspec.structs.replace(recipe, machine=machine), pace=_pace(BuildStage.WINPE, 600, 3)
        )
    (folder,) = uefi_bench.store.checkpoints(NAME).rglob("logs")
    assert f"Logs of the guest: {folder} (setupact.log, setupact-copying.log, WinRM-Operational.evtx)" in str(
        caught.value.hint
    )
    assert [setup, b"copying", events] == [
        (folder / name).read_bytes()
        for name in ("setupact.log", "setupact-copying.log", "WinRM-Operational.evtx")
    ]


class TestWithoutABoot:
    """What ends a build before its first boot, or after its last."""

    def _state(self, bench: Bench, **changes: Any) -> Recipe:
        """Return a recipe, of which a build was interrupted with this state."""
        recipe = bench.recipe([])
        checkpoints = CheckpointStack(
            bench.store.checkpoints(NAME),
            inputs=recipe.inputs,
            variables=recipe.variables,
            size=recipe.disk_size,
        )
        checkpoints.rewind()
        checkpoints.checkpoint(Checkpoint(**changes))
        return recipe

    def test_a_disk_without_space_is_told_before_anything_is_done(self, bench: Bench) -> None:
        """With how much there is and how much it takes."""
        with pytest.raises(InfrastructureError, match=r"MiB are free .* may need 1073741824 MiB"):
            bench.build(bench.recipe([], space=1 << 50))

    def test_work_on_other_inputs_is_not_gone_on_with(self, bench: Bench) -> None:
        """Another medium needs a new beginning, which nobody but the user decides; each input that differs is named."""
        self._state(bench, reached=BuildPosition(BuildStage.SPECIALIZE))
        other = BuildInputs(installation={"medium": "1" * 64, "machine": "0" * 64})
        with pytest.raises(UsageError, match=r"made from another machine and medium\n") as caught:
            bench.build(bench.recipe([], inputs=other))
        assert f"template remove {NAME} --checkpoints" in caught.value.hint

    def test_from_installed_needs_that_checkpoint(self, bench: Bench) -> None:
        """It says what there is instead, and which input differs."""
        with pytest.raises(UsageError, match='no checkpoint "installed": nothing of a build is kept'):
            bench.build(bench.recipe([]), start="installed")
        self._state(bench, reached=BuildPosition(BuildStage.SPECIALIZE))
        with pytest.raises(UsageError, match="the interrupted build came to specialize only"):
            bench.build(bench.recipe([]), start="installed")
        bench.store.discard(NAME)
        self._state(bench, reached=BuildPosition(BuildStage.INSTALLED))
        other = BuildInputs(installation={"medium": "1" * 64}, provisioning={})
        with pytest.raises(UsageError, match="was made from another medium"):
            bench.build(bench.recipe([], inputs=other), start="installed")

    @pytest.mark.parametrize(
        ("stages", "finished", "inputs", "start", "number"),
        [
            ([BuildStage.SPECIALIZE, BuildStage.INSTALLED, BuildStage.DONE], False, INPUTS, "latest", 3),
            ([BuildStage.SPECIALIZE, BuildStage.INSTALLED, BuildStage.DONE], False, MENDED, "latest", 2),
            ([BuildStage.SPECIALIZE, BuildStage.INSTALLED, BuildStage.DONE], False, INPUTS, "installed", 2),
            ([BuildStage.SPECIALIZE], False, MENDED, "latest", 1),
            ([BuildStage.SPECIALIZE, BuildStage.PROVISIONING], False, MENDED, "latest", 1),
            ([BuildStage.SPECIALIZE, BuildStage.INSTALLED], True, INPUTS, "latest", 2),
            ([BuildStage.SPECIALIZE, BuildStage.INSTALLED], True, OTHER, "latest", 0),
            ([], False, OTHER, "latest", 0),
        ],
    )
    def test_the_checkpoint_is_chosen_by_what_it_depends_on(
        self,
        bench: Bench,
        stages: list[BuildStage],
        finished: bool,
        inputs: BuildInputs,
        start: Start,
        number: int,
    ) -> None:
        """Another script costs what provisioning did, another medium everything; an unfinished one is not thrown away."""
        recipe = bench.recipe([])
        stack = CheckpointStack(
            bench.store.checkpoints(NAME), inputs=INPUTS, variables=recipe.variables, size=recipe.disk_size
        )
        stack.rewind()
        for stage in stages:
            stack.checkpoint(Checkpoint(reached=BuildPosition(stage)))
        stack.note(finished=finished)
        choose_checkpoint(stack, NAME, inputs, start)
        stack.rewind()
        assert (number, inputs) == (stack.state.checkpoint, stack.state.inputs)
        kept = {int(file.stem.rpartition("-")[2]) for file in stack.folder.glob("layer-*.qcow2")}
        assert set(range(1, number + 2)) == kept

    def test_a_build_that_was_cut_after_its_last_boot_only_finishes(self, bench: Bench) -> None:
        """Nothing is booted again; without the space of a boot's logs it is the same template."""
        recipe = self._state(
            bench, reached=BuildPosition(BuildStage.DONE), facts={"certificate": CERTIFICATE, "surprise": "x"}
        )
        built = bench.build(recipe)
        assert {"image"} == set(_stages(bench.records))
        assert (CERTIFICATE, {}) == (built.manifest.certificate, built.manifest.facts)

    @pytest.mark.parametrize(
        ("facts", "says"),
        [({}, "never reported its certificate"), ({"certificate": "x"}, "reported 'x' as its certificate")],
    )
    def test_without_its_certificate_a_guest_is_no_template(
        self, bench: Bench, facts: dict[str, str], says: str
    ) -> None:
        """Nobody could know it again."""
        recipe = self._state(bench, reached=BuildPosition(BuildStage.DONE), facts=facts)
        with pytest.raises(TemplateFailed, match=says):
            bench.build(recipe)
        assert bench.store.built(NAME) is None

    @pytest.mark.parametrize(
        ("data", "says"),
        [
            ({"node-name": "disk0", "operation": "write", "nospace": True}, "the host's disk is full"),
            (
                {"node-name": "cdrom1", "operation": "read", "reason": "Input/output error"},
                "could not read the installation medium: Input/output error",
            ),
            (
                {"node-name": "disk0", "operation": "write", "reason": "x"},
                "could not write the guest's disk: x",
            ),
            ({}, "the guest's disk"),
        ],
    )
    def test_what_qemu_cannot_read_or_write_is_told(
        self, data: dict[str, Any], says: str, tmp_path: Path
    ) -> None:
        """A full disk, a medium that cannot be read and a broken disk are three things to do something about."""
        event = QmpEvent(name="BLOCK_IO_ERROR", data=data, serial=1, host_ns=1, qemu_us=1)
        assert says in block_error(event, tmp_path).message
