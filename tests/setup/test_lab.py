# SPDX-License-Identifier: MIT
"""``./lab`` as a user meets it: its real script in a real process, on machines that lack one thing or another."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from unprivileged import Unprivileged

from harness.errors import MissingPart, UsageError
from harness.setup.debian import Distribution
from harness.setup.main import Lab, split_require
from harness.setup.parts import BASE, part

CLONE = Path(__file__).parents[2]
ALL_INSTALLED = 'shift 3; for package; do echo "$package installed"; done'
NONE_INSTALLED = "exit 1"

BUILT = pytest.mark.skipif(
    "LAB_PYTHON" not in os.environ, reason="needs what ./lab builds: run it by ./lab test"
)


def lab(*arguments: str, clone: Path = CLONE, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``./lab`` of ``clone``."""
    return subprocess.run(
        [clone / "lab", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def script(path: Path, body: str) -> None:
    """Write a shell script that stands for a program."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def base_programs(folder: Path) -> Path:
    """Make a folder that leads to what the base needs and to what a shell script needs, without dpkg, apt and sudo."""
    needed = {Path(each).name for need in BASE.needs for each in need.evidence}
    folder.mkdir()
    for program in sorted({"bash", "cat", "dirname", "env", "readlink", "sh"} | needed):
        if (found := Path("/usr/bin", program)).exists():
            (folder / program).symlink_to(found)
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A second clone, as small as one can be: what ./lab itself consists of."""
    copy = tmp_path / "clone"
    (copy / "harness").mkdir(parents=True)
    for name in (
        "lab",
        "pyproject.toml",
        "tox.ini",
        "harness/__init__.py",
        "harness/errors.py",
        "harness/deadline.py",
        "harness/invocation.py",
        "harness/delicate.py",
        "harness/interrupts.py",
        "harness/program.py",
    ):
        shutil.copy(CLONE / name, copy / name)
    for folder in ("harness/setup", "locks"):
        shutil.copytree(CLONE / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--help"], 0, "usage: ./lab COMMAND"),
        (["test", "--help"], 0, "usage: ./lab COMMAND"),
        ([], 64, "a command is missing"),
        (["tset"], 64, "there is no command 'tset'"),
        (["test", "--require", "libvrt"], 64, "no part is called 'libvrt'"),
        (["test", "--require"], 64, "--require needs the names of parts"),
        (["shell", "-c"], 64, "./lab shell -c needs a command"),
        (["shell", "ls"], 64, "./lab shell takes -c CMD, not 'ls'"),
    ],
)
def test_usage(arguments: list[str], status: int, text: str) -> None:
    """Help ends with 0 and wrong usage with 64, before anything is set up."""
    ended = lab(*arguments)
    assert status == ended.returncode
    assert text in (ended.stdout if status == 0 else ended.stderr)


def test_powershell_is_required_and_never_installed() -> None:
    """Where it is not, the words say where a user gets it, before anything is set up."""
    environment = {**os.environ, "HOTPLUG_HARNESS_PWSH": "/no/such/pwsh"}
    ended = lab("test", "--require", "powershell", env=environment)
    assert 69 == ended.returncode
    assert (
        "the part 'powershell' lacks PowerShell 7 (/no/such/pwsh), and no package supplies it" in ended.stderr
    )
    assert "https://github.com/PowerShell/PowerShell/releases" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-k", "x"], ([], ["-k", "x"])),
        (["--require", "wine,browser", "tests"], (["wine", "browser"], ["tests"])),
        (["tests", "--require=wine", "--require", " wine , postgres "], (["wine", "postgres"], ["tests"])),
        (["--", "--require", "wine"], ([], ["--require", "wine"])),
    ],
)
def test_require_is_found_anywhere_before_a_double_dash(
    arguments: list[str], expected: tuple[list[str], list[str]]
) -> None:
    """What is not --require goes to pytest, in its order."""
    assert expected == split_require(arguments)


def test_the_twin_needs_no_require() -> None:
    """qemu is a marker but no part to ask for: it is always there."""
    with pytest.raises(UsageError, match="no part is called 'hardware'"):
        split_require(["--require", "hardware"])


