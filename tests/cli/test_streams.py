# SPDX-License-Identifier: MIT
"""Every command with standard streams that are closed, that nobody reads, or that take nothing."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import msgspec
import pytest
from cli.started import Asked, Ended, Starter, Stream

from harness.cli.command_tree import command_tree
from harness.contract.notation import trace
from harness.errors import ExitCode
from harness.history.evidence import EvidenceIndex
from harness.history.writer import HistoryWriter
from tests.capture.etl import encoder

WORDS = {
    "demo": "--list-faults",
    "run": "--list-plans",
    "check": "holds violated",
    "show": "holds",
    "report": "holds -o holds.html",
    "diff": "holds violated",
    "repro": "nosuch",
    "attach": "holds console",
    "bisect": "holds wrong.toml --driver",
    "explore": "--guest host --budget 0s",
    "nightly": "--dry-run --lab lab.toml",
    "worker": "",
    "fleet": "",
    "fleet drain": "nosuch",
    "fleet scheduler": "--listen tcp://192.0.2.1:8786",
    "fleet certificates": "lab1.example.org --out /proc/nosuch",
    "history runs": "",
    "history new": "",
    "history rule": "SYNC-EXACTLY-TWO",
    "history flaky": "",
    "history incidents": "",
    "history known": "",
    "history slow": "",
    "history hosts": "",
    "history never": "--into nosuch",
    "store load": "runs",
    "store rebuild": "runs --forget",
    "store prune": "--older-than 1000 --dry-run",
    "store check": "",
    "accept": "--list",
    "rules": "",
    "doctor": "",
    "ps": "",
    "reserve": "",
    "gc": "--dry-run",
    "import": "holds",
    "evidence show": "holds",
    "evidence pack": "holds --out holds.tar.gz",
    "observe show": "holds violated",
    "observe diff": "holds violated",
    "plan check": "veto ./wrong.toml",
    "plan schema": "",
    "etl info": "lab.etl",
    "etl dump": "lab.etl",
    "etl stat": "lab.etl",
    "etl export": "lab.etl --csv",
    "setup": "nosuch",
    "completion": "bash",
    "driver build": "--out built --toolchain nosuch",
    "driver sign": "nosuch.sys",
    "driver check": "lab.toml",
    "driver manifest": "nosuch.man --out built",
    "template list": "",
    "template show": "windows-server-2025",
    "template build": "windows-server-2025 --iso nosuch.iso --accel tcg",
    "template adopt": "nosuch.qcow2 --template windows-server-2025 --password-file nosuch",
    "template verify": "windows-server-2025",
    "template remove": "windows-server-2025",
}
"""Each command with words with which it comes to an end at once, as well or as badly as it does."""

CASES: list[tuple[Stream, Stream, Stream]] = [
    ("file", "gone", "gone"),
    ("file", "full", "file"),
    ("file", "full", "full"),
    ("file", "closed", "file"),
    ("file", "file", "closed"),
]
"""Standard input, output and error in the process of the ordinary command."""

CLOSED: tuple[Stream, Stream, Stream] = ("closed", "closed", "closed")
"""The same before a command's modules are loaded."""

ASKED_ONCE = """#!/bin/sh
kept="$0 $*"
[ -e "$kept" ] || "{program}" "$@" > "$kept" || exit
while IFS= read -r line; do echo "$line"; done < "$kept"
"""
"""Answers what a program does, which is asked the same once: QEMU takes 20 ms to tell its version."""

NO_DOCUMENT = {"demo": "--inject-fault nosuch", "run": "nosuch", "accept": "nosuch"}
"""Other words for commands whose words above list what can be named: no document."""


