# SPDX-License-Identifier: MIT
"""Every script that the harness sends into Windows, executed as it is sent: it answers in the one form that is read.

When all works; when each call fails, once; when each question is answered by nothing; and twice in a row.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from powershell import texts
from powershell.conftest import MakeWorld
from powershell.server import Server, Shown, World

from harness.errors import GuestRefused
from harness.guest.windows import answer, script
from harness.guest.windows.driver_files import PNP_SERVICE
from harness.guest.windows.facts import Facts
from harness.guest.windows.shell import ANSWERS, HOME
from harness.transport.powershell import Windows

pytestmark = pytest.mark.powershell

SC = """\
case "$1" in
    create) [ ! -f "service-$2" ] || { echo '[SC] CreateService FAILED 1073:'; exit 73; }
        printf 'Stopped\\n%s\\n' "$8" > "service-$2" ;;
    start) printf 'Running\\n' > "service-$2" ;;
    stop) printf 'Stopped\\n' > "service-$2" ;;
    delete) rm "service-$2" ;;
esac"""
BCDEDIT = """\
if [ "$1" = /enum ]; then cat bcd 2>/dev/null; exit 0; fi
if [ "$1" = /deletevalue ] && ! grep -q "^$3 " bcd 2>/dev/null; then
    echo 'An error has occurred setting the element data.'
    echo 'Element not found.'
    exit 1
fi"""


def tool(world: World) -> str:
    """The path of hpnctl in a world."""
    return f"{world.link}/bin/hpnctl.exe"


class Case(NamedTuple):
    """A script, its values, how its world is furnished, what its answer is, and what it answers when it is run again."""

    name: str
    kind: type
    values: Callable[[World], dict[str, Any]]
    expected: dict[str, Any]
    again: dict[str, Any] | None = None
    furnish: Callable[[World], object] = lambda _: None
    label: str = ""


def loaded(world: World) -> None:
    """A driver that runs."""
    world.program("sc.exe", SC)
    (world.folder / "service-hpnotify").write_text("Running\n\\??\\C:\\x.sys\n")


def standing(world: World) -> None:
    """A driver's service that stands still."""
    loaded(world)
    (world.folder / "service-hpnotify").write_text("Stopped\nx\n")


def addressed(world: World) -> None:
    """An adapter with an address."""
    world.cim = {
        "Win32_NetworkAdapterConfiguration": [
            {"IPAddress": ["10.0.2.15", "fe80::1"], "DHCPEnabled": True, "DHCPLeaseExpires": None}
        ]
    }


def with_logs(world: World) -> None:
    """What export takes."""
    world.file("C:\\Windows\\INF\\setupapi.dev.log", b"[Device Install Log]\n" * 10)
    world.file("C:\\Windows\\MEMORY.DMP", b"PAGEDU64")
    world.file("C:\\Windows\\Minidump\\a.dmp", b"PAGEDU64")


DEVICE = {
    "DeviceID": "PCI\\VEN_1234&DEV_11E8\\3&1",
    "Name": "edu",
    "Service": PNP_SERVICE,
    "ConfigManagerErrorCode": 0,
}


def with_device(world: World) -> None:
    """A device of our service, and our package."""
    world.cim = {"Win32_PnPEntity": [DEVICE]}
    world.returned = {
        "Get-PnpDeviceProperty": [{"Data": 1}],
        "Get-WindowsDriver": [
            {"Driver": "oem3.inf", "OriginalFileName": "C:\\Windows\\System32\\hpnotify.inf"}
        ],
    }


def with_facts(world: World) -> None:
    """A server that has everything."""
    world.cim = {
        "Win32_OperatingSystem": [
            {"Caption": "Windows Server", "BuildNumber": "20348", "ProductType": 3, "OperatingSystemSKU": 79}
        ],
        "Win32_ComputerSystem": [{"NumberOfProcessors": 2, "HypervisorPresent": True}],
        "Win32_DeviceGuard": [{"VirtualizationBasedSecurityStatus": 0, "SecurityServicesRunning": [0]}],
        "SoftwareLicensingProduct": [{"Name": "Windows", "LicenseStatus": 1, "GracePeriodRemaining": 14400}],
        "Win32_SystemDriver": [{"Name": "storahci"}],
        "Win32_PnPEntity": [DEVICE],
    }
    world.registry = {
        "HKLM:\\SYSTEM\\CurrentControlSet\\Control": {"SystemStartOptions": " TESTSIGNING"},
        "HKLM:\\SYSTEM\\CurrentControlSet\\Control\\SecureBoot\\State": {"UEFISecureBootEnabled": 0},
        "HKLM:\\SYSTEM\\CurrentControlSet\\Control\\CrashControl": {"AutoReboot": 0},
    }


