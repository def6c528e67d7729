# SPDX-License-Identifier: MIT
"""The provisioning scripts parse as PowerShell, keep to a list of rules, and say what the host understands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import BadDocument, UsageError
from harness.template import provision
from harness.template.guest_logs import SOURCES
from harness.template.serial_logs import SENT
from harness.template.serial_markers import (
    DoneMarker,
    FactMarker,
    FailMarker,
    StageMarker,
    StepMarker,
    WarnMarker,
    parse,
)
from harness.template.stage import ORDER
from harness.template.template import find_templates, templates_directory
from tests.template.powershell_rules import COMMANDS, OWN, broken, commands, nodes, tree_of, words

TEMPLATES = find_templates()
SERVER = TEMPLATES["windows-server-2022"]
FOLDER = templates_directory() / "windows-common" / "provision"
STEPS = sorted(FOLDER.glob("[0-9]*.ps1"))
LAUNCHER = FOLDER.parent / "install" / "launch.ps1"
SCRIPTS = [*STEPS, FOLDER / "start.ps1", FOLDER / "Provision.psm1", LAUNCHER, LAUNCHER.with_name("begin.ps1")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_keeps_to_the_rules(script: Path) -> None:
    """It parses, stops at errors, uses known commands, looks at exit codes, and holds no secret."""
    assert [] == broken(script.read_bytes(), script.name)


GOOD = b"""# SPDX-License-Identifier: MIT
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
"""


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("Set-Item -Path 'x' -Value $true", []),
        ("if (", ["it_parses"]),
        ("gci 'C:\\'", ["only_known_commands"]),
        ("$x | % { $_ }", ["only_known_commands"]),
        ("Read-Host -Prompt 'Go on?'", ["only_known_commands"]),
        ("Get-Credential", ["only_known_commands", "no_secret_and_no_way_out"]),
        ("bcdedit.exe /set testsigning on", ["only_known_commands", "exit_codes_count"]),
        ("bcdedit /set testsigning on", ["only_known_commands"]),
        ("Invoke-Native -Tool 'format.exe'", ["exit_codes_count"]),
        ("Restart-Service -Nmae 'x'", ["only_known_parameters"]),
        ("Restart-Service -N 'x'", ["only_known_parameters"]),
        ("& 'C:\\x.exe'", ["little_is_called_by_value", "exit_codes_count"]),
        ("$password = 'x'", ["no_secret_and_no_way_out"]),
        ("Get-Command -Name 'x' -ErrorAction SilentlyContinue", []),
        (
            "Get-ChildItem -Path 'x'\nRemove-Item -Path 'x' -ErrorAction SilentlyContinue",
            ["only_known_parameters", "nothing_is_kept_quiet"],
        ),
        ("Write-Fact -Name 'x' -Value '\u00e4'", ["ascii_with_its_licence"]),
    ],
)
def test_the_rules_find_mistakes(line: str, rules: list[str]) -> None:
    """Each rule tells a script that breaks it from one that does not."""
    assert rules == broken(GOOD + line.encode() + b"\n")


def test_the_first_statements_count() -> None:
    """A script that does not stop at errors, or stops too late."""
    late = GOOD.replace(b"Set-StrictMode -Version Latest\n", b"") + b"Set-StrictMode -Version Latest\n"
    assert ["errors_stop_it"] == broken(late)
    assert ["errors_stop_it"] == broken(GOOD.replace(b"'Stop'", b"'Continue'"))


@pytest.mark.parametrize("script", STEPS, ids=lambda path: path.name)
def test_steps_cite_their_pages(script: Path) -> None:
    """What a step claims of Windows has the page that says so; and it takes its settings and nothing else."""
    assert "Microsoft Learn: " in script.read_text()
    parameters = [words(each) for each in nodes(tree_of(script.read_bytes()), "script_parameter")]
    assert ["[Parameter(Mandatory = $true)][object] $Settings"] == parameters


def test_every_cmdlet_is_used() -> None:
    """The list holds nothing that no script uses."""
    assert set(COMMANDS) | set(OWN) == {name for script in SCRIPTS for name in commands(script.read_bytes())}
    everything = " ".join(script.read_text() for script in SCRIPTS)
    parameters = {name for known in [*COMMANDS.values(), *OWN.values()] for name in known.split()[1:]}
    assert set() == {name for name in parameters if f"-{name}" not in everything}


def test_order() -> None:
    """WinRM comes last, so that who can log on finds all else done; each has a name of its own."""
    names = [step.name for step in provision.steps(SERVER)]
    assert "winrm" == names[-1]
    assert names.index("openssh") < names.index("winrm")
    assert {"account", "quiet", "hot-add", "signing", "debug", "trace", "openssh", "facts", "winrm"} <= set(
        names
    )


def test_markers() -> None:
    """What the runner writes is what the host reads: the stage, each step, a warning, its failure, the end, in this order."""
    written = re.findall(
        r"Write-Marker -Text (?:'([^']*)'|\"([^\"]*)\")\n", (FOLDER / "start.ps1").read_text()
    )
    filled = [
        (single or double)
        .replace("$number $count", "3 9")
        .replace("$name", "winrm")
        .replace("$reason", "Access is denied.")
        .replace("$line", "12")
        .replace("$($_.Exception.Message)", "Access is denied.")
        for single, double in written
    ]
    assert [
        StageMarker("provisioning"),
        StepMarker(3, 9, "winrm"),
        WarnMarker("the step failed: Access is denied."),
        DoneMarker(),
        FailMarker(3, 9, "winrm", "Access is denied. (line 12)"),
    ] == [parse(each) for each in filled]
    assert "provisioning" in ORDER
    assert '"HPN-MARK $line`r`n"' in (FOLDER / "Provision.psm1").read_text()


def test_the_launcher_tells_the_host() -> None:
    """That Windows is installed, and why it cannot go on; it belongs to the installation."""
    written = re.findall(r"Write-Marker -Text (?:'([^']*)'|\"([^\"]*)\")\n", LAUNCHER.read_text())
    filled = [(a or b).replace("$($_.Exception.Message)", "no drive") for a, b in written]
    assert [StageMarker("installed"), FailMarker(1, 1, "launch", "no drive")] == [
        parse(each) for each in filled
    ]
    assert ["launch.ps1"] == list(provision.launcher())
    assert LAUNCHER.read_text().splitlines() == provision.launcher()["launch.ps1"].decode().splitlines()


def test_the_guest_sends_the_logs_that_the_host_takes() -> None:
    """By the same names, and none larger than the host's bound; the guest's own log has one path."""
    said = (FOLDER / "Provision.psm1").read_text()
    sent = dict(re.findall(r"Send-Log -Name '([^']*)' .* -Limit ([0-9]+)\n", said))
    events = re.findall(r"Send-EventLog -Name '([^']*)'", said)
    (limit,) = re.findall(r"-Limit ([0-9]+) -Whole", said)
    assert {name: int(size) for name, size in sent.items()} | dict.fromkeys(events, int(limit)) == SENT
    paths = {source.name: source.path for source in SOURCES}
    assert set(SENT) <= set(paths)
    assert paths["provisioning"].removeprefix("Windows/").replace("/", "\\") in said


def test_each_step_says_whether_it_is_essential(tmp_path: Path) -> None:
    """Where a failure costs evidence, access or safety it is; a step that does not say is refused."""
    assert {"antivirus", "conditions"} == {
        step.name for step in provision.steps(SERVER) if not step.essential
    }
    assert ["antivirus", "conditions"] == json.loads(provision.settings(SERVER, "none"))["comfort"]
    with pytest.raises(BadDocument, match=r"35-mine.ps1:2: does not declare"):
        provision.steps(TestOwnSteps().with_step(tmp_path, "35-mine.ps1", b"# one\n# Kind: none\n"))


def test_parts_of_an_essential_step_may_be_comfort() -> None:
    """What only keeps the guest quiet never ends a build, and what the template promises does."""
    quiet = (FOLDER / "20-quiet.ps1").read_text()
    essential = re.sub(r"Invoke-Comfort .*?\n}\n", "", quiet, flags=re.DOTALL)
    assert "NoAutoUpdate" in essential
    assert "standby-timeout-ac" in essential
    assert ["wuauserv", "Disable-ScheduledTask", "DoNotOpenServerManagerAtLogon"] == [
        part
        for part in ("wuauserv", "Disable-ScheduledTask", "DoNotOpenServerManagerAtLogon")
        if part in quiet and part not in re.sub("#.*", "", essential)
    ]


def test_errors_stop_what_modules_do_too() -> None:
    """Functions of modules see only the global preference, so the runner sets that before it runs anything."""
    said = (FOLDER / "start.ps1").read_text()
    assert 0 < said.index("$global:ErrorActionPreference = 'Stop'") < said.index("Import-Module")


def test_it_ends_with_a_shutdown() -> None:
    """The runner asks for it before it says that all is done, which a guest that stays on must not say."""
    said = (FOLDER / "start.ps1").read_text()
    asked = said.index("Invoke-Native -Tool 'shutdown.exe' -Arguments '/s', '/t', '10' | Out-Null")
    assert asked < said.index("Write-Marker -Text 'done'")


def test_facts() -> None:
    """The facts that scripts tell are those the host knows, and a value that looks wrong is none."""
    told = {
        name for script in STEPS for name in re.findall(r"Write-Fact -Name '([^']*)'", script.read_text())
    }
    assert set(provision.FACTS) == told
    assert set(provision.NEEDED) <= told
    assert all(isinstance(parse(f"fact {name} x"), FactMarker) for name in told)
    assert provision.fact_fits("certificate", "0" * 64)
    assert not provision.fact_fits("certificate", "0" * 63 + "\n")
    assert not provision.fact_fits("certificate", "../x")
    assert not provision.fact_fits("nosuch", "1")
    assert provision.fact_fits("ssh-host-key", "ssh-ed25519 " + "A" * 68)


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("devices-acpi0010", "1 none problem 0", True),
        ("devices-acpi0007", "3 intelppm problem 0, none problem 28", True),
        ("devices-pnp0c80", "0", True),
        ("devices-pnp0c80", "0 or more", False),
        ("dhcp", "server 10.0.2.2 address 10.0.2.15 fe80::1 gateway  dns", True),
        ("dhcp", "server 10.0.2.2 address 10.0.2.15 gateway 10.0.2.2 dns 10.0.2.3", True),
        ("dhcp", "server $(reboot)", False),
        ("dynamic-processors", "no", True),
        ("dynamic-processors", "maybe", False),
        ("network-category", "Public", True),
        ("sshd-test", "ok", True),
        ("sshd-test", "failed sshd.exe -t ended with 255: no hostkeys available", True),
        ("sshd-test", "255", False),
        ("winrm-listeners", "1 HTTPS", True),
        ("winrm-listeners", "0", True),
        ("defender", "installed", True),
    ],
)
def test_facts_as_a_guest_tells_them(name: str, value: str, fits: bool) -> None:
    """A marker's value has no space at its end; what looks otherwise is no fact."""
    marker = parse(f"fact {name} {value} ")
    assert isinstance(marker, FactMarker)
    assert fits == provision.fact_fits(name, marker.value)


