# SPDX-License-Identifier: MIT
"""The environment: the locked packages in a virtual environment, built once for all clones of the user.

It has the project's dependencies, but not the project itself; :mod:`harness.setup.clone_environment` adds the
clone.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.program import ProgramResult
from harness.setup.cache import MORE_SPACE, Cache, digest
from harness.setup.lock_file import requirements
from harness.setup.progress import Progress
from harness.setup.step import run_watched

KIND = "environment"
HIDDEN = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PIP_CONSTRAINT",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_REQUIRE_VIRTUALENV",
)
"""Variables that would redirect pip or the programs of the environment, or override the lock file.

All other settings of pip are kept.
"""

FULL = ("No space left", "Disk quota exceeded")
BUILDERS = ("pip", "setuptools")
"""Packages that are installed first: they install the others, and build those without a wheel."""
PIP = ("-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off")


def base_python() -> str:
    """Return the running Python, outside its virtual environment, if any."""
    return str(getattr(sys, "_base_executable", sys.executable))


def key(lock: Path, python: str) -> str:
    """Return the digest of everything the environment depends on: the lock file, the Python, and what builds it."""
    try:
        locked = lock.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {lock}: {error.strerror}", hint="Is the checkout complete?") from error
    builder = Path(__file__).read_bytes()
    return digest(os.path.realpath(python), sys.version, os.uname().machine, locked, builder)


class Environment:
    """Builds the environment of ``lock`` with the running Python."""

    def __init__(self, lock: Path, cache: Cache, environment: Mapping[str, str], progress: Progress) -> None:
        self._lock = lock
        self._cache = cache
        self._environment = {name: value for name, value in environment.items() if name not in HIDDEN}
        self._progress = progress
        self._python = base_python()

    def place(self) -> Path:
        """Return the directory of the environment; build it first if it is missing, moved or broken."""
        name = key(self._lock, self._python)
        if found := usable(self._cache, KIND, name):
            return found
        deadline = Deadline(1800, "building the Python environment")
        return self._cache.built(
            KIND, name, lambda place, lock: self._build(place, lock, deadline), deadline, clone=None
        )

    def _build(self, place: Path, lock: int, deadline: Deadline) -> None:
        self._progress.say(
            f"building the Python environment in {place}: some minutes, once for this {self._lock.name}"
        )
        try:
            locked = requirements(self._lock.read_text(encoding="utf-8"))
            builders = "".join(f"{locked[name]}\n" for name in BUILDERS)
        except (UnicodeDecodeError, KeyError) as error:
            raise UsageError(
                f"{self._lock} is not a lock file of this project: {error}", hint="tox run -e lock makes it"
            ) from error

        log = self._cache.log(f"{KIND}-{place.name}")
        python = str(place / "bin" / "python")

        def step(words: Callable[[str], str], *command: str) -> ProgramResult:
            ended = run_watched(
                command, log, deadline, lambda text: self._progress.show(words(text)),
                environment=self._environment, descriptors=(lock,),
            )  # fmt: skip
            self._progress.clear()
            return ended

        for command in (
            (self._python, "-I", "-m", "venv", "--clear", "--without-pip", str(place)),
            # venv would run this itself, but hide the reason of a failure.
            (python, "-I", "-m", "ensurepip", "--default-pip"),
        ):
            made = step(lambda _: "making a virtual environment", *command)
            expect(made, f"{self._python} could not make a virtual environment", venv_hint(made), log)
        first = place / "builders.txt"
        first.write_text(builders, encoding="utf-8")

        def install(file: Path, count: int, *options: str) -> None:
            words = (*PIP, "--no-deps", "--require-hashes", *options, "--requirement", str(file))
            installed = step(lambda text: stage(text, count), python, *words)
            expect(installed, "pip could not install the Python packages", _pip_hint(installed), log)

        # # The distribution's pip fetches only the locked pip. Packages without a wheel are also built with
        # locked packages.
        install(first, len(BUILDERS))
        install(self._lock, len(locked), "--no-build-isolation")


def stage(text: str, count: int) -> str:
    """Return pip's current activity as text, from its output ``text`` and the ``count`` of packages to install."""
    lines = re.findall(
        r"^ *(Collecting|Building wheel for|Installing collected packages)[: ]+(\S+)", text, re.MULTILINE
    )
    what, name = lines[-1] if lines else ("", "")
    if what.startswith("Installing"):
        return f"installing {count} packages"
    package = re.split(r"[=<>]", name)[0]
    if what.startswith("Building"):
        return f"building {package}"
    fetched = sum(word == "Collecting" for word, _ in lines)
    return f"downloading {package}, {fetched} of {count}" if package else "starting pip"


def usable(cache: Cache, kind: str, name: str) -> Path | None:
    """Return the virtual environment ``kind``/``name``, or None if it must be built; discard one that cannot run."""
    found = cache.ready(kind, name)
    if found and (not os.access(found / "bin" / "python", os.X_OK) or cache.moved(kind, name)):
        # The distribution replaced its Python, so that the link is dangling; or the cache was moved.
        cache.forget(kind, name)
        return None
    return found


def expect(ended: ProgramResult, failure: str, hint: str, log: Path) -> None:
    """Raise InfrastructureError with ``failure`` and ``hint`` unless the step succeeded."""
    if ended.status != 0:
        raise InfrastructureError(
            f"{failure} (exit status {ended.status}){ended.last_words()}",
            hint=f"{hint}\n  Everything it printed is in {log}".removeprefix("\n  "),
        )


def venv_hint(ended: ProgramResult) -> str:
    """Return the hint for a virtual environment that could not be created."""
    if ended.says(*FULL):
        return MORE_SPACE
    if ended.says("ensurepip", "No module named venv"):
        return "Install the package python3-venv: sudo apt-get install python3-venv"
    return ""


def _pip_hint(ended: ProgramResult) -> str:
    if ended.says(*FULL):
        return MORE_SPACE
    if ended.says("CERTIFICATE_VERIFY_FAILED"):
        return (
            "The certificate of the Python package index is not trusted here. If it is your own, name its authority:\n"
            "  PIP_CERT=/path/to/ca.pem, or 'cert' in pip.conf, and run this again."
        )
    if ended.says("DO NOT MATCH THE HASHES"):
        return (
            "A file that the index served is not the one that was locked. Try another index or mirror (PIP_INDEX_URL);\n"
            "  if the lock file itself is wrong: ./lab shell -c 'tox run -e lock', where ./lab works."
        )
    if ended.says(
        "No matching distribution", "Connection", "Max retries", "Name or service not known", "timed out"
    ):
        return (
            "The Python package index could not be reached, or does not have it. pip's own settings are used: set\n"
            "  PIP_INDEX_URL, PIP_PROXY or PIP_FIND_LINKS, or write them into pip.conf, and run this again."
        )
    if ended.says("libvirt"):
        return "libvirt-python is built from source: it needs libvirt-dev, python3-dev, gcc and pkgconf."
    return ""
