# SPDX-License-Identifier: MIT
"""The clone environment: the environment as one clone sees it, a small virtual environment that adds the clone's own package.

Its Python finds the packages of the shared environment and the code of this clone, and its programs are those of the
environment. So two clones that are used at the same time never see each other's code, and each has the entry points,
the metadata and the version that its own pyproject.toml gives.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import UsageError
from harness.setup.cache import Cache, digest
from harness.setup.environment import HIDDEN, PIP, base_python, expect, usable, venv_hint
from harness.setup.progress import Progress
from harness.setup.step import run

KIND = "clone"

OF_TOX = ("TOX_WORK_DIR", "TOX_ENV_NAME", "TOX_ENV_DIR")
"""Variables that a tox sets for its programs. Another tox would read the first as its own (tox:
reference/config, ``TOX_``)."""


def key(clone: Path, environment: Path) -> str:
    """Return the digest of everything a clone environment depends on.

    Only the parts of pyproject.toml that decide what is installed count, not the settings of the linters.
    """
    project = clone / "pyproject.toml"
    try:
        tables = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {project}: {error}", hint="Is the checkout complete?") from error
    builder = Path(__file__).read_bytes()
    installed = {name: tables.get(name) for name in ("build-system", "project")}
    return digest(str(clone), str(environment), repr(installed), builder)


def variables(place: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` as a program started in the virtual environment at ``place`` should see it.

    The three ``LAB_`` variables make tox use what is already built; see tox.ini.
    """
    kept = {name: value for name, value in environment.items() if name not in (*HIDDEN, *OF_TOX)}
    return {
        **kept,
        "VIRTUAL_ENV": str(place),
        "LAB_PYTHON": str(place / "bin" / "python"),
        "LAB_PACKAGE": "skip",
        "LAB_TOX": str(place / "tox"),
        "PATH": f"{place / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}",
    }


@dataclass(frozen=True)
class CloneEnvironment:
    """Builds the clone environment of ``clone`` over the environment at ``base``, built with the running Python."""

    clone: Path
    base: Path
    cache: Cache
    environment: Mapping[str, str]
    progress: Progress

    def place(self) -> Path:
        """Return the directory of the clone environment; build it, in some seconds, if it is missing, moved or broken."""
        name = key(self.clone, self.base)
        if found := usable(self.cache, KIND, name):
            return found
        deadline = Deadline(300, "setting up the clone")
        return self.cache.built(
            KIND, name, lambda place, lock: self._build(place, lock, deadline), deadline, clone=self.clone
        )

    def _build(self, place: Path, lock: int, deadline: Deadline) -> None:
        self.progress.say(f"setting up the clone {self.clone} in {place}")
        log = self.cache.log(f"{KIND}-{place.name}")
        clean = variables(place, self.environment)
        python = str(place / "bin" / "python")
        base = base_python()
        made = run(
            (base, "-I", "-m", "venv", "--clear", "--without-pip", str(place)),
            log, deadline, environment=clean, descriptors=(lock,),
        )  # fmt: skip
        expect(made, f"{base} could not make a virtual environment", venv_hint(made), log)
        (packages,) = place.glob("lib/python*/site-packages")
        below = self.base / packages.relative_to(place)
        # # Its own .pth files apply too. They are read after the one that pip adds, so that the clone comes
        # first.
        (packages / "base.pth").write_text(f"import site; site.addsitedir({str(below)!r})\n")
        self._link_programs(place)
        steps = (
            ("pip could not install the clone's package",
             (*PIP, "--no-index", "--no-deps", "--no-build-isolation", "--editable", str(self.clone))),
            # # tox needs its own directories for its (empty) environments. They are created here, under the
            # lock, so that two runs that start together do not both create them.
            ("tox could not be set up",
             ("-m", "tox", "run", "--notest", "-qq", "-c", str(self.clone / "tox.ini"), "-e", "py,lint")),
        )  # fmt: skip
        for failure, words in steps:
            ended = run(
                (python, *words), log, deadline,
                environment={**clean, "VIRTUALENV_NO_SEED": "1"}, descriptors=(lock,),
            )  # fmt: skip
            expect(ended, failure, "", log)
        checked = run((python, "-m", "pip", "check"), log, deadline, environment=clean, descriptors=(lock,))
        if checked.status != 0:
            # Not an error: the command that renews the lock file also runs through ./lab.
            self.progress.say(
                f"what is locked is not what pyproject.toml asks for:{checked.last_words()}\n"
                "  Renew the lock files: ./lab shell -c 'tox run -e lock'"
            )

    def _link_programs(self, place: Path) -> None:
        """Add the programs of the environment: scripts run under this Python, others are links."""
        here, there = (os.fsencode(f"{each / 'bin'}/") for each in (place, self.base))
        for program in sorted((self.base / "bin").iterdir()):
            copy = place / "bin" / program.name
            if copy.exists() or copy.is_symlink():
                continue
            content = program.read_bytes()
            if content.startswith(b"#!"):
                # A path that is too long for the first line is in the second.
                first, _, rest = content.partition(b"\n")
                second, line, rest = rest.partition(b"\n")
                copy.write_bytes(
                    first.replace(there, here) + b"\n" + second.replace(there, here) + line + rest
                )
                copy.chmod(0o755)
            else:
                copy.symlink_to(program)