def test_settings() -> None:
    """Every setting that a script reads is written, for every template."""
    for template in TEMPLATES.values():
        written = json.loads(provision.settings(template, "none"))
        for script in SCRIPTS:
            for path in re.findall(r"\$Settings((?:\.[a-z_]+)+)", script.read_text()):
                value = written
                for name in path.strip(".").split("."):
                    value = value[name]
        assert template.topology.max_processors == written["max_processors"]


def test_the_provider_is_the_drivers() -> None:
    """The session enables the provider of the driver's manifest."""
    manifest = templates_directory().parent / "guest_drivers" / "hpnotify" / "src" / "hpnotify.man"
    assert f'guid="{provision.PROVIDER_GUID}"' in manifest.read_text()


def test_scripts_for_windows() -> None:
    """Lines end as Windows wants them."""
    for name, content in provision.scripts(SERVER).items():
        assert content.count(b"\n") == content.count(b"\r\n") > 0, name


class TestOwnSteps:
    """A template may add steps and replace them."""

    def with_step(self, tmp_path: Path, name: str, content: bytes = b"# x\n# Essential: x\n") -> Any:
        """A template whose folder holds one more step."""
        (tmp_path / "provision").mkdir()
        (tmp_path / "provision" / name).write_bytes(content)
        return msgspec.structs.replace(SERVER, directory=str(tmp_path))

    def test_added(self, tmp_path: Path) -> None:
        """One more, in its place."""
        names = [step.name for step in provision.steps(self.with_step(tmp_path, "35-mine.ps1"))]
        assert "mine" == names[names.index("hot-add") + 1]

    def test_replaced(self, tmp_path: Path) -> None:
        """One of the same file name takes the place of the common one."""
        template = self.with_step(tmp_path, "90-winrm.ps1", b"# x\n# Comfort: mine\n")
        assert b"# x\r\n# Comfort: mine\r\n" == provision.scripts(template)["90-winrm.ps1"]
        assert len(provision.steps(SERVER)) == len(provision.steps(template))

    @pytest.mark.parametrize(
        ("name", "words"),
        [("mine.ps1", "not the name of a step"), ("95-winrm.ps1", "two provisioning steps called 'winrm'")],
    )
    def test_refused(self, tmp_path: Path, name: str, words: str) -> None:
        """What is no step, and a name that is taken."""
        with pytest.raises(BadDocument, match=words):
            provision.steps(self.with_step(tmp_path, name))

    def test_not_ascii(self, tmp_path: Path) -> None:
        """PowerShell 5.1 would read it wrong."""
        with pytest.raises(BadDocument, match="not ASCII"):
            provision.scripts(self.with_step(tmp_path, "35-mine.ps1", "# x\n# Essential: ä\n".encode()))


