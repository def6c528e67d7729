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
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from harness.capture.offline.recordings import recordings
from harness.contract.checker import judge_history
from harness.contract.verdict import Judged
from harness.driver.source import driver_folder
from harness.errors import ExitCode, HarnessError
from harness.history.reader import History
from harness.history.run_directory import Brief, RunDirectory, history_file
from harness.interrupts import ENDING

WORTH_PROCESSES = 1 << 20
"""Bytes of histories from which on processes are started; fewer are judged sooner than processes start."""

WINDOW = 8
"""Runs per process that are judged ahead of the one whose turn it is."""

Done = Callable[[Path], None]
Opened = Callable[[Path], History]


def history_size(path: Path) -> int:
    """Return the bytes of the history at ``path``, a run directory or a file; 0 if there is none."""
    with suppress(OSError):
        return history_file(path).stat().st_size
    return 0


def open_history(path: Path) -> History:
    """Open the history at ``path``. Raises BadHistory with what to give instead.

    With a run directory, channels that were recorded in files beside the history are joined to it (:func:`joined`); with
    a file, the history is taken as it is.
    """
    history = History(path)
    return joined(history) if path.is_dir() else history


def joined(history: History) -> History:
    """Return a run's history with the channels that it does not have and that a guest handed over into files beside it."""
    files = recordings(history)
    if not files:
        return history
    # What reads all those formats is seldom needed, and takes its time to be loaded.
    from harness.capture.mapping.driver_map import kept_in
    from harness.capture.offline.joined import JoinedHistory

    described = kept_in(history.path.parent) or driver_folder() / "src" / "hpnotify.man"
    return JoinedHistory(history, files, described)


def judge_run(path: Path, opened: Opened = open_history) -> Judged:
    """Judge one run, whose history is opened by ``opened``. Never raises for what is, or is not, at ``path``."""
    try:
        history = opened(path)
        verdict = judge_history(history)
    except HarnessError as error:
        return _failed(path, error.message, error.hint, error.exit_code)
    except OSError as error:
        return _failed(path, f"cannot read {path}: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - a defect met in one run must not take the others' verdicts
        return _failed(path, f"{path}: a defect of the harness itself: {type(error).__name__}: {error}")
    facts = RunDirectory(history.path.parent).brief()
    if facts.run != verdict.run:
        facts = Brief()
    version = facts.kernel_release or facts.image_digest[:12]
    return Judged(
        path=path,
        exit_code=verdict.exit_code,
        verdict=verdict,
        joined=getattr(history, "note", ""),
        guest=verdict.guest,
        plan=str(facts.plan.get("name", "")),
        build=f"{verdict.guest} {version}".strip(),
        ended=facts.error,
        started=history.header.wall,
        seconds=history.seconds,
    )


def judge_runs(
    paths: Sequence[Path],
    *,
    processes: int | None = None,
    begun: Callable[[], None] | None = None,
    done: Done | None = None,
    opened: Opened = open_history,
) -> Generator[Judged, None, None]:
    """Yield the result of each run, in the order given.

    ``opened`` opens a history that is judged in this process, so that its caller can go on with what was decoded.
    ``begun`` is called once the processes run: whoever wants threads of its own starts them there, because processes are
    forked before. ``done`` is told of each run as soon as its result is known, from any thread. ``processes`` is the
    number of processors this process may use, if not given; 1 starts none. Close the iterator
    (:func:`contextlib.closing`) when leaving early: that ends the processes at once.
    """
    workers = min(len(paths), processes or len(os.sched_getaffinity(0)))
    if workers > 1 and (processes is not None or sum(map(history_size, paths)) >= WORTH_PROCESSES):
        yield from _in_parallel(paths, workers, begun, done)
        return
    if begun is not None:
        begun()
    for path in paths:
        judged = judge_run(path, opened)
        if done is not None:
            done(path)
        yield judged


def _in_parallel(
    paths: Sequence[Path], workers: int, begun: Callable[[], None] | None, done: Done | None
) -> Generator[Judged, None, None]:
    """Give each idle process the next run, unless that is too far ahead of the one whose turn it is."""
    # Not a ProcessPoolExecutor: when one of its processes is killed while it writes a result, it waits for the rest of
    # that result for ever, at the end of the program too.
    results: dict[int, Judged] = {}
    fell: Counter[int] = Counter()
    next_run, turn = 0, 0
    crew: list[_Worker] = []
    try:
        for _ in range(workers):
            # One by one, so that those that run are known whenever an interrupt comes.
            crew.append(_Worker())  # noqa: PERF401
        if begun is not None:
            begun()
        while turn < len(paths):
            for worker in crew:
                if worker.place is None and next_run < min(len(paths), turn + workers * WINDOW):
                    worker.give(next_run, paths[next_run])
                    next_run += 1
            for worker in _ready(crew):
                place, judged = worker.take()
                if judged is None:
                    fell[place] += 1
                    worker.replace()
                    if fell[place] == 1:
                        # Whoever killed the process may not have meant this run.
                        worker.give(place, paths[place])
                        continue
                    judged = _failed(
                        paths[place],
                        f"{paths[place]}: the process that judged it ended suddenly",
                        "The kernel may have ended it for want of memory; 'dmesg' tells.",
                    )
                results[place] = judged
                if done is not None:
                    done(paths[place])
            while turn in results:
                yield results.pop(turn)
                turn += 1
    finally:
        for worker in crew:
            worker.end()


def _ready(crew: Sequence[_Worker]) -> list[_Worker]:
    """Wait until at least one busy process has a result, or has ended, and return all of which that is true."""
    ready = wait([worker.connection for worker in crew if worker.place is not None])
    return [worker for worker in crew if worker.connection in ready]


class _Worker:
    """One process, and ``place``, that of the run which it judges; None if it is idle."""

    def __init__(self) -> None:
        self.place: int | None = None
        self._start()

    def _start(self) -> None:
        # Forked, because a fresh interpreter takes longer to start than most runs take to judge.
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self.connection), daemon=True)
        # The process inherits that signals are held back, until it has said what it does with them.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        # Its end alone stays open, so that the connection ends when the process does.
        theirs.close()

    def give(self, place: int, path: Path) -> None:
        """Let it judge the run at ``path``."""
        self.place = place
        # Whether it is still there shows when its result is taken.
        with suppress(OSError):
            self.connection.send(path)

    def take(self) -> tuple[int, Judged | None]:
        """Return the place of its run and the result; None if the process has ended instead."""
        assert self.place is not None
        place, self.place = self.place, None
        try:
            return place, self.connection.recv()
        except (EOFError, OSError):
            return place, None

    def replace(self) -> None:
        """Start a new process in the place of one that has ended."""
        self.end()
        self._start()

    def end(self) -> None:
        """End the process at once; it holds nothing that could be lost."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, other_end: Connection) -> None:
    """Judge what comes in until nothing more can; leave a terminal's signals to the parent, and end with it if it is killed."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    other_end.close()
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            connection.send(judge_run(connection.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(ExitCode.INTERRUPTED)


def _failed(
    path: Path, message: str, hint: str = "", exit_code: ExitCode = ExitCode.INFRASTRUCTURE
) -> Judged:
    facts = Brief()
    with suppress(ValueError):
        # A path that no file can have.
        facts = RunDirectory(history_file(path).parent).brief()
    return Judged(
        path=path,
        exit_code=exit_code,
        error=message,
        hint=hint,
        guest=facts.guest,
        plan=str(facts.plan.get("name", "")),
    )
