# SPDX-License-Identifier: MIT
"""The rehearsal of a plan: which mistakes it names, where, and what it lets pass."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from given_data import given as given_files
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadDocument, ExitCode, UsageError
from harness.run import operation as op
from harness.run.plan import MachineWishes, Plan, built_in_plans, decode_plan, find_plan
from harness.run.rehearsal import change_after_removal, rehearse
from harness.run.request import RunRequest
from harness.size import Size

CPU = '[[do]]\nop = "add-cpu"\n'
DIMM = '[[do]]\nop = "add-dimm"\nsize = "128 MiB"\n'
PAUSE = '[[do]]\nop = "pause"\n'
UNPLUG = '[[do]]\nop = "unplug"\ndevice = "x"\n'
ANSWER = '[[do]]\nop = "answer-unplugs"\n'
BOOT = '[[do]]\nop = "boot"\n'
STARTED = '[machine]\nstarted = "firmware"\n'
X = CPU + 'id = "x"\n'


def refused(body: str, *, guest: str = "twin", machine: str = "q35", **where: str) -> BadDocument:
    """Return what the rehearsal of a plan raises; its ``name`` is in line 1."""
    plan = decode_plan('name = "a"\n' + body, name="p.toml")
    with pytest.raises(BadDocument) as raised:
        rehearse(plan, guest=guest, machine=machine, **where)
    assert raised.value.exit_code is ExitCode.USAGE
    return raised.value


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        (CPU + "slot = 1\n", "p.toml:4: do[1] (add-cpu): processor slot 1 is taken by a processor", "Leave out slot"),
        (CPU + "slot = 6\n", "p.toml:4: do[1] (add-cpu): there is no processor slot 6: the machine's slots are 0 to 5", "max_processors"),
        (CPU + 'slot = 4\nid = "x"\n' + CPU + "slot = 4\n", "p.toml:8: do[2] (add-cpu): processor slot 4 is taken by device 'x'", ""),
        (CPU * 5, "p.toml:11: do[5] (add-cpu): no processor slot is left: the machine has 6, 2 filled at power-on", "max_processors"),
        ("[machine]\nmax_processors = 3\n" + CPU * 2, "p.toml:7: do[2] (add-cpu): no processor slot is left: the machine has 3", ""),
        (DIMM * 5, "p.toml:15: do[5] (add-dimm): no DIMM slot is left: the machine has 4", "dimm_slots"),
        ("[machine]\ndimm_slots = 0\n" + DIMM, "p.toml:5: do[1] (add-dimm): no DIMM slot is left: the machine has 0", ""),
        ('[machine]\nmax_memory = "768 MiB"\n' + DIMM * 3, "p.toml:12: do[3] (add-dimm): '128 MiB' does not fit: of max_memory 768 MiB, 0 MiB", ""),
        (DIMM + "node = 1\n", "p.toml:5: do[1] (add-dimm): there is no node 1: the machine's nodes are 0 to 0", "machine.nodes"),
        (CPU + 'id = "x"\n' + DIMM + 'id = "x"\n', "p.toml:8: do[2] (add-dimm): the id 'x' is taken by do[1]", ""),
        (CPU + 'id = "9x"\n', "p.toml:4: do[1] (add-cpu): QEMU takes no device id '9x'", "begins with a letter"),
        (CPU + 'id = "x y"\n', "p.toml:4: do[1] (add-cpu): QEMU takes no device id 'x y'", ""),
        (CPU + 'id = "x\\n"\n', "p.toml:4: do[1] (add-cpu): QEMU takes no device id 'x\\n'", ""),
        (CPU + 'id = ""\n', "p.toml:4: do[1] (add-cpu): QEMU takes no device id ''", ""),
        (PAUSE + CPU, "p.toml:5: do[2] (add-cpu): the guest is paused by do[1], and this add waits", "settle = false"),
        (PAUSE + '[[do]]\nop = "quiesce"\n', "p.toml:5: do[2] (quiesce): the guest is paused by do[1]", "resume"),
        (PAUSE + '[[do]]\nop = "veto-next"\n', "p.toml:5: do[2] (veto-next): the guest is paused", ""),
        (PAUSE + '[[do]]\nop = "reset"\n', "p.toml:5: do[2] (reset): the guest is paused", ""),
        (PAUSE + '[[do]]\nop = "expect"\nprocessors = 2\n', "p.toml:6: do[2] (expect): the guest is paused", ""),
        ('[[do]]\nop = "reset"\nadd_cpus = 5\n', "p.toml:4: do[1] (reset): 4 processor slots are left, not 5", ""),
        ('[[do]]\nop = "expect"\n', "p.toml:3: do[1] (expect): it demands nothing", "processors = 3"),
        ('[machine]\nmemory = "2 GiB"\nmax_memory = "1 GiB"\n' + CPU, "p.toml:3: machine.memory = 2048 MiB is more than max_memory, 1024 MiB", ""),
        ('[machine]\nmemory = "1 B"\n' + CPU, "p.toml:3: machine.memory = 1 B is not a whole number of MiB", "512 MiB"),
        ("[machine]\nprocessors = 9\n" + CPU, "p.toml:3: machine.processors = 9 is more than max_processors, 6", "max_processors"),
        ("[machine]\nnodes = 8\n" + CPU, "p.toml:3: machine.nodes = 8 is more than the machine can share out, 6", "slot"),
        (UNPLUG, "p.toml:4: do[1] (unplug): no operation before it adds a device 'x'", "Add it first"),
        (CPU + UNPLUG, "p.toml:6: do[2] (unplug): no operation before it adds a device 'x'", "There are: cpu-1."),
        (X + UNPLUG * 2, "p.toml:10: do[3] (unplug): 'x' is given back by do[2]", ""),
        (X + UNPLUG + 'expect = "refused"\n' + DIMM + 'id = "x"\n', "p.toml:12: do[3] (add-dimm): 'x' is still there: do[2] expects the guest to keep it", "another id"),
        (X + "slot = 4\n" + UNPLUG + 'expect = "kept"\n' + CPU + "slot = 4\n", "p.toml:12: do[3] (add-cpu): processor slot 4 is taken by device 'x', which is still there: do[2]", ""),
        (CPU * 4 + '[[do]]\nop = "unplug"\ndevice = "cpu-1"\nexpect = "ignored"\n' + CPU, "p.toml:15: do[6] (add-cpu): no processor slot is left", ""),
        (X + "settle = false\n" + UNPLUG, "p.toml:7: do[2] (unplug): do[1] was sent with settle = false and is not settled", "settle"),
        (X + PAUSE + UNPLUG, "p.toml:8: do[3] (unplug): the guest is paused by do[2]", "resume"),
        (X + ANSWER + 'by = "refuse"\n' + UNPLUG, "p.toml:9: do[3] (unplug): 'x' cannot be gone: do[2] has the twin refuse what it is asked for", 'expect = "refused"'),
        (X + ANSWER + 'by = "give"\n' + UNPLUG + 'expect = "kept"\n', "p.toml:11: do[3] (unplug): 'x' cannot be kept", 'expect = "gone"'),
        (BOOT, "p.toml:3: do[1] (boot): the guest has booted already", "machine.started"),
        (CPU + 'expect = "found"\n', "p.toml:4: do[1] (add-cpu): the guest has booted: what is added now is added and not found", ""),
        (STARTED + CPU + BOOT, "p.toml:5: do[1] (add-cpu): the guest has not booted, so that what is added is not added: it is found", 'expect = "found"'),
        (STARTED + CPU + 'expect = "vetoed"\n' + BOOT, "p.toml:6: do[1] (add-cpu): the guest has not booted, so that what is added is not vetoed", ""),
        (STARTED + '[[do]]\nop = "quiesce"\n' + BOOT, "p.toml:5: do[1] (quiesce): the guest has not booted (machine.started = 'firmware')", "boot"),
        (STARTED + '[[do]]\nop = "expect"\nprocessors = 2\n' + BOOT, "p.toml:5: do[1] (expect): the guest has not booted", ""),
        (STARTED + CPU + 'expect = "found"\n', "p.toml:3: machine.started = 'firmware' leaves the guest without a boot", 'op = "boot"'),
        ('[[do]]\nop = "add-nvdimm"\nsize = "128 MiB"\n', "p.toml:3: do[1] (add-nvdimm): it needs a machine that takes NVDIMMs", "[machine] nvdimm = true"),
        ('[[do]]\nop = "set-balloon"\nsize = "384 MiB"\n', "p.toml:3: do[1] (set-balloon): it needs a balloon", "[machine] balloon = true"),
        ('[[do]]\nop = "resize-virtio-mem"\nsize = "2 MiB"\n', "p.toml:3: do[1] (resize-virtio-mem): it needs a virtio-mem device", 'virtio_mem = "1 GiB"'),
        ('[machine]\nnvdimm = true\n[[do]]\nop = "add-nvdimm"\nsize = "100 MiB"\n', "p.toml:6: do[1] (add-nvdimm): '100 MiB' is not a multiple of 128 MiB", ""),
        ('[machine]\nnvdimm = true\n[[do]]\nop = "add-nvdimm"\nsize = "0 B"\n', "p.toml:6: do[1] (add-nvdimm): '0 B' is not a multiple of 128 MiB", ""),
        ('[machine]\nnvdimm = true\ndimm_slots = 1\n[[do]]\nop = "add-nvdimm"\nsize = "128 MiB"\n' + DIMM, "p.toml:9: do[2] (add-dimm): no DIMM slot is left", ""),
        ('[machine]\nnvdimm = true\n[[do]]\nop = "add-nvdimm"\nsize = "128 MiB"\nnode = 1\n', "p.toml:7: do[1] (add-nvdimm): there is no node 1", ""),
        ('[machine]\nvirtio_mem = "256 MiB"\n[[do]]\nop = "resize-virtio-mem"\nsize = "512 MiB"\n', "p.toml:6: do[1] (resize-virtio-mem): '512 MiB' is more than the device has, machine.virtio_mem = 256 MiB", ""),
        ('[machine]\nvirtio_mem = "256 MiB"\n[[do]]\nop = "resize-virtio-mem"\nsize = "1 MiB"\n', "p.toml:6: do[1] (resize-virtio-mem): '1 MiB' is not a multiple of 2 MiB", ""),
        ('[machine]\nvirtio_mem = "100 MiB"\n' + CPU, "p.toml:3: machine.virtio_mem = 100 MiB is not a multiple of 128 MiB", "1 GiB"),
        ('[machine]\nvirtio_mem = "4 GiB"\n' + CPU, "p.toml:3: machine.virtio_mem = 4096 MiB does not fit: of max_memory 4096 MiB, 3584 MiB are left", "max_memory"),
        ('[machine]\nballoon = true\n[[do]]\nop = "set-balloon"\nsize = "64 MiB"\n', "p.toml:6: do[1] (set-balloon): a balloon cannot leave the guest '64 MiB'", "at least 128 MiB"),
        ('[machine]\nballoon = true\n[[do]]\nop = "set-balloon"\nsize = "1 GiB"\n', "p.toml:6: do[1] (set-balloon): a balloon cannot leave the guest '1 GiB'", ""),
        (PAUSE + '[[do]]\nop = "set-balloon"\nsize = "384 MiB"\n', "p.toml:5: do[2] (set-balloon): the guest is paused", "resume"),
        ('[[do]]\nop = "verifier"\n', "p.toml:3: do[1] (verifier): the twin cannot show Driver Verifier: it is Linux", "Windows"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_before_anything_starts(body: str, message: str, hint: str) -> None:
    """With file and line, the operation, its value, and what would be right."""
    error = refused(body)
    assert error.message.startswith(message), error.message
    assert hint in error.hint


MIGRATE = '[[do]]\nop = "migrate"\n'
MIGRATING = MIGRATE + "settle = false\n"


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        (MIGRATING + CPU, "p.toml:6: do[2] (add-cpu): the guest is being migrated by do[1], and QEMU takes no device meanwhile", 'expect = "refused"'),
        (MIGRATING + DIMM, "p.toml:6: do[2] (add-dimm): the guest is being migrated by do[1]", '"settle"'),
        (MIGRATING + MIGRATE, "p.toml:6: do[2] (migrate): the guest is being migrated by do[1], and this cannot be until", '"settle"'),
        (MIGRATING + '[[do]]\nop = "reset"\n', "p.toml:6: do[2] (reset): the guest is being migrated", ""),
        (MIGRATING + '[[do]]\nop = "unplug"\ndevice = "x"\n', "p.toml:6: do[2] (unplug): the guest is being migrated", ""),
        (MIGRATING + '[[do]]\nop = "load-driver"\n', "p.toml:6: do[2] (load-driver): the guest is being migrated", ""),
        (MIGRATING + 'fail = "cancelled"\n', "p.toml:4: do[1] (migrate): a migration that is to fail does so at once", "Leave out settle"),
        ('[machine]\nvirtio_mem = "1 GiB"\n[[do]]\nop = "resize-virtio-mem"\nsize = "128 MiB"\n' + MIGRATE,
         "p.toml:8: do[2] (migrate): the guest cannot be migrated with what do[1] gave it", "Migrate before that"),
        (MIGRATE + 'qemu = "/no/such"\n', "p.toml:4: do[1] (migrate): there is no program '/no/such' to migrate to", "path of a QEMU"),
        (MIGRATE + 'qemu = "/etc/passwd"\n', "p.toml:4: do[1] (migrate): there is no program '/etc/passwd'", ""),
        (MIGRATE + 'qemu = "sh"\nfail = "other-machine"\n', "p.toml:4: do[1] (migrate): the other version of the machine type", "Leave out qemu"),
        ('[[do]]\nop = "drop-monitor"\nwhen = "before-reply"\n' + CPU + "rival = true\n",
         "p.toml:7: do[2] (add-cpu): two clients ask at once, and do[1] loses the connection at the next add", "another add"),
    ],
)  # fmt: skip
def test_what_cannot_be_in_a_migration_is_named(body: str, message: str, hint: str) -> None:
    """With file and line; what may be there is let pass."""
    error = refused(body)
    assert (True, True) == (error.message.startswith(message), hint in error.hint), error.message
    right = (
        MIGRATING
        + CPU
        + 'expect = "refused"\n'
        + '[[do]]\nop = "quiesce"\n'
        + '[[do]]\nop = "settle"\n'
        + CPU
    )
    rehearse(decode_plan('name = "a"\n' + right + PAUSE + MIGRATE, name="p.toml"), guest="twin")


@pytest.mark.parametrize(
    ("where", "words", "hint"),
    [
        (
            {"backend": "libvirt"},
            "libvirt migrates no guest that it is to destroy when its client ends",
            "--backend qemu",
        ),
        ({"kd": "listen"}, "the debugger's port is a socket of the QEMU that the guest would leave", "--kd"),
        ({"kd": "debugger"}, "the debugger's port is a socket", "--debugger"),
    ],
)
def test_where_a_guest_cannot_be_migrated_is_named(where: dict[str, str], words: str, hint: str) -> None:
    """Before the boot, with the reason and what to leave out."""
    error = refused(MIGRATE, **where)
    assert f"p.toml:3: do[1] (migrate): the guest cannot be migrated: {words}" in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("qemu = 3", "do[1].qemu"),
        ('qemu = ""', "do[1].qemu"),
        ('fail = "dies"', "do[1].fail: 'dies' is not one of its values"),
        ('target = "x"', "unknown key 'target'"),
        ("timeout = 0", "do[1].timeout"),
    ],
)
def test_bad_keys_of_a_migration_are_refused(key: str, message: str) -> None:
    """With file and line, as those of any operation."""
    with pytest.raises(BadDocument) as raised:
        decode_plan(f'name = "a"\n{MIGRATE}{key}\n', name="p.toml")
    assert ("p.toml:4: " in raised.value.message, message in raised.value.message) == (True, True), (
        raised.value.message
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('[[do]]\nop = "answer-unplugs"\nby = "refuse"\n', "how a guest answers"),
        ('[[do]]\nop = "wait-for"\nwhat = "ost"\n', "the firmware's _OST"),
    ],
)
@pytest.mark.parametrize("guest", ["host", "wine"])
def test_what_a_process_cannot_show_is_named(body: str, words: str, guest: str) -> None:
    """The same plan is right on the twin."""
    assert f"the guest {guest} cannot show {words}" in refused(body, guest=guest).message
    rehearse(decode_plan('name = "a"\n' + body, name="p.toml"), guest="twin")


def test_a_process_has_no_firmware() -> None:
    """Nothing is added before it boots."""
    for guest in ("host", "wine"):
        error = refused(STARTED + CPU + 'expect = "found"\n' + BOOT, guest=guest)
        assert (
            f"p.toml:3: machine.started = 'firmware' is nothing that the guest {guest} can show"
            in error.message
        )


def test_windows_gives_nothing_back() -> None:
    """A page says that it never does, and none how it answers: the outcome that can be expected is named."""
    error = refused(X + UNPLUG, guest="windows-server-2022")
    assert (
        "p.toml:6: do[2] (unplug): 'x' is never gone from windows-server-2022: Windows removes neither"
        in error.message
    )
    assert 'expect = "kept"' in error.hint
    refused(X + ANSWER + 'by = "refuse"\n', guest="windows-server-2022")
    for outcome in ("kept", "refused", "ignored"):
        rehearse(
            decode_plan(f'name = "a"\n{X}{UNPLUG}expect = "{outcome}"\n', name="p.toml"),
            guest="windows-server-2022",
        )


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        (CPU, (3, 2)),
        (DIMM, (3, 2)),
        ('[[do]]\nop = "reset"\n', (3, 2)),
        ('[[do]]\nop = "quiesce"\n' + CPU + 'expect = "refused"\n', None),
    ],
)
def test_what_changes_the_machine_after_a_processor_left(after: str, changes: tuple[int, int] | None) -> None:
    """It is known before the boot, for the QEMU that does not survive it."""
    plan = decode_plan(f'name = "a"\n{X}{UNPLUG}{after}', name="p.toml")
    assert changes == change_after_removal(plan, guest="twin")


def test_a_dimm_that_leaves_does_no_harm() -> None:
    """Only processors do; but a DIMM that is to leave after one does."""
    dimm = DIMM + 'id = "m"\n'
    leaves = '[[do]]\nop = "unplug"\ndevice = "m"\n'
    plan = decode_plan(f'name = "a"\n{dimm}{leaves}{dimm}{X}', name="p.toml")
    assert change_after_removal(plan, guest="twin") is None
    plan = decode_plan(f'name = "a"\n{dimm}{X}{UNPLUG}{leaves}', name="p.toml")
    assert change_after_removal(plan, guest="twin") == (4, 3)


@pytest.mark.parametrize("machine", ["microvm", "isapc", "microvm,acpi=on"])
def test_a_machine_type_without_hot_plug_is_named(machine: str) -> None:
    """Nothing can be added to it."""
    assert "takes no hot-added devices" in refused(CPU, machine=machine).message


@pytest.mark.parametrize(
    "body",
    [
        CPU + 'slot = 99\nexpect = "refused"\n',
        '[[do]]\nop = "add-dimm"\nsize = "5 MiB"\nexpect = "refused"\n',
        '[[do]]\nop = "add-dimm"\nsize = "0 B"\nexpect = "refused"\n',
        CPU * 4 + CPU + 'expect = "refused"\n',
        CPU + 'id = "x"\n' + DIMM + 'id = "x"\nnode = 7\nexpect = "refused"\n',
        PAUSE + CPU + 'expect = "refused"\n' + '[[do]]\nop = "resume"\n',
        PAUSE + (CPU + "settle = false\n") * 2 + '[[do]]\nop = "expect"\ndimms = 0\n[[do]]\nop = "resume"\n',
        PAUSE + '[[do]]\nop = "reset"\nadd_cpus = 1\n' + CPU,
        PAUSE + CPU + "settle = false\n",
        CPU + 'id = "x"\nslot = 5\n' + UNPLUG + CPU + 'id = "x"\nslot = 5\n',
        CPU + '[[do]]\nop = "unplug"\ndevice = "cpu-1"\n' + CPU * 4,
        DIMM + DIMM + 'id = "dimm-2"\n' + DIMM + '[[do]]\nop = "unplug"\ndevice = "dimm-3"\n',
        '[[do]]\nop = "reset"\nadd_cpus = 1\n[[do]]\nop = "unplug"\ndevice = "unseen-1-1"\n',
        CPU + 'id = "x"\n' + UNPLUG + 'expect = "refused"\nreason = "busy"\n' + UNPLUG,
        ANSWER + 'by = "give"\nlate = 2\n' + CPU + 'id = "x"\n' + UNPLUG + 'expect = "ignored"\n',
        ANSWER + 'by = "refuse"\n' + CPU + 'id = "x"\n' + UNPLUG + 'expect = "kept"\n',
        STARTED + CPU + 'expect = "found"\n' + BOOT + CPU,
        STARTED + CPU + 'slot = 99\nexpect = "refused"\n' + '[[do]]\nop = "expect"\ndimms = 0\n' + BOOT,
    ],
)
def test_what_may_be_is_let_pass(body: str) -> None:
    """An expected refusal, adds to a paused guest that are settled later, and a slot that may be free again.

    A plan may leave its guest paused: a program goes on from there, as the acceptance case that migrates it does.
    """
    rehearse(decode_plan('name = "a"\n' + body, name="p.toml"), guest="twin")


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ('backend = "memfd"\n', 5, "libvirt cannot be given a memfd for one DIMM"),
        ("prealloc = true\n", 5, "libvirt cannot be given preallocation for one DIMM"),
        ("share = true\n", 5, "libvirt cannot be given the sharing of memory that is not a file for one DIMM"),
        ('backend = "file"\nfile_size = "1 MiB"\nexpect = "refused"\n', 6, "libvirt cannot be given the size of a file"),
    ],
)  # fmt: skip
def test_what_libvirt_has_for_a_whole_domain_only(body: str, line: int, words: str) -> None:
    """The same plan is right with QEMU alone, and a file is right with both."""
    plan = decode_plan('name = "a"\n' + DIMM + body, name="p.toml")
    with pytest.raises(BadDocument, match=rf"p.toml:{line}: do\[1\] \(add-dimm\): {words}"):
        rehearse(plan, guest="twin", backend="libvirt")
    rehearse(plan, guest="twin")
    file = decode_plan(
        'name = "a"\n' + DIMM + 'backend = "file"\nshare = true\nhost_nodes = [0]\n', name="p.toml"
    )
    rehearse(file, guest="twin", backend="libvirt")


@pytest.mark.parametrize("name", built_in_plans())
def test_every_built_in_plan_is_right(name: str) -> None:
    """On every guest, and on guests with a template; some on the twin alone, or on guests that boot."""
    plan = find_plan(name)
    rehearse(plan, guest="twin")
    for guest in ("host", "wine", "windows-server-2022"):
        if name.startswith("unplug") or (name.startswith("found") and guest in ("host", "wine")):
            with pytest.raises(BadDocument, match=r"is never gone|cannot be told|cannot show|can show"):
                rehearse(plan, guest=guest)
            continue
        rehearse(plan, guest=guest)


def test_of_a_template_only_what_the_plan_says_is_known() -> None:
    """Its own numbers of slots may be larger than the harness's."""
    rehearse(decode_plan('name = "a"\n' + CPU * 20 + DIMM * 20, name="p.toml"), guest="windows-server-2022")
    said = "[machine]\nprocessors = 2\nmax_processors = 3\n" + CPU * 2
    assert "no processor slot is left" in refused(said, guest="windows-server-2022").message