def options(world: World, *lines: str) -> dict[str, Any]:
    """A bcdedit that knows which values are set, and these lines for it."""
    world.program("bcdedit.exe", BCDEDIT)
    return {"Lines": list(lines)}


DRIVER = {
    "Driver": "hpnotify",
    "Path": f"{HOME}\\driver\\hpnotify.sys",
    "Names": ["AddExisting"],
    "Values": ["1"],
}
CASES = [
    Case(
        "driver-load", answer.ChangeStep, lambda _: DRIVER,
        {"step": "start", "code": 0, "state": "Running"},
        {"step": "create", "code": 1073, "said": "it runs already", "state": "Running"},
        lambda world: world.program("sc.exe", SC),
    ),
    Case(
        "driver-load", answer.ChangeStep, lambda _: DRIVER, {"step": "start", "code": 0, "state": "Running"},
        furnish=lambda world: (loaded(world), (world.folder / "service-hpnotify").write_text("Stopped\nx\n")),
        label="over one that stands still",
    ),
    Case(
        "driver-unload", answer.ChangeStep, lambda world: {"Driver": "hpnotify", "Tool": tool(world)},
        {"step": "delete", "code": 0, "state": ""}, furnish=loaded,
    ),
    Case(
        "driver-state", answer.ServiceState, lambda _: {"Driver": "hpnotify"},
        {"state": "Running", "path": "\\??\\C:\\x.sys"}, furnish=loaded,
    ),
    Case(
        "ring", answer.ChangeStep,
        lambda world: {"Driver": "hpnotify", "Tool": tool(world), "Path": f"{HOME}\\collected\\ring.jsonl"},
        {"step": "events", "code": 0, "said": "2 records"},
        furnish=lambda world: world.program("hpnctl.exe", "echo '{\"n\":1}'; echo '{\"n\":2}'; echo lost 3 >&2; exit 0"),
    ),
    Case(
        "export", answer.Exported, lambda _: {"Directory": f"{HOME}\\collected", "Most": 50},
        {"code": 0, "setup": "", "minidumps": 1, "dump": 8}, furnish=with_logs,
    ),
    Case(
        "boot-options", answer.ChangeStep, lambda world: options(world, "/set {current} groupsize 2", "/debug {current} on"),
        {"step": "/debug {current} on", "code": 0},
    ),
    Case(
        "boot-options", answer.ChangeStep,
        lambda world: options(world, "/deletevalue {current} groupsize", "/deletevalue {current} groupaware"),
        {"step": "/deletevalue {current} groupaware", "code": 0, "said": ""}, label="delete what is not set",
    ),
    Case(
        "boot-options", answer.ChangeStep, lambda world: options(world, "/deletevalue {current} groupsize"),
        {"step": "/deletevalue {current} groupsize", "code": 0, "said": "bcdedit.exe: done"},
        furnish=lambda world: (world.folder / "bcd").write_text("identifier {current}\ngroupsize 2\n"),
        label="delete what is set",
    ),
    Case("folder", answer.ServiceState, lambda _: {"Path": f"{HOME}\\driver"}, {"state": "made"}),
    Case(
        "trust", answer.ServiceState, lambda _: {"Path": f"{HOME}\\driver\\test.cer"}, {"state": "trusted"},
        furnish=lambda world: world.file(f"{HOME}\\driver\\test.cer", b"certificate"),
    ),
    Case(
        "trace-start", answer.ChangeStep,
        lambda _: {"Session": "S", "Provider": "{P}", "Flags": "0x40000", "Path": f"{HOME}\\trace\\t.etl", "Buffers": 8},
        {"step": "create", "code": 0},
    ),
    Case(
        "trace-tail", answer.TraceTail,
        lambda world: {
            "Session": "a session", "Tool": tool(world), "Flush": True, "Path": f"{HOME}\\t.etl", "Offset": 10, "Most": 50,
        },
        {"code": 0, "size": 1000}, furnish=lambda world: world.file(f"{HOME}\\t.etl", bytes(1000)),
    ),
    Case(
        "service-start", answer.ChangeStep, lambda _: {"Driver": "hpnotify"},
        {"step": "start", "code": 0, "state": "Running"}, {"step": "find", "code": 1056, "state": "Running"}, standing,
    ),
    Case("service-start", answer.ChangeStep, lambda _: {"Driver": "hpnotify"},
         {"step": "find", "code": 1060, "state": ""}, label="that there is none of"),
    Case(
        "service-stop", answer.ChangeStep, lambda _: {"Driver": "hpnotify", "Delete": True},
        {"step": "delete", "code": 0, "state": ""}, furnish=loaded,
    ),
    Case(
        "service-stop", answer.ChangeStep, lambda _: {"Driver": "hpnotify", "Delete": False},
        {"step": "stop", "code": 0, "state": "Stopped"}, furnish=loaded, label="that stays",
    ),
    Case(
        "clock-and-lease", answer.ClockAndLease, lambda _: {"Expected": 0, "Tolerance": 0, "Renew": True},
        {"code": 0, "set": False, "leases": [{"address": "10.0.2.15", "dhcp": True, "expires": 0}]}, furnish=addressed,
    ),
    Case(
        "verifier", answer.ChangeStep, lambda _: {"Arguments": ["/standard", "/driver", "x.sys"]},
        {"step": "verifier", "code": 2}, furnish=lambda world: world.program("verifier.exe", "exit 2"),
    ),
    Case(
        "pnp-install", answer.PnpInstallation, lambda _: {"Inf": f"{HOME}\\driver\\hpnotify.inf", "Service": PNP_SERVICE},
        {"code": 0, "devices": [{"device": DEVICE["DeviceID"], "problem": 0, "policy": 1}]}, furnish=with_device,
    ),
    Case(
        "pnp-remove", answer.PnpInstallation, lambda _: {"Inf": "hpnotify.inf", "Service": PNP_SERVICE},
        {"code": 0, "devices": [{"device": DEVICE["DeviceID"], "problem": 0}]}, furnish=with_device,
    ),
    Case(
        "ready", answer.Ready, lambda _: {}, {"caption": "Windows Server", "build": "20348"},
        furnish=lambda world: world.cim.update(
            {"Win32_OperatingSystem": [{"Caption": "Windows Server", "BuildNumber": "20348", "LastBootUpTime": "2025-11-29T10:00:00Z", "LocalDateTime": "2025-11-29T11:00:00Z"}]}
        ),
    ),
    Case(
        "preflight", Facts, lambda _: {},
        {"build": "20348", "start_options": " TESTSIGNING", "license": 1, "vbs": 0, "drivers": ["storahci"]},
        furnish=with_facts,
    ),
    Case("strain", answer.ChangeStep, lambda _: {"Seconds": 3}, {"step": "start", "code": 0}),
    Case(
        "watch", answer.ChangeStep, lambda world: {"Tool": tool(world), "Path": f"{HOME}\\collected\\u.jsonl", "Seconds": 3},
        {"step": "start", "code": 0},
    ),
]  # fmt: skip
IDS = [f"{each.name} {each.label}".strip() for each in CASES]
UNANSWERED = {"ready": "a Windows without Win32_OperatingSystem"}
"""Scripts that may fail if a question is answered by nothing."""


