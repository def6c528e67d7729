# SPDX-License-Identifier: MIT
"""Placeholders: what stands in a kept run in the place of the paths and names of the machine that recorded it."""

from __future__ import annotations

import functools
import getpass
import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from harness.setup.cache import cache_directory

ROOT = Path(__file__).resolve().parents[2]

SYSTEM_DIRECTORIES = ("bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "usr", "var")
"""First components of paths that are the same on every Linux system."""

QEMU_OBJECTS = ("machine", "objects")
"""First components of the paths of QEMU's object model, which name no file."""

FORBIDDEN = re.compile(
    r"/(?:root|home|tmp|Users)(?![\w.-])|/proc/\d+|/run/user/\d+|/var/tmp(?![\w.-])"
    r"|tsc_early_khz=(?!1000000\b)\d+"
)
"""What no kept file may hold, whatever machine recorded it."""

ABSOLUTE = re.compile(r"(?<![\w.)\]}<>:/\\-])/([A-Za-z][\w.-]*)(?=/)")
"""The first component of an absolute path."""

HOST_FACT = re.compile(r'("(system|python|cpus)": )"[^"]*"')


class Placeholders:
    """Replaces paths and words. ``paths`` and ``words`` map what is replaced to what replaces it.

    A path is replaced where it is a whole path or the beginning of one, a word where it is a whole word.
    """

    def __init__(self, paths: Mapping[str, str], words: Mapping[str, str]) -> None:
        self._new = {_escaped(old): new for old, new in {**paths, **words}.items()}
        # The longest first: a directory in the home directory has a placeholder of its own.
        known = "|".join(map(re.escape, sorted(self._new, key=len, reverse=True)))
        self._pattern = re.compile(rf"(?<![\w.-])(?:{known})(?![\w-])")

    def apply(self, text: str) -> str:
        """Return a text of JSON with everything replaced."""
        replaced = self._pattern.sub(lambda found: self._new[found[0]], text)
        return re.sub(r"tsc_early_khz=\d+", "tsc_early_khz=1000000", replaced)

    def apply_to_facts(self, text: str) -> str:
        """Return the text of a ``run.json``, in which the recording host's own facts are replaced too."""
        head, name, rest = self.apply(text).partition('"host": {')
        facts, end, tail = rest.partition("}")
        return head + name + HOST_FACT.sub(lambda fact: f'{fact[1]}"{fact[2].upper()}"', facts) + end + tail

    def leaks(self, text: str) -> list[str]:
        """Return what in a text names a machine: forbidden patterns, foreign paths, and what was to be replaced."""
        foreign = [
            f"/{name}"
            for name in ABSOLUTE.findall(text)
            if name not in (*SYSTEM_DIRECTORIES, *QEMU_OBJECTS) and not name.isupper()
        ]
        return sorted({*FORBIDDEN.findall(text), *foreign, *self._pattern.findall(text)})


def of_machine(places: Mapping[Path, str] | None = None) -> Placeholders:
    """Return the placeholders of this machine and this user; ``places`` are further directories."""
    paths = {Path.home(): "/HOME", ROOT: "/CLONE", cache_directory(os.environ): "/CACHE", **(places or {})}
    for variable, placeholder in (
        ("TMPDIR", "/TMP"),
        ("XDG_RUNTIME_DIR", "/RUNTIME"),
        ("XDG_STATE_HOME", "/STATE"),
    ):
        if os.environ.get(variable, "").startswith("/"):
            paths.setdefault(Path(os.environ[variable]), placeholder)
    both = {str(path): new for path, new in paths.items()}
    both |= {os.path.realpath(path): new for path, new in paths.items()}
    names = {
        platform.node(): "HOST-NAME",
        platform.node().partition(".")[0]: "HOST-NAME",
        _user(): "USER-NAME",
    }
    words = {name: new for name, new in names.items() if telling(name)}
    return Placeholders(
        {path: new for path, new in both.items() if path != "/"}, {**words, platform.platform(): "SYSTEM"}
    )


def telling(name: str) -> bool:
    """Return whether a name of a host or a user says anything: not if it is a word of the harness's own sources."""
    if len(name) < 2 or re.fullmatch(r"\w+", name) is None:
        return len(name) > 1
    return not any(name in text and re.search(rf"\b{name}\b", text) for text in _own_sources())


@functools.cache
def _own_sources() -> list[str]:
    return [file.read_text() for file in (ROOT / "harness").rglob("*.py")]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _escaped(text: str) -> str:
    """Return a text as it stands between the quotes of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
