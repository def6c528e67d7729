# SPDX-License-Identifier: MIT
"""``start.ps1``, executed: every end of it is told to the host, and what it leaves keeps the promises of a template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from powershell import texts
from powershell.conftest import MakeWorld
from powershell.provisioning import CONTROL, TEMPLATE, furnish, start
from powershell.server import Server

from harness.template import promise, provision
from harness.template.serial_markers import DoneMarker, FailMarker, StageMarker, StepMarker
from harness.transport.powershell import Windows

pytestmark = pytest.mark.powershell

QUIET = "20-quiet.ps1"


def step(folder: Path, text: str) -> None:
    """Make one step of so many lines the only one."""
    (folder / QUIET).write_text("param($Settings)\nSet-StrictMode -Version Latest\n" + text, encoding="ascii")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Set-Service -Name x -Nmae y\n",
            "A parameter cannot be found that matches parameter name 'Nmae'. (line 3)",
        ),
        ("\n\n$nothing.Name\n", "'$nothing' cannot be retrieved because it has not been set. (line 5)"),
        ("function f { throw 'inner' }\n\nf\n", "inner (line 3)"),
        ("Invoke-Native -Tool 'nosuch.exe'\n", "nosuch.exe cannot be run: "),
        ("throw ('x' * 2000)\n", f"{'x' * 800} (line 3)"),
    ],
)
def test_a_step_that_throws_is_told_with_its_line(
    server: Server, make_world: MakeWorld, text: str, message: str
) -> None:
    """Whatever throws, the line is one of the step, and it is there however long the message is."""
    world = make_world()
    step(furnish(world, only=QUIET), text)
    ran = start(server, world)
    assert ran.failure is not None
    assert (1, 1, "quiet") == (ran.failure.number, ran.failure.count, ran.failure.name)
    assert message in ran.failure.message
    assert ran.failure.message.endswith(")")
    assert ("exit 1", False) == (ran.shown.printed[-1], ran.done)


def test_a_program_that_is_not_there_has_no_exit_code(server: Server, make_world: MakeWorld) -> None:
    """That of the program before it would pass for its own."""
    world = make_world()
    lines = "Invoke-Native -Tool 'bcdedit.exe'\nInvoke-Native -Tool 'nosuch.exe' -Arguments 'x'\nWrite-Fact -Name 'a' -Value 'b'\n"
    step(furnish(world, only=QUIET), lines)
    failure = start(server, world).failure
    assert failure is not None
    assert failure.message.startswith("nosuch.exe cannot be run: ")
    assert failure.message.endswith("(line 4)")


def test_a_program_is_told_in_its_own_words(server: Server, make_world: MakeWorld) -> None:
    """Both streams, as they are, without what PowerShell writes around an error."""
    world = make_world()
    world.program("bcdedit.exe", "echo out; echo 'The boot store is locked.' >&2; exit 5")
    step(furnish(world, only=QUIET), "Invoke-Native -Tool 'bcdedit.exe' -Arguments '/set', 'x'\n")
    failure = start(server, world).failure
    assert failure is not None
    said = failure.message.removeprefix("bcdedit.exe /set x ended with 5: ").removesuffix(" (line 3)")
    # Which stream comes first is not known; a line end is no printable character.
    assert ["The boot store is locked.", "out"] == sorted(each for each in said.split("?") if each)
    assert "NativeCommandError" not in failure.message


def test_settings_that_are_none_are_told(server: Server, make_world: MakeWorld) -> None:
    """Before the first step there is no step to name."""
    world = make_world()
    (furnish(world, only=QUIET) / "settings.json").write_text("{")
    failure = start(server, world).failure
    assert failure is not None
    assert (1, 1, "settings") == (failure.number, failure.count, failure.name)


def test_a_shutdown_that_is_refused_is_told(server: Server, make_world: MakeWorld) -> None:
    """A guest that stays on does not say that it is done."""
    world = make_world()
    world.program("shutdown.exe", "echo 'Access is denied.(5)' >&2; exit 5")
    step(furnish(world, only=QUIET), "")
    ran = start(server, world)
    assert ran.failure is not None
    assert "shutdown.exe /s /t 10 ended with 5: Access is denied.(5)" in ran.failure.message
    assert (False, "shutdown") == (ran.done, ran.failure.name)


@pytest.mark.parametrize("refused", [1, 2, 3, 4])
def test_com1_that_is_refused_half_way(server: Server, make_world: MakeWorld, refused: int) -> None:
    """Once: it is tried again. For good: the guest turns itself off, which the host sees, and exits with 1."""
    world = make_world()
    taken = "[IO.File]::WriteAllText('com1 is taken', '')\n"
    step(furnish(world, only=QUIET), taken if refused == 4 else "Write-Fact -Name 'a' -Value 'b'\n")
    opened = 0
    if refused < 4:
        probe = make_world()
        step(furnish(probe, only=QUIET), "Write-Fact -Name 'a' -Value 'b'\n")
        start(server, probe)
        opened = [call.number for call in probe.calls if call.name == "COM1"][refused - 1]
    world.fail(opened)
    ran = start(server, world)
    if refused < 4:
        assert (True, None, ["exit 0"]) == (ran.done, ran.failure, ran.shown.printed[-1:])
    else:
        assert [StageMarker("provisioning"), StepMarker(1, 1, "quiet")] == ran.markers
        programs = [each for each in world.calls if each.name == "shutdown.exe"]
        assert ["/s", "/t", "10"] == programs[-1].words
        assert "exit 1" == ran.shown.printed[-1]


def test_all_steps_in_their_order(server: Server, make_world: MakeWorld) -> None:
    """Each is told as it begins, then that all is done; nothing fails, and every fact that a build needs is told."""
    world = make_world()
    furnish(world)
    ran = start(server, world)
    names = [each.name for each in provision.steps(TEMPLATE)]
    assert names == [each.name for each in ran.markers if isinstance(each, StepMarker)]
    assert (StageMarker("provisioning"), DoneMarker()) == (ran.markers[0], ran.markers[-1])
    facts = {each.key for each in ran.markers if type(each).__name__ == "FactMarker"}
    assert {*provision.NEEDED, "ssh-host-key"} <= facts
    assert [] == [each for each in ran.markers if isinstance(each, FailMarker)]


def test_what_was_provisioned_keeps_its_promises(server: Server, make_world: MakeWorld) -> None:
    """``promises.ps1``, sent as it is sent, finds after the restart what the steps left, and every promise is kept."""
    world = make_world()
    furnish(world)
    line = f"& '{world.link}/provision/start.ps1'"
    restart = (
        f"$global:Registry['{CONTROL}']['SystemStartOptions'] = ' TESTSIGNING  HYPERVISORLAUNCHTYPE=OFF'\n"
        "$global:Cim['Win32_ComputerSystem'] = @([pscustomobject]@{ NumberOfLogicalProcessors = "
        f"{TEMPLATE.topology.processors} }})"
    )
    *_, shown = server.run(world, line, restart, texts.decoded(Windows().invoke(promise.script())))
    assert (False, []) == (shown.failed, shown.errors), shown
    seen = json.loads("".join(shown.printed))
    assert "20348.2340" == seen["build"]
    decoded = promise.decode("".join(shown.printed))
    assert ("0", "none", "HTTPS", "false", "false") == (
        decoded.logon,
        decoded.stored,
        decoded.listeners,
        decoded.basic,
        decoded.plain,
    )
    assert ("2", "1", "0", "15", "1") == (
        decoded.dump,
        decoded.nmi,
        decoded.restart,
        decoded.mask,
        decoded.update,
    )