def furnished(make_world: MakeWorld, case: Case) -> tuple[World, str]:
    """A world for a case, and the script as it is sent."""
    world = make_world()
    case.furnish(world)
    return world, texts.decoded(Windows().invoke(script.compose(case.name, **case.values(world))))


def decoded(shown: Shown, case: Case) -> dict[str, Any]:
    """The answer, read as the harness reads it."""
    assert (False, "", []) == (shown.failed, shown.said, shown.errors)
    (line,) = shown.printed
    answer.decode(line, case.kind, what=case.name)
    told = json.loads(line)
    assert len(told.get("said") or "") <= 1000
    return dict(told)


def of(told: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """The part of an answer that is expected to be something."""
    return {key: told.get(key) for key in expected}


def test_every_script_is_executed() -> None:
    """A new one needs a case."""
    assert {*script.names()} - {script.ONCE} <= {case.name for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_script_that_works_answers(server: Server, make_world: MakeWorld, case: Case) -> None:
    """Once and, sent again, a second time."""
    world, text = furnished(make_world, case)
    first, second = server.run(world, text, text)
    assert case.expected == of(decoded(first, case), case.expected)
    if case.again is not None:
        assert case.again == of(decoded(second, case), case.again)
    decoded(second, case)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_each_call_that_fails_is_told(server: Server, make_world: MakeWorld, case: Case) -> None:
    """By the step's exit code and the program's words, or by an error that names the call; and the answer is an answer."""
    world, text = furnished(make_world, case)
    server.run(world, text)
    wrong = []
    for call in world.calls:
        world, text = furnished(make_world, case)
        world.fail(call.number)
        (shown,) = server.run(world, text)
        words = f"call {call.number} is refused"
        if shown.failed:
            told = words in shown.said
        else:
            answered = decoded(shown, case)
            told = call.words == [] or (87 == answered["code"] and words in answered["said"])
            told = told or call.words[:1] == ["/enum"]
            if not call.words and not quiet(case, call.bound):
                told = False
        if not told:
            wrong.append(f"{call}: {shown}")
    assert [] == wrong


def quiet(case: Case, bound: dict[str, Any]) -> bool:
    """True for a call of which the script says that its failure is as good as nothing."""
    return "SilentlyContinue" in str(bound.get("ErrorAction"))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_answer_of_nothing_makes_no_nonsense(server: Server, make_world: MakeWorld, case: Case) -> None:
    """A class without an instance, a value that is not there: the answer has what there is."""
    world, text = furnished(make_world, case)
    server.run(world, text)
    asked = {(each.bound.get("ClassName"), each.name) for each in world.calls if each.name.startswith("Get-")}
    wrong = []
    for kind, name in asked:
        world, text = furnished(make_world, case)
        if kind in world.cim:
            world.cim[kind] = []
        elif name in world.returned:
            world.returned[name] = []
        elif name == "Get-ItemProperty":
            world.registry = {}
        (shown,) = server.run(world, text)
        try:
            decoded(shown, case)
        except (AssertionError, GuestRefused) as error:
            if case.name not in UNANSWERED:
                wrong.append(f"{kind or name}: {error}")
    assert [] == wrong


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_what_is_done_once_is_done_once(server: Server, make_world: MakeWorld, case: Case) -> None:
    """The second time it only says what the first one said; what fails is said as such, and bounded."""
    world, _ = furnished(make_world, case)
    text = texts.decoded(
        Windows().invoke(
            script.compose_once(case.name, directory=ANSWERS, command="ab12", **case.values(world))
        )
    )
    first, second = server.run(world, text, text)
    assert case.expected == of(decoded(first, case), case.expected)
    assert first.printed == second.printed
    done = len(world.calls)
    server.run(world, text)
    assert done == len(world.calls)


def test_what_fails_once_is_an_answer(server: Server, make_world: MakeWorld) -> None:
    """Its words are read as the failure that they are."""
    world = make_world()
    text = script.compose_once("trust", directory=ANSWERS, command="ab12", Path="C:\\nowhere.cer")
    (shown,) = server.run(world, texts.decoded(Windows().invoke(text)))
    with pytest.raises(GuestRefused, match=r"script trust: .*nowhere\.cer"):
        answer.decode("".join(shown.printed), answer.ServiceState, what="script trust")


@pytest.mark.parametrize("code", [0, 1])
def test_what_a_program_says_has_a_bound(server: Server, make_world: MakeWorld, code: int) -> None:
    """A change was made: its answer is an answer however much the program said, and on whichever stream."""
    world = make_world()
    world.program(
        "bcdedit.exe", f"head -c 100000 /dev/zero | tr '\\0' x; echo 'out of words' >&2; exit {code}"
    )
    text = texts.decoded(Windows().invoke(script.compose("boot-options", Lines=["/set x"])))
    (shown,) = server.run(world, text)
    told = answer.decode("".join(shown.printed), answer.ChangeStep, what="boot-options")
    assert (code, 1000) == (told.code, len(told.said))
    assert told.said.startswith("out of words xxx")


def test_a_missing_log_costs_no_other(server: Server, make_world: MakeWorld) -> None:
    """Neither the installation log nor wevtutil need be there."""
    world = make_world()
    (world.bin / "wevtutil.exe").unlink()
    text = script.compose("export", Directory=f"{HOME}\\collected", Most=50)
    (shown,) = server.run(world, texts.decoded(Windows().invoke(text)))
    told = answer.decode("".join(shown.printed), answer.Exported, what="export")
    assert (-1, 0, 0) == (told.code, told.minidumps, told.dump)
    assert "wevtutil.exe" in told.said
    assert "setupapi.dev.log" in told.setup


def test_records_are_told_from_complaints(server: Server, make_world: MakeWorld) -> None:
    """What hpnctl says on standard error is no record, and is what a failure is told by."""
    world = make_world()
    world.program("hpnctl.exe", "echo '{\"n\":1}'; echo 'hpnctl: cannot open the device' >&2; exit 69")
    path = f"{HOME}\\collected\\ring.jsonl"
    text = script.compose("ring", Driver="hpnotify", Tool=tool(world), Path=path)
    (shown,) = server.run(world, texts.decoded(Windows().invoke(text)))
    told = answer.decode("".join(shown.printed), answer.ChangeStep, what="ring")
    assert (69, 'hpnctl: cannot open the device {"n":1}') == (told.code, told.said)
    assert ['{"n":1}'] == (world.folder / path).read_text().splitlines()


def test_the_busy_processes_run(server: Server, make_world: MakeWorld) -> None:
    """What strain starts is a script too: it keeps a processor busy for its seconds, and ends."""
    world = make_world()
    text = script.compose("strain", Seconds=0)
    server.run(world, texts.decoded(Windows().invoke(text)))
    lines = {call.bound["Arguments"] for call in world.calls if call.name == "Invoke-CimMethod"}
    (line,) = lines
    assert line.startswith("powershell.exe -NoProfile -NonInteractive -EncodedCommand ")
    (shown,) = server.run(world, texts.decoded(line))
    assert (False, [], []) == (shown.failed, shown.errors, shown.printed)