@pytest.mark.parametrize(
    ("name", "given", "kind"),
    [
        ("windows-server-2025", "", "inbox"),
        ("windows-server-2025", "inbox", "inbox"),
        ("windows-server-2025", "none", "none"),
        ("windows-server-2022", "", "none"),
        ("windows-server-2022", "none", "none"),
        ("windows-server-2022", "OpenSSH-Win64.MSI", "msi"),
        ("windows-server-2019", "x/OpenSSH-Win64.zip", "zip"),
        ("windows-server-2025", "fod.iso", "iso"),
    ],
)
def test_where_openssh_comes_from(name: str, given: str, kind: str) -> None:
    """From the medium, from a file by its kind, or nowhere."""
    source = provision.openssh_source(TEMPLATES[name], given)
    assert (kind, Path(given) if "." in given else None) == (source.kind, source.file)


def test_no_openssh() -> None:
    """A file of another kind is refused, and the medium's own where it has none."""
    with pytest.raises(UsageError, match="not a file that OpenSSH comes in") as caught:
        provision.openssh_source(SERVER, "sshd.exe")
    assert "or none for no SSH at all" in caught.value.hint
    with pytest.raises(UsageError, match="windows-server-2022 has no OpenSSH server on its medium"):
        provision.openssh_source(TEMPLATES["windows-server-2022"], "inbox")
