# SPDX-License-Identifier: MIT
"""The virtual environment of one clone: its key, how it is built, and what a program started in it sees."""

from __future__ import annotations

import os
import platform
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.setup.cache import Cache, digest
from harness.setup.step import Ended, run

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
        str(clone), os.path.realpath(python), sys.version, platform.machine(), repr(installed), builder
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

        def step(*command: str) -> Ended:
            return run(command, log, deadline, environment=clean, descriptors=(lock,))

        made = step(self._python, "-I", "-m", "venv", "--clear", str(place))
        if made.status != 0:
            raise InfrastructureError(
                f"{self._python} could not make a virtual environment (exit status {made.status})\n{made.last_words()}",
                hint=_venv_hint(made, log),
            )
        python = str(place / "bin" / "python")
        installed = step(
            python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check",
            "--editable", f"{self._clone}[dev]",
        )  # fmt: skip
        if installed.status != 0:
            raise InfrastructureError(
                f"pip could not install the Python packages (exit status {installed.status})\n{installed.last_words()}",
                hint=_pip_hint(installed, log),
            )
        # tox wants a directory of its own for its (empty) environment; made here, under the lock, so that two test
        # runs that start together do not make it both.
        tox = step(
            python, "-m", "tox", "run", "--notest", "-qq", "-c", str(self._clone / "tox.ini"), "-e", "py,lint"
        )
        if tox.status != 0:
            raise InfrastructureError(
                f"tox could not be set up (exit status {tox.status})\n{tox.last_words()}",
                hint=f"Everything it printed is in {log}",
            )


def _venv_hint(ended: Ended, log: Path) -> str:
    if ended.says("No space left", "Disk quota exceeded"):
        return "Free about 1 GiB there, or set HOTPLUG_HARNESS_CACHE to a directory on a larger disk."
    if ended.says("ensurepip", "No module named venv"):
        return "Install the package python3-venv: sudo apt-get install python3-venv"
    return f"Everything it printed is in {log}"


def _pip_hint(ended: Ended, log: Path) -> str:
    all_of_it = f"Everything it printed is in {log}"
    if ended.says("No space left", "Disk quota exceeded"):
        return "Free about 1 GiB there, or set HOTPLUG_HARNESS_CACHE to a directory on a larger disk."
    if ended.says(
        "No matching distribution", "Connection", "Max retries", "Name or service not known", "timed out"
    ):
        return (
            "The Python package index could not be reached, or does not have it. pip's own settings are used: set\n"
            f"  PIP_INDEX_URL, PIP_PROXY or PIP_FIND_LINKS, or write them into pip.conf, and run this again.\n  {all_of_it}"
        )
    if ended.says("libvirt"):
        return f"libvirt-python is built from source: it needs libvirt-dev, python3-dev, gcc and pkgconf.\n  {all_of_it}"
    return all_of_it
