# SPDX-License-Identifier: MIT
"""Times another reader over one log and prints JSON, in the environment that bench_etl.py builds.

    python etl_oracle.py dissect-typed|parser-typed|parser-tracelogging LOG ROUNDS

``typed`` reads each header, with dissect in order of time. ``tracelogging`` decodes every event.
"""

import contextlib
import io
import json
import sys
import time
from pathlib import Path


def dissect_typed(path):
    from dissect.etl import ETL

    with path.open("rb") as file:
        headers = [record.header for record in ETL(file)]
    headers.sort(key=lambda header: header.timestamp)
    return len(headers)


def _parser(path, take):
    from etl.etl import IEtlFileObserver, build_from_stream

    class Observer(IEtlFileObserver):
        def on_system_trace(self, event):
            take(event)

        def on_perfinfo_trace(self, event):
            take(event)

        def on_trace_record(self, event):
            take(event)

        def on_event_record(self, event):
            take(event)

        def on_win_trace(self, event):
            take(event)

    build_from_stream(path.read_bytes()).parse(Observer())


def parser_typed(path):
    # Not sorted, because its kernel records have no time.
    found = []
    _parser(path, found.append)
    return len(found)


def parser_tracelogging(path):
    found = []
    _parser(path, lambda event: found.append(event.parse_tracelogging()))
    return len(found)


TASKS = {
    "dissect-typed": dissect_typed,
    "parser-typed": parser_typed,
    "parser-tracelogging": parser_tracelogging,
}


def main():
    task, path, rounds = TASKS[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3])
    best, count = float("inf"), 0
    for _ in range(rounds):
        with contextlib.redirect_stdout(io.StringIO()):
            began = time.process_time()
            count = task(path)
            best = min(best, time.process_time() - began)
    print(json.dumps({"records": count, "seconds": best}))


if __name__ == "__main__":
    main()
