# SPDX-License-Identifier: MIT
"""Judges many recorded runs in parallel processes, and returns the verdicts in the order of the given runs.

A process streams one history at a time, and the number of waiting verdicts is limited by the window, so
memory use does not depend on the length of the histories. What it takes to have processes is imported where they start:
most commands judge one run. A failure with one run, even the sudden end of its
process, is the result of that run only.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from harness.capture.offline.recordings import recordings
from harness.contract.checker import judge_history
from harness.contract.verdict import Judged
from harness.errors import ExitCode, HarnessError
from harness.forking.leash import end_with
from harness.history.reader import History
from harness.history.run_directory import Brief, RunDirectory, history_file
from harness.interrupts import ENDING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

WORTH_PROCESSES = 1 << 20
"""Minimum bytes of histories for starting processes; less is judged faster than processes start."""

WINDOW = 8
"""Runs per process that may be judged ahead of the next result."""

Done = Callable[[Path], None]
Opened = Callable[[Path], History]


def history_size(path: Path) -> int:
    """Return the bytes of the history at ``path``, a run directory or a file; 0 if there is none."""
    with suppress(OSError):
        return history_file(path).stat().st_size
    return 0


def open_history(path: Path) -> History:
    """Open the history at ``path``. Raises BadHistory with a hint.

    For a run directory, channels that were recorded in files beside the history are joined to it
    (:func:`joined`). A file is read as it is.
    """
    history = History(path)
    return joined(history) if path.is_dir() else history


def joined(history: History) -> History:
    """Return a run's history joined with missing channels that the guest supplied as files beside it."""
    files = recordings(history)
    if not files:
        return history
    # The readers of these formats are rarely needed, and slow to import.
    from harness.capture.mapping.driver_map import kept_in
    from harness.capture.offline.joined import JoinedHistory
    from harness.driver.source import driver_folder

    described = kept_in(history.path.parent) or driver_folder() / "src" / "hpnotify.man"
    return JoinedHistory(history, files, described)


def judge_run(path: Path, opened: Opened = open_history) -> Judged:
    """Judge one run, whose history ``opened`` opens. Never raises because of missing or invalid files at ``path``."""
    try:
        history = opened(path)
        verdict = judge_history(history)
    except HarnessError as error:
        return _failed(path, error.message, error.hint, error.exit_code)
    except OSError as error:
        return _failed(path, f"cannot read {path}: {error.strerror}")
    except Exception as error:  # noqa: BLE001 - a defect in one run must not affect the others' verdicts
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

    ``opened`` opens a history that is judged in this process, so that the caller can reuse the decoded
    records. ``begun`` is called when the processes run: start threads only there, because the processes are
    forked before. ``done`` is called for each run as soon as its result is known, from any thread.
    ``processes`` defaults to the number of processors that this process may use; 1 starts none. Close the
    iterator (:func:`contextlib.closing`) when leaving early: that ends the processes at once.
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
    """Give each idle process the next run, unless that is too far ahead of the next result."""
    # Not a ProcessPoolExecutor: when one of its processes is killed while it writes a result, it waits
    # forever for the rest of that result, even at the end of the program.
    results: dict[int, Judged] = {}
    fell: Counter[int] = Counter()
    next_run, turn = 0, 0
    crew: list[_Worker] = []
    try:
        for _ in range(workers):
            # One by one, so that the running ones are known at any interrupt.
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
                        # The process may have been killed for another reason than this run.
                        worker.give(place, paths[place])
                        continue
                    judged = _failed(
                        paths[place],
                        f"{paths[place]}: the process that judged it ended suddenly",
                        "The kernel may have killed it because memory was low; see 'dmesg'.",
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
    """Wait until at least one busy process has a result, or has ended, and return all such processes."""
    from multiprocessing.connection import wait

    ready = wait([worker.connection for worker in crew if worker.place is not None])
    return [worker for worker in crew if worker.connection in ready]


class _Worker:
    """One process. ``place`` is the index of the run that it judges, None if it is idle."""

    def __init__(self) -> None:
        self.place: int | None = None
        self._start()

    def _start(self) -> None:
        import multiprocessing

        # Forked from this process, because a new interpreter, a fork server's too, takes longer to start than most runs
        # take to judge.
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, self.connection, os.getpid()), daemon=True
        )
        # The process inherits blocked signals until it has set its handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        # Only its own end stays open, so that the connection ends with the process.
        theirs.close()

    def give(self, place: int, path: Path) -> None:
        """Make it judge the run at ``path``."""
        self.place = place
        # Taking the result shows whether it still exists.
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
        """Start a new process in place of one that has ended."""
        self.end()
        self._start()

    def end(self) -> None:
        """Kill the process at once; it has no state to lose."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _work(connection: Connection, other_end: Connection, parent: int) -> None:
    """Judge incoming runs until the connection ends.

    Leave a terminal's signals to the parent, and end with it if it is killed.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    other_end.close()
    end_with(parent, signal.SIGKILL)
    with suppress(EOFError, OSError):
        while True:
            connection.send(judge_run(connection.recv()))


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