def test_a_request_for_a_wrong_plan_is_refused(tmp_path: Path) -> None:
    """Before there is a run directory; a plan that a program made is named by its name."""
    plan = Plan(name="mine", machine=MachineWishes(dimm_slots=0), do=[op.AddDimm(size=Size("128 MiB"))])
    with pytest.raises(BadDocument, match=r"^plan mine: do\[1\] \(add-dimm\): no DIMM slot is left"):
        RunRequest(plan=plan, runs=tmp_path, cache=tmp_path, argv=[])
    assert [] == [*tmp_path.iterdir()]


def test_a_plan_with_other_wishes_has_no_lines() -> None:
    """The text that it was decoded from does not say what it asks for any more."""
    plan = decode_plan('name = "a"\n' + CPU, name="p.toml")
    assert ("p.toml", ("", "")) == (plan.origin[1], msgspec.structs.replace(plan, summary="b").origin)


@pytest.mark.parametrize("path", given_files("plans", "*.toml"))
def test_the_given_plans_are_refused(path: Path) -> None:
    """Each with its file and a line; the one that is right is right."""
    plan = find_plan(str(path))
    for guest in ("twin", "host", "wine"):
        if path.name == "dupid.toml":
            rehearse(plan, guest=guest)
            continue
        with pytest.raises(BadDocument, match=rf"{path.name}:\d+: do\[\d\] \(add-"):
            rehearse(plan, guest=guest)


