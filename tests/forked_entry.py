# SPDX-License-Identifier: MIT
"""What the processes that tests fork are: a command of the harness with its locks checked, or a pytest (``forked_command.py``).

Only the processes that they are forked from import this. The suite's own locks are checked by ``locks_in_order.py``.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from pathlib import Path

TESTS = str(Path(__file__).parent)
sys.path.insert(0, TESTS)
from checked_harness import report  # noqa: E402 - it is found in this folder, which stands in nobody's way afterwards

sys.path.remove(TESTS)


def command() -> int:
    """Be a command of the harness."""
    from harness.__main__ import main

    _settle()
    # The first to register is the last to be called: what closes machines at the end is checked too.
    atexit.register(report)
    return main()


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


OPENS_ALL = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: files are opened whatever their mode says (Linux: capabilities(7))."""


def command_without_override() -> int:
    """Be a command that may open only what a user may, whoever it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    # Version 3 has two words of each set (Linux: capget(2)).
    header, data = _Header(0x20080522, 0), (_Data * 2)()
    for function in (libc.capget, libc.capset):
        if function(ctypes.byref(header), data) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        # access() asks for what the process may take back, too.
        data[0].effective &= ~OPENS_ALL
        data[0].permitted &= ~OPENS_ALL
    return command()


def suite(stdin: int) -> int:
    """Be a pytest, its locks checked as well."""
    import pytest

    os.dup2(stdin, 0)
    os.close(stdin)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it stays open
    _settle()
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    sys.argv[0] = "pytest"
    code = int(pytest.console_main())
    report()
    return code


def load_suite() -> None:
    """Import what each pytest imports before its plugins, which it must import itself to be able to rewrite them."""
    import _pytest.config

    for name in _pytest.config.default_plugins:
        __import__(f"_pytest.{name}")


def _settle() -> None:
    """Take the first words, such as ``NAME=value``, into the environment, and go to the directory ``PWD``."""
    while len(sys.argv) > 1 and "=" in sys.argv[1] and sys.argv[1][0].isupper():
        name, _, value = sys.argv.pop(1).partition("=")
        os.environ[name] = value
        if name == "PWD":
            os.chdir(value)
