# SPDX-License-Identifier: MIT
"""Every provisioning step, executed: when all works, when each call fails once, and twice in a row."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from powershell import texts
from powershell.conftest import MakeWorld
from powershell.provisioning import KINDS, TEMPLATE, Provisioned, furnish, start
from powershell.server import Call, Server, World

from harness.template import provision
from harness.template.serial_markers import FactMarker, StepMarker
from harness.template.template import templates_directory

pytestmark = pytest.mark.powershell

STEPS = [
    (step.script.name, kind)
    for step in provision.steps(TEMPLATE)
    for kind in (KINDS if step.name == "openssh" else ("inbox",))
]
MODULE = templates_directory() / "windows-common" / "provision" / "Provision.psm1"
HELPERS = re.findall(r"^function ([\w-]+)", MODULE.read_text(encoding="ascii"), re.MULTILINE)
"""What steps call for others; ``Invoke-Comfort``, if there is one, makes a warning of a failure."""

PASSED_OVER = {
    # Asked for again until the network is known: the step says for how long.
    "65-network.ps1": {"Get-NetConnectionProfile", "Set-NetConnectionProfile"},
    # Told as a fact: "sshd-test failed …".
    "82-conditions.ps1": {"sshd.exe"},
    # -ErrorAction SilentlyContinue: what may be missing.
    "10-account.ps1": {"Remove-ItemProperty"},
    "70-openssh.ps1-iso": {"Get-ChildItem"},
}
"""Calls that may fail without an end of the step, by step, besides COM1, which is tried again."""


Worked = Callable[[str, provision.OpenSsh], tuple[Provisioned, list[Call]]]


@pytest.fixture(scope="module")
def worked(server: Server, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Worked:
    """A function that runs a step of a kind, with nothing that fails, and returns what it told and the calls that it made."""
    programs = texts.programs()

    @functools.cache
    def work(name: str, kind: provision.OpenSsh) -> tuple[Provisioned, list[Call]]:
        world = World(tmp_path_factory.mktemp("worked"), shared / "world", shared / "double", programs)
        furnish(world, kind, only=name)
        return start(server, world), world.calls

    return work


def each_step(test: object) -> object:
    """Run a test with each step, that of OpenSSH with each kind of it."""
    return pytest.mark.parametrize(
        ("name", "kind"),
        STEPS,
        ids=[name if name != "70-openssh.ps1" else f"{name}-{kind}" for name, kind in STEPS],
    )(test)


@each_step
def test_a_step_that_works_is_done(worked: Worked, name: str, kind: provision.OpenSsh) -> None:
    """It says the facts that the host knows, and nothing else than markers."""
    ran, _ = worked(name, kind)
    assert (None, True, ["exit 0"], []) == (ran.failure, ran.done, ran.shown.printed[-1:], ran.shown.errors)
    assert None not in ran.markers
    assert StepMarker(1, 1, name[3:-4]) == ran.markers[1]
    facts = {each.key: each.value for each in ran.markers if isinstance(each, FactMarker)}
    assert {} == {key: value for key, value in facts.items() if not provision.fact_fits(key, value)}


@each_step
def test_a_step_may_be_run_again(
    server: Server, make_world: MakeWorld, name: str, kind: provision.OpenSsh
) -> None:
    """Provisioning that was broken off is repeated: what is there already is no error."""
    world = make_world()
    furnish(world, kind, only=name)
    ran = start(server, world, times=2)
    assert (None, ["exit 0"]) == (ran.failure, ran.shown.printed[-1:])
    half = len(ran.markers) // 2
    assert ran.markers[:half] == ran.markers[half:]


@each_step
def test_each_call_that_fails_is_told(
    server: Server, make_world: MakeWorld, worked: Worked, name: str, kind: provision.OpenSsh
) -> None:
    """Each call of a double fails once: the host hears which step, why, and the line of the step that made the call."""
    made = [call for call in worked(name, kind)[1] if of_the_step(call, name)]
    calls = made
    if kind not in ("inbox", "none"):
        # What all kinds of OpenSSH do fails with the first.
        elsewhere = [place(call) for call in worked(name, "inbox")[1]]
        calls = [call for call in made if place(call) not in elsewhere]
    known = name if kind == "inbox" else f"{name}-{kind}"
    allowed = PASSED_OVER.get(known, set())
    wrong = []
    passed = set()
    for call in calls:
        world = make_world()
        folder = furnish(world, kind, only=name)
        world.fail(call.number)
        ran = start(server, world)
        source = (folder / name).read_text(encoding="ascii").splitlines()
        if call.name in allowed and f"call {call.number} is" not in str(ran.failure):
            passed.add(call.name)
        elif trouble := told(call, ran, world, source, name):
            wrong.append(f"call {call.number}, {call.name} {call.bound or call.words}: {trouble}")
    assert [] == wrong
    assert allowed & {each.name for each in calls} == passed


def of_the_step(call: Call, name: str) -> bool:
    """True for a call that the step makes, and not ``start.ps1`` for it."""
    return any(name in each for each in call.frames) if call.frames else call.name != "shutdown.exe"


def place(call: Call) -> tuple[str, list[str]]:
    """Where in the step a call is made: its line, or the words of a program."""
    return call.name, call.words or [each.rpartition("/")[2] for each in call.frames if ".ps1" in each]


def told(call: Call, ran: Provisioned, world: World, source: list[str], name: str) -> str:
    """Say what is wrong with the way in which a failure was told, "" if nothing."""
    if call.name == "COM1":
        # Busy once: it is tried again, and nothing is lost.
        return "" if ran.done and ran.failure is None else f"COM1 was refused once: {ran.markers}"
    if call.name == "Add-Content":
        # The log of provisioning: a log never ends a build.
        return "" if ran.done and ran.failure is None else f"the log was refused: {ran.markers}"
    failure = ran.failure
    words = f"call {call.number} is refused"
    if ran.done and any(" warn " in line and words in line for line in world.lines("com1")):
        return ""
    if failure is None or ran.done:
        return f"no failure was told: {ran.markers}, {ran.shown}"
    if (failure.name, ran.shown.printed[-1:]) != (name[3:-4], ["exit 1"]):
        return f"told of {failure.name}, {ran.shown.printed}"
    if words not in failure.message:
        return f"the words are lost: {failure.message}"
    line = re.search(r"\(line ([0-9]+)\)$", failure.message)
    if line is None:
        return f"no line: {failure.message}"
    at = int(line[1])
    # A failure that is told with more words is thrown again in the block behind the call.
    there = "\n".join(source[at - 1 - 12 * source[at - 1].lstrip().startswith("throw") : at])
    if call.name not in there and not any(each in there for each in HELPERS):
        return f"not the line of the call: {there.strip()!r}"
    if any("shutdown.exe" == each.name for each in world.calls):
        return "the guest turns itself off"
    return ""