ADDS = st.one_of(
    st.builds(
        op.AddCpu, slot=st.none() | st.integers(0, 7), id=st.none() | st.sampled_from(["a", "b", "cpu-2"])
    ),
    st.builds(op.AddDimm, size=st.just(Size("128 MiB")), node=st.none() | st.integers(0, 2)),
)


@given(adds=st.lists(ADDS, min_size=1, max_size=8), slots=st.integers(0, 3), most=st.integers(2, 7))
def test_it_agrees_with_a_machine(adds: list[op.AddCpu | op.AddDimm], slots: int, most: int) -> None:
    """A plan is right exactly if a machine that keeps lists of what it has takes every add."""
    plan = Plan(name="p", machine=MachineWishes(max_processors=most, dimm_slots=slots), do=list(adds))
    taken, ids, dimms, right = {0, 1}, set[str](), 0, True
    for add in adds:
        if add.id is not None:
            right &= add.id not in ids
            ids.add(add.id)
        if isinstance(add, op.AddCpu):
            free = [slot for slot in range(most) if slot not in taken]
            right &= bool(free) if add.slot is None else add.slot in free
            taken.update(free[:1] if add.slot is None else [add.slot])
        else:
            dimms += 1
            right &= dimms <= slots and not add.node
    if right:
        rehearse(plan, guest="twin")
    else:
        with pytest.raises(BadDocument):
            rehearse(plan, guest="twin")


@pytest.mark.parametrize("machine", ["nope", "", "pc q35", "q35-7.2"])
def test_a_machine_type_that_qemu_does_not_have(machine: str) -> None:
    """The option is named, and what to give."""
    plan = decode_plan('name = "a"\n' + CPU, name="p.toml")
    with pytest.raises(UsageError, match=r"--machine .* is not a machine type of QEMU") as refused:
        rehearse(plan, guest="twin", machine=machine)
    assert "pc-q35-" in refused.value.hint
    rehearse(plan, guest="host", machine=machine)


@pytest.mark.parametrize(
    "machine", ["q35", "pc", "pc-q35-7.2", "pc-i440fx-jammy-hpb", "q35,kernel-irqchip=split"]
)
def test_a_machine_type_that_qemu_has(machine: str) -> None:
    """Distributions give their versions names of their own."""
    rehearse(decode_plan('name = "a"\n' + CPU, name="p.toml"), guest="twin", machine=machine)


def test_a_plan_has_a_name() -> None:
    """Runs, reports and results are found by it."""
    with pytest.raises(BadDocument, match=r"p.toml:1: name: expected text in quotes of at least 1 character"):
        decode_plan('name = ""\n' + CPU, name="p.toml")
