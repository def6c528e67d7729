# SPDX-License-Identifier: MIT
"""What the processes of ``warm_programs.py`` are: a program of a copy of the project, in one that has loaded what others wrote.

Only the process that they are forked from imports this.
"""

from __future__ import annotations

import atexit
import importlib
import os
import runpy
import site
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOADED = (
    "hypothesis",
    "msgspec",
    "qemu.qmp",
    "typer",
    "unittest",
    "_pytest.pytester",
    "pytest_rerunfailures",
)

BEFORE = {"", str(Path.cwd()), *os.environ.get("PYTHONPATH", "").split(os.pathsep)}


STREAMS = (
    ("stdin", "r", os.O_RDONLY),
    ("stdout", "w", os.O_WRONLY | os.O_APPEND),
    ("stderr", "w", os.O_WRONLY | os.O_APPEND),
)
SAVED = 3
"""Where the process has its standard streams, one after the other."""


class _Loading:
    """Imports the rest while pytest rewrites what it is to rewrite; what it finds loaded later it could only warn of."""

    def pytest_configure(self) -> None:
        for name in LOADED:
            importlib.import_module(name)


def load() -> None:
    """Import what nearly every program of the project imports of others: be a pytest that shows its help, with its plugins."""
    words = ["--help", "--noconftest", "-c", os.devnull, "-p", "no:hotplug_harness", "-p", "no:rerunfailures"]
    pytest.main(words, plugins=[_Loading()])


def program() -> int:
    """Be ``python`` or ``harness`` in place of the process that the first word is the number of."""
    pid, file, *words = sys.argv[1:]
    _stand_for(Path("/proc", pid))
    _forget()
    try:
        if Path(file).name == "harness":
            _run_file(Path(sys.executable).with_name("harness"), words)
        elif words[0] == "-m":
            sys.path.insert(0, str(Path.cwd()))
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            _run_file(Path(words[0]).absolute(), words[1:])
    except SystemExit as end:
        code = end.code
    else:
        code = 0
    atexit._run_exitfuncs()
    return code if isinstance(code, int) else int(code is not None)


def _run_file(file: Path, words: list[str]) -> None:
    sys.path.insert(0, str(file.parent))
    sys.argv = [str(file), *words]
    runpy.run_path(str(file), run_name="__main__")


def _stand_for(process: Path) -> None:
    """Take another process's directory, environment and standard streams."""
    os.chdir(process / "cwd")
    os.environ.clear()
    variables = (process / "environ").read_text(encoding="utf-8").split("\0")
    os.environ.update(each.split("=", 1) for each in variables if each)
    for number, (name, mode, how) in enumerate(STREAMS):
        theirs = os.open(process / "fd" / str(SAVED + number), how)
        os.dup2(theirs, number)
        os.close(theirs)
        # Python's own know whether what they were opened for can be sought in.
        before = getattr(sys, name)
        # Python writes to stderr line by line, also where it is a file.
        stream = open(  # noqa: SIM115
            number,
            mode,
            buffering=1 if name == "stderr" else -1,
            encoding=before.encoding,
            errors=before.errors,
            closefd=False,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _forget() -> None:
    """Forget the project's modules and the way to them; what is imported from now on is that of PYTHONPATH."""
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(place and Path(place).is_relative_to(ROOT) for place in places):
            del sys.modules[name]
    now = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, now), *(place for place in sys.path if place not in BEFORE)]
    for place in site.getsitepackages():
        # What is installed for development may stand where this process was started.
        site.addsitedir(place)
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()