def leaves(command: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield every command below one, with its words."""
    inner = getattr(command, "commands", None)
    if inner is None or (name and getattr(command, "invoke_without_command", False)):
        yield name, command
    for word, one in (inner or {}).items():
        yield from leaves(one, f"{name} {word}".strip())


COMMANDS = dict(leaves(command_tree()))


class Tried(NamedTuple):
    """How a command ended: ordinarily, with ``--json``, and with each other kind of streams."""

    ordinary: Ended
    as_json: Ended
    otherwise: dict[tuple[Stream, Stream, Stream], Ended]


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Starts commands in a directory with runs, a log, a lab and a plan that is wrong."""
    place = tmp_path_factory.mktemp("streams")
    for name, text in (("holds", "S2 C2 V"), ("violated", "C2 V")):
        directory = place / name
        (directory / "evidence").mkdir(parents=True)
        with HistoryWriter(directory) as writer:
            for record in trace(text, run=name, guest="twin"):
                writer.write(record, host_ns=record.host_ns)
        facts = {"run": name, "plan": {"name": "veto"}}
        (directory / "run.json").write_bytes(msgspec.json.encode(facts))
        index = EvidenceIndex(run=name, why="a test")
        (directory / "evidence" / "index.json").write_bytes(msgspec.json.encode(index))
    (place / "lab.toml").write_text('[[plan]]\nplan = "veto"\n')
    (place / "wrong.toml").write_text('name = "a"\n[[do]]\nop = "add-cpu"\nslot = 9\n')
    event = encoder.perf(encoder.START + 9, 0x0A20, struct.pack("<II", 77, 0) + b"hello\0")
    (place / "lab.etl").write_bytes(encoder.header_buffer() + encoder.buffer(event, processor=0))
    # doctor asks each program that it finds for its version. With those of the main job it holds.
    (place / "bin").mkdir()
    for program in ("apt-get", "dpkg-deb", "gcc", "make"):
        if found := shutil.which(program):
            (place / "bin" / program).symlink_to(found)
    if found := shutil.which("qemu-system-x86_64"):
        (place / "bin" / "qemu-system-x86_64").write_text(ASKED_ONCE.format(program=found))
        (place / "bin" / "qemu-system-x86_64").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(place / "bin"))
        starter = Starter(place)
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def tried(starter: Starter) -> Callable[[str], Tried]:
    """A function that tries a command, once for all tests."""

    @cache
    def try_command(name: str) -> Tried:
        words = [*name.split(), *WORDS[name].split()]
        as_json = [*name.split(), "--json", *NO_DOCUMENT.get(name, WORDS[name]).split()]
        # A module is first imported while all streams are closed.
        closed, ordinary, documented, *others = starter.run(
            Asked(words, *CLOSED),
            Asked(words),
            Asked(as_json),
            *(Asked(words, *streams) for streams in CASES),
        )
        return Tried(ordinary, documented, dict(zip([CLOSED, *CASES], [closed, *others], strict=True)))

    return try_command


def expected(ordinary: Ended, stdout: Stream, stderr: Stream) -> int:
    """The code of a command whose ordinary end is known: what is not written is missed only where a write fails."""
    failed = (stdout == "full" and ordinary.out) or (stderr == "full" and ordinary.err)
    return ExitCode.INFRASTRUCTURE if failed and ordinary.code != ExitCode.USAGE else ordinary.code


def test_every_command_is_tried() -> None:
    """A new command gets its words above."""
    assert sorted(COMMANDS) == sorted(WORDS)


@pytest.mark.parametrize("name", WORDS)
def test_the_code_is_the_command_s_own(name: str, tried: Callable[[str], Tried]) -> None:
    """A closed stream is /dev/null, a reader that went away wants no more, and only a write that fails is 69."""
    ordinary, _, otherwise = tried(name)
    assert ordinary.code in set(ExitCode)
    for (_, stdout, stderr), ended in otherwise.items():
        assert (stdout, stderr, expected(ordinary, stdout, stderr)) == (stdout, stderr, ended.code)
        assert "Traceback" not in ended.out + ended.err
        if stdout == "file":
            assert bool(ordinary.out) == bool(ended.out)
        if stdout == "full" and stderr == "file" and ordinary.out:
            assert "harness: cannot write to standard output: No space left on device" in ended.err
        if stdout == "closed" and stderr == "file":
            assert ordinary.err == ended.err


@pytest.mark.parametrize("name", WORDS)
def test_errors_are_json_where_that_is_asked_for(name: str, tried: Callable[[str], Tried]) -> None:
    """Standard output holds one document with a version, whatever becomes of the command, and standard error the words."""
    ended = tried(name).as_json
    document = json.loads(ended.out)
    assert (1, ended.code) == (document["version"], document.get("exit_code", ended.code))
    if "error" in document:
        first = document["error"]["message"].splitlines()[0]
        assert ended.err.startswith(f"harness: {first}")


def test_a_verdict_survives_a_reader_that_went_away(starter: Starter) -> None:
    """1 is still proved when nobody reads it to the end; a disk without room beats it."""
    streams: list[Stream] = ["file", "gone", "full"]
    asked = [Asked(["check", "violated"], stdout=stream) for stream in streams]
    assert [1, 1, 69] == [ended.code for ended in starter.run(*asked)]


def test_only_streams_that_are_closed_stay_closed(starter: Starter) -> None:
    """A command that follows another in one process finds its own streams, whatever the other's were."""
    words = ["check", "violated"]
    closed, first, again = starter.run(Asked(words, *CLOSED), Asked(words), Asked(words))
    assert [(1, "", ""), (1, True, True)] == [closed, (first.code, bool(first.out), first == again)]
    assert first == starter.run(Asked(words), apart=True)[0]
