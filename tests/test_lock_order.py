# SPDX-License-Identifier: MIT
"""The check of the locks' order sees what it is for, and what the code, the check and docs/threads.md name is the same."""

from __future__ import annotations

import ast
import functools
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checked_harness import VIOLATED
from lock_order import GATES, LEDGER, LOCKS, TURNS, LockLedger, NotedLocks

from harness import locks
from harness.deadline import Deadline
from harness.interrupts import Interrupted, interruptible
from tests.syntax import nodes, parse

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "threads.md"

Use = Callable[[NotedLocks, LockLedger], None]


def _two_locks(make: NotedLocks, _: LockLedger) -> None:
    with make.condition("watch"), make.condition("event log"):
        pass


def _two_of_a_name(make: NotedLocks, _: LockLedger) -> None:
    with make.turn("history"), make.turn("history"):
        pass


def _turn_under_a_lock(make: NotedLocks, _: LockLedger) -> None:
    with make.condition("stage view"), make.turn("history"):
        pass


def _callback_under_a_lock(make: NotedLocks, ledger: LockLedger) -> None:
    with make.lock("process"):
        ledger.callback(lambda: None, "ended")()


def _wait_under_a_lock(make: NotedLocks, _: LockLedger) -> None:
    condition = make.condition("watch")
    with make.lock("libvirt loading"), condition:
        condition.wait(0)


def _wait_in_a_turn(make: NotedLocks, _: LockLedger) -> None:
    with make.turn("history"):
        make.gate("QMP reply").acquire(timeout=0)


def _unknown(make: NotedLocks, _: LockLedger) -> None:
    with make.lock("new"):
        pass


def _on_another_thread(make: NotedLocks, ledger: LockLedger) -> None:
    thread = threading.Thread(target=_two_locks, args=(make, ledger), name="other")
    thread.start()
    thread.join(10)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (_two_locks, "'MainThread' takes 'event log' while it holds 'watch'"),
        (_two_of_a_name, "'MainThread' takes 'history' while it holds 'history'"),
        (_turn_under_a_lock, "'MainThread' takes 'history' while it holds 'stage view'"),
        (_callback_under_a_lock, "'MainThread' calls ended while it holds 'process'"),
        (_wait_under_a_lock, "'MainThread' waits for 'watch' while it holds 'libvirt loading'"),
        (_wait_in_a_turn, "'MainThread' waits for 'QMP reply' while it holds 'history'"),
        (_unknown, "'MainThread' takes 'new', which has no place in the order"),
        (_on_another_thread, "'other' takes 'event log' while it holds 'watch'"),
    ],
)
def test_a_violation_is_noted(use: Use, said: str) -> None:
    """Each rule of the page, broken once, is noted once, with the thread and the locks."""
    ledger = LockLedger()
    use(NotedLocks(ledger), ledger)
    assert [said] == [violation.splitlines()[0] for violation in ledger.take()]
    assert [] == ledger.held


def test_what_is_allowed_is_not_noted() -> None:
    """Turns before locks, a turn taken again by its holder, a callback in a turn, a wait that lets go."""
    ledger = LockLedger()
    make = NotedLocks(ledger)
    writer, log = make.turn("history"), make.condition("event log")
    with make.turn("machine"), make.turn("follower"), writer:
        ledger.callback(lambda: None, "listener")()
        with writer, log, log:
            log.notify_all()
    with make.turn("machine"), log, log:
        log.wait(0)
        assert 4 == len(ledger.held) + 1
    assert ([], []) == (ledger.take(), ledger.held)


def test_the_suite_is_checked() -> None:
    """The locks that the harness makes in this process are the ones that note."""
    before = LEDGER.acquisitions
    with locks.turn("history"), locks.condition("watch"):
        pass
    assert 2 == LEDGER.acquisitions - before


VIOLATION = """
import sys
sys.path.insert(0, sys.argv[1])
import checked_harness
from harness import locks
watch, log = locks.condition("watch"), locks.condition("event log")
with watch, log:
    pass
checked_harness.report()
"""


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-c", VIOLATION, str(ROOT / "tests")], VIOLATED, "takes 'event log' while it holds 'watch'"),
        ([str(ROOT / "tests" / "checked_harness.py"), "run", "--list-plans"], 0, ""),
    ],
)
def test_a_process_of_its_own_reports_its_violations(words: list[str], code: int, said: str) -> None:
    """A violation in the command's own process gives its exit code and says what was taken; without one nothing changes."""
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)
    assert code == done.returncode
    assert said in done.stderr
    assert bool(said) == bool(done.stderr)


