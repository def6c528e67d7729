# SPDX-License-Identifier: MIT
"""The implementation of ``./lab``: set up what is missing, then become the requested program.

If nothing is missing, a start costs one dpkg-query and one digest; nothing is installed, written or built.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Ctrl-C during the imports below ends this without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

if __package__ in (None, ""):
    # Started as a file, and isolated: neither the clone nor this directory is on Python's module path.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.deadline import Deadline
from harness.errors import ExitCode, HarnessError, MissingPart, UsageError
from harness.invocation import NAME, STARTED_AS, quoted
from harness.setup.cache import Cache, cache_directory
from harness.setup.clone_environment import CloneEnvironment, variables
from harness.setup.debian import Distribution, Installer, not_installed
from harness.setup.environment import Environment
from harness.setup.lock_file import lock_file
from harness.setup.parts import BASE, OWN_PYTHON, PWSH, REQUIRABLE, Need, Part, own_python, part, powershell
from harness.setup.progress import Progress

POWERSHELL = "powershell"

CLONE = Path(__file__).resolve().parents[2]

USAGE = f"""\
usage: ./lab COMMAND [ARGS]

Each command first sets up what is missing: Debian packages, and a Python environment in the cache.

  demo [ARGS]                     run the main job on the twin guest: harness demo ARGS
  test [--require PARTS] [ARGS]   run the tests through tox; ARGS go to pytest.
                                  PARTS, separated by commas, are installed too, and a test that needs
                                  one and is skipped fails: {", ".join(REQUIRABLE)};
                                  and powershell, which must be there
  harness ARGS                    run the command line of the harness
  shell [-c CMD [ARGS]]           open a shell in the environment, or run CMD in one

HOTPLUG_HARNESS_CACHE    where everything is built (default ~/.cache/hotplug-harness)
HOTPLUG_HARNESS_PYTHON   the Python to use (default /usr/bin/python3, else python3; 3.11, 3.12 or 3.13)

Exit codes are those of the program that ran; 64 for wrong usage, 69 when the set-up failed.
"""


progress = Progress(sys.stderr)
say = progress.say


class Lab:
    """The machine seen from one clone, and the commands that run on it once it is set up."""

    def __init__(
        self, clone: Path, environment: Mapping[str, str], *, distribution: Distribution | None = None
    ) -> None:
        self._clone = clone
        self._distribution = distribution or Distribution()
        self._environment = environment
        self._cache = Cache(cache_directory(environment), say)

    def set_up(self, required: Sequence[Part] = ()) -> Path:
        """Supply the base and ``required``, and return the directory of the clone's Python environment."""
        self._supply(required)
        base = Environment(lock_file(self._clone), self._cache, self._environment, progress).place()
        return CloneEnvironment(self._clone, base, self._cache, self._environment, progress).place()

    def _supply(self, required: Sequence[Part]) -> None:
        path = self._environment.get("PATH")
        distribution = self._distribution
        base = [need for need in BASE.needs if need.package not in OWN_PYTHON or own_python(sys.executable)]
        for each in required:
            if each.unpackaged == distribution.id and each.missing(path):
                raise MissingPart(
                    f"the part {each.name!r} is missing, and {distribution.name} has no package for it",
                    hint=each.elsewhere,
                )
        lacking = [need for each in required for need in each.missing(path)]
        try:
            packages = not_installed([need.package for need in (*base, *lacking)], self._environment)
        except MissingPart:
            missing = [need for need in base if not need.found(path)] + lacking
            if missing:
                raise _not_debian(distribution, missing) from None
            return
        if not packages:
            self._check(required)
            return
        if not distribution.meant_for:
            say(
                f"{distribution.name} is not one of Debian 12, Debian 13 and Ubuntu 24.04: trying all the same"
            )
        log = self._cache.log("apt-get")
        installer = Installer(self._environment, log, say)
        installer.install(packages, Deadline(1800, "installing packages"))
        installer.make_shared_leases(Deadline(60, "making the directory of leases"))
        self._check(required)

    def _check(self, required: Sequence[Part]) -> None:
        """Raise MissingPart if a required part is missing although its packages are installed."""
        for each in required:
            for need in each.missing(self._environment.get("PATH")):
                raise MissingPart(
                    f"the part {each.name!r} lacks {need.why}: none of {', '.join(need.evidence)} is on this machine",
                    hint=f"Its package is there. Reinstall it: sudo apt-get install --reinstall {need.package}",
                )

    def _demand(self, unsupplied: Part) -> None:
        """Raise MissingPart if a part without a package is missing."""
        for need in unsupplied.missing(self._environment.get("PATH")):
            raise MissingPart(
                f"the part {unsupplied.name!r} lacks {need.why} ({need.evidence[0]}), and no package supplies it",
                hint=f"{unsupplied.elsewhere[0].upper()}{unsupplied.elsewhere[1:]}, or name it by {PWSH}=PATH.\n"
                "  Its releases for Linux, as tar.gz: https://github.com/PowerShell/PowerShell/releases",
            )

    def become(self, place: Path, program: str, arguments: Sequence[str]) -> NoReturn:
        """Replace this process by ``program`` (of the environment, unless it is a path) with ``arguments``."""
        path = program if "/" in program else str(place / "bin" / program)
        started_as = f"{quoted(self._lab())} {NAME}"
        environment = variables(
            place,
            {**self._environment, "HOTPLUG_HARNESS_CACHE": str(self._cache.root), STARTED_AS: started_as},
        )
        if "/" in program:
            # In a shell of the environment, users type the program itself.
            del environment[STARTED_AS]
        try:
            os.execve(path, [program, *arguments], environment)  # noqa: S606 (a shell is what it avoids)
        except OSError as error:
            raise MissingPart(
                f"cannot start {path}: {error.strerror}",
                hint=f"Remove {place} and run this again: it will be rebuilt.",
            ) from error

    def _lab(self) -> str:
        """Return the command that starts ``./lab`` from this working directory, as it was typed if possible."""
        typed = self._environment.get("LAB_COMMAND") or str(self._clone / "lab")
        return typed if "/" in typed or shutil.which(typed) else f"./{typed}"

    def harness(self, arguments: Sequence[str]) -> NoReturn:
        """``./lab harness ARGS``."""
        self.become(self.set_up(), "harness", arguments)

    def test(self, arguments: Sequence[str]) -> NoReturn:
        """``./lab test [--require PARTS] [ARGS]``."""
        names, rest = split_require(arguments)
        unsupplied = powershell(self._environment)
        if unsupplied.name in names:
            self._demand(unsupplied)
        place = self.set_up([part(name) for name in names if name != unsupplied.name])
        require = ["--require", ",".join(names)] if names else []
        tox = ["run", "-qq", "-c", str(self._clone / "tox.ini"), "-e", "py", "--"]
        self.become(place, "tox", [*tox, *require, *rest])

    def shell(self, arguments: Sequence[str]) -> NoReturn:
        """``./lab shell [-c CMD [ARGS]]``."""
        if arguments and arguments[0] != "-c":
            raise UsageError(f"./lab shell takes -c CMD, not {arguments[0]!r}")
        if len(arguments) == 1:
            raise UsageError("./lab shell -c needs a command", hint="./lab shell -c 'python --version'")
        if arguments:
            self.become(self.set_up(), "/bin/bash", arguments)
        self.become(self.set_up(), self._environment.get("SHELL") or "/bin/bash", [])