def test_a_machine_without_a_new_enough_python(clone: Path, tmp_path: Path) -> None:
    """The script itself says what it tried and how to get a Python."""
    text = (clone / "lab").read_text()
    old = tmp_path / "bin" / "python3"
    script(old, "exit 1")
    (clone / "lab").write_text(text.replace("/usr/bin/python3", str(old)))
    for program in ("bash", "readlink", "dirname", "cat"):
        (old.parent / program).symlink_to(f"/usr/bin/{program}")
    ended = lab("demo", clone=clone, env={"PATH": str(old.parent)})
    assert ended.returncode == 69
    assert "no Python 3.11 or newer was found" in ended.stderr
    assert "apt-get install python3" in ended.stderr


def test_another_distribution_is_told_what_it_lacks(clone: Path, tmp_path: Path) -> None:
    """Without dpkg every missing thing is listed with what it is for; what is there is not."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("bash", "env", "readlink", "dirname", "make"):
        (programs / program).symlink_to(f"/usr/bin/{program}")
    ended = lab(
        "demo", clone=clone, env={"PATH": str(programs), "HOTPLUG_HARNESS_CACHE": str(tmp_path / "cache")}
    )
    assert ended.returncode == 69
    assert "runs the guests: qemu-system-x86_64 (Debian's package qemu-system-x86)" in ended.stderr
    assert "builds the twin's driver" not in ended.stderr
    assert "Traceback" not in ended.stderr


def test_another_distribution_that_has_everything_goes_on(clone: Path, tmp_path: Path) -> None:
    """Where nothing is missing nobody asks for dpkg: the next thing that is done is the environment."""
    for need in BASE.needs:
        if not need.found():
            pytest.skip(f"this machine itself lacks {need.package}")
    programs = base_programs(tmp_path / "bin")
    (tmp_path / "cache").touch()  # stops it there
    ended = lab(
        "demo", clone=clone, env={"PATH": str(programs), "HOTPLUG_HARNESS_CACHE": str(tmp_path / "cache")}
    )
    assert (69, "lab: cannot use the cache") == (ended.returncode, ended.stderr[:25])


@pytest.mark.parametrize(
    ("sudo", "text"),
    [
        (None, "you are not root and there is no sudo: gcc"),
        (
            "echo 'sudo: a password is required' >&2; exit 1",
            "sudo wants a password, with no terminal to ask on: gcc",
        ),
    ],
)
def test_a_user_without_rights_is_told_what_an_administrator_must_do(
    unprivileged: Unprivileged, clone: Path, sudo: str | None, text: str
) -> None:
    """The message lists the packages and the command; nothing is tried that cannot work."""
    home = unprivileged.directory
    shutil.copytree(clone, home / "clone")
    (base_programs(home / "bin") / "apt-get").symlink_to("/usr/bin/apt-get")
    script(
        home / "bin" / "dpkg-query",
        'shift 3; for package; do [ $package = gcc ] || echo "$package installed"; done',
    )
    if sudo:
        script(home / "bin" / "sudo", sudo)
    unprivileged.environment |= {
        "PATH": f"{home}/bin",
        "HOTPLUG_HARNESS_CACHE": str(home / "cache"),
    }
    ended = lab("demo", clone=home / "clone", **unprivileged.popen)
    assert ended.returncode == 69
    assert text in ended.stderr
    assert "Ask an administrator to run: sudo apt-get install --no-install-recommends gcc" in ended.stderr


def test_sudo_without_a_password_is_used(unprivileged: Unprivileged, clone: Path) -> None:
    """A user with rights gets the packages installed through sudo, non-interactively."""
    home = unprivileged.directory
    shutil.copytree(clone, home / "clone")
    script(home / "bin" / "dpkg-query", NONE_INSTALLED)
    script(home / "bin" / "sudo", f'printf "%s\\n" "$*" >> {home}/asked; [ "$2" = true ]')
    unprivileged.environment |= {
        "PATH": f"{home}/bin:/usr/bin:/bin",
        "HOTPLUG_HARNESS_CACHE": str(home / "cache"),
    }
    ended = lab("demo", clone=home / "clone", **unprivileged.popen)
    assert ended.returncode == 69
    first, second = (home / "asked").read_text().splitlines()
    assert first == "-n true"
    assert second.startswith("-n env DEBIAN_FRONTEND=noninteractive apt-get ")
    assert "--no-install-recommends" in second


def test_a_machine_without_a_python_index(clone: Path, tmp_path: Path) -> None:
    """pip's own words, the settings that lead it to an index, exit 69, and what was half-built is not used."""
    script(tmp_path / "bin" / "dpkg-query", ALL_INSTALLED)
    environment = {
        "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
        "HOTPLUG_HARNESS_CACHE": str(tmp_path / "cache"),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    ended = lab("demo", clone=clone, env=environment)
    assert ended.returncode == 69
    assert "pip could not install the Python packages" in ended.stderr
    assert "PIP_INDEX_URL" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [] == list((tmp_path / "cache" / "environment").glob("*/complete.json"))


def test_a_python_that_nothing_is_locked_for(clone: Path, tmp_path: Path) -> None:
    """Wrong usage, before anything is built: the message names the Pythons that there are lock files for."""
    for file in (clone / "locks").iterdir():
        file.rename(file.with_name(file.name.replace("3.1", "3.9")))
    script(tmp_path / "bin" / "dpkg-query", ALL_INSTALLED)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOTPLUG_HARNESS_CACHE": str(tmp_path / "cache")}
    ended = lab("demo", clone=clone, env=environment)
    assert ended.returncode == 64
    assert "no versions are locked for Python 3." in ended.stderr
    assert "python-3.91, python-3.92, python-3.93" in ended.stderr


def test_a_part_that_ubuntu_does_not_package(tmp_path: Path) -> None:
    """Where no package supplies a part, nothing is installed and the message says what does supply it."""
    (tmp_path / "os-release").write_text("ID=ubuntu\nVERSION_ID=24.04\n")
    environment = {"PATH": str(tmp_path), "HOTPLUG_HARNESS_CACHE": str(tmp_path / "cache")}
    machine = Lab(CLONE, environment, distribution=Distribution(tmp_path / "os-release"))
    with pytest.raises(
        MissingPart, match=r"'browser' is missing, and ubuntu 24\.04 has no package"
    ) as caught:
        machine.set_up([part("browser")])
    assert "snap install chromium" in caught.value.hint


def test_a_part_whose_package_does_not_hold_it(tmp_path: Path) -> None:
    """A package that is there without its program is named, with the command that repairs it."""
    script(tmp_path / "bin" / "dpkg-query", ALL_INSTALLED)
    environment = {"PATH": str(tmp_path / "bin"), "HOTPLUG_HARNESS_CACHE": str(tmp_path / "cache")}
    with pytest.raises(MissingPart, match="the part 'browser' lacks headless Chromium") as caught:
        Lab(CLONE, environment, distribution=Distribution(tmp_path / "none")).set_up([part("browser")])
    assert "apt-get install --reinstall chromium" in caught.value.hint


@BUILT
def test_a_second_start_says_nothing_and_passes_the_exit_code_on() -> None:
    """With everything in place there is not a word from ./lab itself."""
    ended = lab("shell", "-c", 'echo "$1"; exit 7', "name", "argument")
    assert (7, "argument\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@BUILT
def test_programs_of_the_environment_come_first() -> None:
    """The shell finds the environment's harness, python and pytest."""
    ended = lab("shell", "-c", "command -v harness python pytest")
    assert {Path(os.environ["LAB_PYTHON"]).parent} == {Path(line).parent for line in ended.stdout.split()}


@BUILT
def test_printed_commands_begin_as_lab_was_typed() -> None:
    """./lab harness in the clone, its path elsewhere; in a shell of the environment the program itself."""
    words = ["rules", "--id", "nosuch"]
    here = subprocess.run(
        ["./lab", "harness", *words], cwd=CLONE, capture_output=True, text=True, check=False
    )
    elsewhere = lab("harness", *words)
    shell = lab("shell", "-c", "harness rules --id nosuch")
    assert ["./lab harness rules", f"{CLONE}/lab harness rules", "harness rules"] == [
        ended.stderr.rstrip().partition("All of them: ")[2] for ended in (here, elsewhere, shell)
    ]


def test_ctrl_c_while_a_python_is_looked_for(clone: Path, tmp_path: Path) -> None:
    """A Python that takes the Ctrl-C for its own failure does not make ./lab go on with the next one."""
    script(tmp_path / "python", f"trap 'exit 1' INT\necho > {tmp_path}/started\nread line < {tmp_path}/never")
    for name in ("started", "never"):
        os.mkfifo(tmp_path / name)
    process = subprocess.Popen(
        [clone / "lab", "--help"],
        env={**os.environ, "HOTPLUG_HARNESS_PYTHON": str(tmp_path / "python")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    (tmp_path / "started").read_text()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