MAKERS = {"turn": TURNS, "lock": LOCKS, "condition": LOCKS, "gate": GATES}
OTHER_MAKERS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Barrier", "allocate_lock"}
OTHER_THREADS = {"Timer", "ThreadPoolExecutor", "to_thread", "run_in_executor", "start_new_thread"}


@functools.cache
def _calls() -> tuple[tuple[str, str, str, ast.Call], ...]:
    """Return each call in harness/ that may make a lock or a thread: its file, what it is called on and by which name, and the
    call. They are parsed once."""
    makers = OTHER_MAKERS | OTHER_THREADS | {"Thread"}
    named = re.compile(rf"\b(?:locks|{'|'.join(sorted(makers))})\b")
    return tuple(call for call in _parsed_calls(named) if call[1] == "locks" or call[2] in makers)


def _parsed_calls(named: re.Pattern[str]) -> Iterator[tuple[str, str, str, ast.Call]]:
    for file in sorted((ROOT / "harness").rglob("*.py")):
        where = str(file.relative_to(ROOT))
        text = file.read_text(encoding="utf-8")
        for node in nodes(parse(text)) if named.search(text) else ():
            if isinstance(node, ast.Call):
                if isinstance(node.func, ast.Attribute):
                    yield where, getattr(node.func.value, "id", ""), node.func.attr, node
                elif isinstance(node.func, ast.Name):
                    yield where, "", node.func.id, node


def test_every_lock_is_made_by_its_name() -> None:
    """No lock in harness/ is made but by harness/locks.py, which is given a name of its kind; all names are used."""
    strays = [
        (file, name) for file, _, name, _ in _calls() if name in OTHER_MAKERS and file != "harness/locks.py"
    ]
    used: dict[str, str] = {}
    for _, owner, name, call in _calls():
        if owner == "locks":
            (argument,) = call.args
            assert isinstance(argument, ast.Constant)
            assert argument.value in MAKERS[name]
            used[str(argument.value)] = name
    assert ([], {*TURNS, *LOCKS, *GATES}) == (strays, set(used))


def _thread_name(node: ast.expr) -> str:
    """Return a thread's name as it stands in the code, with … for what is known only when it runs."""
    if isinstance(node, ast.Subscript):
        return _thread_name(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    assert isinstance(node, ast.Constant)
    return str(node.value)


def _table(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading of the page."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\|.*\|$", text, re.MULTILINE)
    ]
    return rows[2:]


def test_the_page_names_every_thread() -> None:
    """Each thread that the code starts has a name, which is on the page with all that is said of it, and no other is."""
    calls = _calls()
    assert [("harness/delicate.py", "start_new_thread")] == [
        (file, name) for file, _, name, _ in calls if name in OTHER_THREADS
    ]
    made = [call for _, _, name, call in calls if name == "Thread"]
    names = [_thread_name(next(word.value for word in call.keywords if word.arg == "name")) for call in made]
    rows = _table("Threads")
    assert sorted(f"`{name}`" for name in names) == sorted(row[0] for row in rows if row[0] != "main")
    assert [] == [row[0] for row in rows if len(row) != 5 or not all(row)]


def test_the_page_has_the_order_of_the_locks() -> None:
    """The page's table has the names of the check, in its order."""
    wanted = [
        (f"`{name}`", kind)
        for kind, names in (("turn", TURNS), ("lock", LOCKS), ("gate", GATES))
        for name in names
    ]
    rows = _table("Locks, in the order in which they are taken")
    assert wanted == [(row[0], row[1]) for row in rows]
    assert [] == [row[0] for row in rows if len(row) != 4 or not all(row)]


@pytest.mark.parametrize("act", ["_take", "_give_back"])
def test_a_signal_inside_a_noted_lock_takes_effect_after_it(
    act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the lock nor its note is left behind, and the signal is not lost."""
    ledger = LockLedger()
    lock = NotedLocks(ledger).lock("watch")
    real = lock._real

    class Struck:
        """The real lock, during whose use the signal arrives."""

        def acquire(self, *how: Any) -> bool:
            taken: bool = real.acquire(*how)
            if act == "_take":
                signal.raise_signal(signal.SIGTERM)
            return taken

        def release(self) -> None:
            if act == "_give_back":
                signal.raise_signal(signal.SIGTERM)
            real.release()

    monkeypatch.setattr(lock, "_real", Struck())

    def wait() -> None:
        with lock:
            pass
        # Bounded: the test's own time limit is longer.
        Deadline(30, "the signal").poll(lambda: False, interval=0.001)

    with interruptible() as came, pytest.raises(Interrupted):
        wait()
    assert (came, ledger.held, real.locked(), ledger.take()) == ([signal.SIGTERM], [], False, [])
