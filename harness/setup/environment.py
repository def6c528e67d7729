# SPDX-License-Identifier: MIT
"""The virtual environment of one clone: its key, how it is built, and what a program started in it sees."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.program import ProgramResult
from harness.setup.cache import MORE_SPACE, Cache, digest
from harness.setup.step import run

KIND = "environment"
HIDDEN = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_REQUIRE_VIRTUALENV",
)
"""Variables that would send pip or the programs of the environment elsewhere. All other settings of pip are kept."""


FULL = ("No space left", "Disk quota exceeded")


def key(clone: Path, python: str) -> str:
    """Return the digest of everything the environment of ``clone`` depends on.

    The clone's path is among it because the package is installed editable: the environment runs that clone's code.
    Of pyproject.toml only what decides what is installed counts, not the settings of the linters.
    """
    project = clone / "pyproject.toml"
    try:
        tables = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {project}: {error}", hint="Is the checkout complete?") from error
    builder = Path(__file__).read_bytes()
    installed = {name: tables.get(name) for name in ("build-system", "project")}
    return digest(
        str(clone), os.path.realpath(python), sys.version, os.uname().machine, repr(installed), builder
    )


def variables(place: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` as a program started in the virtual environment at ``place`` should see it.

    The three ``LAB_`` variables have tox use what is already built; tox.ini says how.
    """
    kept = {name: value for name, value in environment.items() if name not in HIDDEN}
    return {
        **kept,
        "VIRTUAL_ENV": str(place),
        "LAB_PYTHON": str(place / "bin" / "python"),
        "LAB_PACKAGE": "skip",
        "LAB_TOX": str(place / "tox"),
        "PATH": f"{place / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}",
    }


class Environment:
    """Makes the virtual environment of ``clone`` with the Python at ``python`` (default: the running one)."""

    def __init__(
        self,
        clone: Path,
        cache: Cache,
        environment: Mapping[str, str],
        say: Callable[[str], None],
        *,
        python: str = "",
    ) -> None:
        self._clone = clone
        self._cache = cache
        self._environment = environment
        self._say = say
        self._python = python or getattr(sys, "_base_executable", sys.executable)

    def place(self) -> Path:
        """Return the directory of the environment, building it first if it is missing, old or broken."""
        name = key(self._clone, self._python)
        found = self._cache.ready(KIND, name)
        if found and not os.access(found / "bin" / "python", os.X_OK):
            # The distribution replaced its Python: the link in the environment leads nowhere.
            self._cache.forget(KIND, name)
        elif found:
            return found
        deadline = Deadline(1800, "building the Python environment")
        return self._cache.built(
            KIND, name, lambda place, lock: self._build(place, lock, deadline), deadline, clone=self._clone
        )

    def _build(self, place: Path, lock: int, deadline: Deadline) -> None:
        self._say(f"building the Python environment in {place}")
        log = self._cache.log(f"{KIND}-{place.name}")
        clean = variables(place, self._environment)

        def step(*command: str) -> ProgramResult:
            return run(command, log, deadline, environment=clean, descriptors=(lock,))

        python = str(place / "bin" / "python")
        made = step(self._python, "-I", "-m", "venv", "--clear", "--without-pip", str(place))
        if made.status == 0:
            # venv would run this itself, and keep to itself why it failed.
            made = step(python, "-I", "-m", "ensurepip", "--default-pip")
        _expect(made, f"{self._python} could not make a virtual environment", _venv_hint(made), log)
        package = f"{self._clone}[dev,libvirt]"
        installed = step(
            python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--editable", package
        )
        _expect(installed, "pip could not install the Python packages", _pip_hint(installed), log)
        # tox wants directories of its own for its (empty) environments; made here, under the lock, so that two runs
        # that start together do not make them both.
        tox = step(
            python, "-m", "tox", "run", "--notest", "-qq", "-c", str(self._clone / "tox.ini"), "-e", "py,lint"
        )
        _expect(tox, "tox could not be set up", "", log)


def _expect(ended: ProgramResult, failure: str, hint: str, log: Path) -> None:
    """Raise InfrastructureError saying ``failure`` and ``hint`` unless the step ended well."""
    if ended.status != 0:
        raise InfrastructureError(
            f"{failure} (exit status {ended.status}){ended.last_words()}",
            hint=f"{hint}\n  Everything it printed is in {log}".removeprefix("\n  "),
        )


def _venv_hint(ended: ProgramResult) -> str:
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
