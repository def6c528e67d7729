# SPDX-License-Identifier: MIT
"""Judges many recorded runs in parallel processes, and hands the verdicts back in the order in which the runs were given.

A process streams one history at a time, and only as many verdicts as there are places in the window wait here, so the
memory needed does not depend on how long the histories are. What goes wrong with one run, even the sudden end of the
process that judges it, is that run's result and no other's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

import msgspec

from harness.contract.checker import judge_history
from harness.contract.verdict import RunVerdict
from harness.errors import BadHistory, ExitCode, HarnessError, InfrastructureError
from harness.history.reader import History

WORTH_PROCESSES = 1 << 20
"""Bytes of histories from which on processes are started; fewer are judged sooner than processes start."""

WINDOW = 8
"""Runs per process that are judged ahead of the one whose turn it is."""

LARGEST_FACTS = 1 << 20
"""Bytes of a ``run.json`` that are read."""

Done = Callable[[Path], None]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One run: its verdict, or ``error`` (with its way out, ``hint``) that kept it from having one.

    ``plan`` and ``build`` (the guest and which version of it) are what the ``run.json`` beside the history says;
    without one, ``plan`` is "" and ``build`` is the guest alone.
    """

    path: Path
    exit_code: ExitCode
    verdict: RunVerdict | None = None
    error: str = ""
    hint: str = ""
    plan: str = ""
    build: str = ""


def history_size(path: Path) -> int:
    """Return the bytes of the history at ``path``, a run directory or a file; 0 if there is none."""
    try:
        return (path / "history.jsonl" if path.is_dir() else path).stat().st_size
    except OSError:
        return 0


def open_history(path: Path) -> History:
    """Open the history at ``path``, a run directory or a file. Raises BadHistory with what to give instead."""
    file = path / "history.jsonl" if path.is_dir() else path
    if file.exists() and not file.is_file():
        # Opening a named pipe would wait for a writer for ever.
        raise BadHistory(f"{file} is no regular file", hint="Give a run directory or a history.jsonl.")
    return History(path)


def judge_run(path: Path) -> Judged:
    """Judge one run. Never raises for what is, or is not, at ``path``."""
    try:
        verdict = judge_history(open_history(path))
    except HarnessError as error:
        return Judged(path=path, exit_code=error.exit_code, error=error.message, hint=error.hint)
    except OSError as error:
        return _failed(path, f"cannot read {path}: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - a defect met in one run must not take the others' verdicts
        return _failed(path, f"{path}: a defect of the harness itself: {type(error).__name__}: {error}")
    facts = _facts(path if path.is_dir() else path.parent)
    version = facts.kernel_release or facts.image_digest[:12]
    return Judged(
        path=path,
        exit_code=verdict.exit_code,
        verdict=verdict,
        plan=facts.plan.name if facts.run == verdict.run else "",
        build=f"{verdict.guest} {version}".strip() if facts.run == verdict.run else verdict.guest,
    )


def judge_runs(
    paths: Sequence[Path], *, processes: int | None = None, done: Done | None = None
) -> Generator[Judged, None, None]:
    """Yield the result of each run, in the order given; ``done`` is told of each as soon as it is known, from any thread.

    ``processes`` is the number of processors this process may use, if not given; 1 starts none. Close the iterator
    (:func:`contextlib.closing`) when leaving early: that ends the processes at once.
    """
    workers = min(len(paths), processes or len(os.sched_getaffinity(0)))
    if workers < 2 or (processes is None and sum(map(history_size, paths)) < WORTH_PROCESSES):
        for path in paths:
            judged = judge_run(path)
            if done is not None:
                done(path)
            yield judged
        return
    yield from _in_parallel(deque(paths), workers, done)


def _in_parallel(left: deque[Path], workers: int, done: Done | None) -> Generator[Judged, None, None]:
    while left:
        waiting: deque[tuple[Path, Future[Judged]]] = deque()
        with _pool(workers) as pool:
            try:
                while left or waiting:
                    while left and len(waiting) < workers * WINDOW:
                        waiting.append((left[0], _submit(pool, left[0], done)))
                        left.popleft()
                    judged = waiting[0][1].result()
                    waiting.popleft()
                    yield judged
            except BrokenProcessPool:
                pass
        # Some are left waiting only if one of them ended its process. Each of them alone shows which.
        for path, future in waiting:
            yield _finished(future) or _alone(path, done)


def _alone(path: Path, done: Done | None) -> Judged:
    with _pool(1) as pool:
        try:
            return _submit(pool, path, done).result()
        except BrokenProcessPool:
            if done is not None:
                done(path)
    return _failed(
        path,
        f"{path}: the process that judged it ended suddenly",
        "The kernel may have ended it for want of memory; 'dmesg' tells.",
    )


def _submit(pool: ProcessPoolExecutor, path: Path, done: Done | None) -> Future[Judged]:
    # Processes that are forked here inherit that Ctrl-C is held back, until they have said that they ignore it.
    with _interrupts_held_back():
        future = pool.submit(judge_run, path)
    if done is not None:
        future.add_done_callback(lambda ended: None if _finished(ended) is None else done(path))
    return future


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes are gone when the block is left, at once if it is left by an exception."""
    before = set(multiprocessing.active_children())
    # Forked, because a fresh interpreter takes longer to start than most runs take to judge. The pool forks all its
    # processes on the first submit, before it starts a thread of its own.
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("fork"), initializer=_begin_work
    )
    try:
        yield pool
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _begin_work() -> None:
    """Leave Ctrl-C to the parent, which ends its processes itself, and end with it if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(ExitCode.INTERRUPTED)


def _finished(future: Future[Judged]) -> Judged | None:
    if not future.done() or future.cancelled() or future.exception() is not None:
        return None
    return future.result()


def _failed(path: Path, message: str, hint: str = "") -> Judged:
    error = InfrastructureError(message, hint=hint)
    return Judged(path=path, exit_code=error.exit_code, error=error.message, hint=error.hint)


class _Plan(msgspec.Struct):
    name: str = ""


class _Facts(msgspec.Struct):
    run: str = ""
    plan: _Plan = msgspec.field(default_factory=_Plan)
    kernel_release: str = ""
    image_digest: str = ""


def _facts(directory: Path) -> _Facts:
    """Return what the run's ``run.json`` says; nothing if there is none that can be read."""
    file = directory / "run.json"
    try:
        if not file.is_file():
            return _Facts()
        with file.open("rb") as facts:
            return msgspec.json.decode(facts.read(LARGEST_FACTS), type=_Facts)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Facts()