def split_require(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take ``--require PARTS`` out of ``arguments``; return the parts, each once, and the remaining arguments for pytest."""
    names: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest.extend(waiting)
        elif argument == "--require" or argument.startswith("--require="):
            value = argument[len("--require=") :] if "=" in argument else next(waiting, "")
            given = [name.strip() for name in value.split(",") if name.strip()]
            if not given:
                raise UsageError(
                    "--require needs the names of parts", hint=f"They are {', '.join(REQUIRABLE)}."
                )
            names.extend(given)
        else:
            rest.append(argument)
    for name in names:
        if name != POWERSHELL:
            part(name)
    return list(dict.fromkeys(names)), rest


def _not_debian(distribution: Distribution, missing: Sequence[Need]) -> MissingPart:
    lines = "\n".join(
        f"    {need.why}: {need.evidence[0]} (Debian's package {need.package})" for need in missing
    )
    return MissingPart(
        f"{distribution.name} has no Debian packages, and this is missing:\n{lines}",
        hint="Install it with this system's own package manager and run this again. The harness is meant for\n"
        "  Debian 12, Debian 13 and Ubuntu 24.04.",
    )


def main(arguments: Sequence[str]) -> int:
    """Run ``./lab ARGUMENTS``. Returns only if it failed or had nothing to run; see ``ExitCode``."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _command(arguments)
    except HarnessError as error:
        say(str(error))
        return int(error.exit_code)
    except KeyboardInterrupt:
        say("interrupted; what was half-built will not be used")
        return int(ExitCode.INTERRUPTED)


def _command(arguments: Sequence[str]) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command in ("-h", "--help", "help") or (
        command in ("test", "shell") and rest[:1] in (["-h"], ["--help"])
    ):
        sys.stdout.write(USAGE)
        return 0
    lab = Lab(CLONE, os.environ)
    if command == "harness":
        lab.harness(rest)
    if command == "demo":
        lab.harness(["demo", *rest])
    if command == "test":
        lab.test(rest)
    if command == "shell":
        lab.shell(rest)
    what = f"there is no command {command!r}" if command else "a command is missing"
    raise UsageError(what, hint="The commands are demo, test, harness and shell; see ./lab --help.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
