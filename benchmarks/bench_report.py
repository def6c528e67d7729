# SPDX-License-Identifier: MIT
"""The report of 100,000 records: the time to make it and to paint it, and how smoothly it pans and zooms. Prints JSON.

Times of the page are wall time, and the processor time of its main thread until it is complete, which does not depend
on other load. Frames are those that Chromium's own trace reports as presented while the pointer drags and the wheel
turns. The page counts its draws in the same time, and the two must agree. A report of 1,000,000 records states what it
leaves out.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from playwright.sync_api import Browser, Page, sync_playwright

from harness.contract.checker import judge_history
from harness.contract.notation import trace
from harness.contract.verdict import RunVerdict
from harness.history.driver import DriverRecord, SyncEnter, SyncExit
from harness.history.reader import History
from harness.history.record import Channel, Record
from harness.report.page.document import ReportInput, report_document
from harness.report.page.html import page as html_page
from harness.setup.parts import part

RECORDS, MANY = 100_000, 1_000_000
LIMIT_PAINT_MS = 1000.0
LIMIT_FRAMES = 30.0
SECONDS = 3.0
LEGAL = trace("+cpu S2{alloc=1} C2 V mark =cpu Q")


def history(path: Path, count: int) -> Path:
    """Write a history with ``count`` records, callbacks on 16 processors, and return it."""
    end = next(place for place, record in enumerate(LEGAL) if isinstance(record, Channel))
    enter = next(record for record in LEGAL if isinstance(record, SyncEnter))
    leave = next(record for record in LEGAL if isinstance(record, SyncExit))

    def body() -> Iterator[Record]:
        for number in itertools.count():
            cpu = number % 16
            yield msgspec.structs.replace(enter, cpu=cpu, nt=3 + cpu, number=3 + cpu)
            yield msgspec.structs.replace(leave, cpu=cpu, nt=3 + cpu, number=3 + cpu, enter=-1)

    between = itertools.islice(body(), count - len(LEGAL))
    seq = 0
    with path.open("wb") as file:
        for number, record in enumerate(itertools.chain(LEGAL[:end], between, LEGAL[end:]), 1):
            changes: dict[str, int] = {"n": number, "host_ns": 10**12 + number * 20_000}
            if isinstance(record, DriverRecord):
                seq += 1
                changes |= {"seq": seq, "qpc": number * 200}
                if getattr(record, "enter", 0) == -1:
                    changes["enter"] = seq - 1
            file.write(msgspec.json.encode(msgspec.structs.replace(record, **changes)) + b"\n")
    return path


def made(
    place: Path, count: int, verdict: RunVerdict | None = None
) -> tuple[Path, RunVerdict, dict[str, Any]]:
    """Make the report of ``count`` records. Return it with its verdict, and with its figures; judging is not
    included in them."""
    recorded = History(history(place / "history.jsonl", count))
    verdict = verdict or judge_history(recorded)
    began = time.perf_counter()
    document = report_document(ReportInput(history=recorded, verdict=verdict))
    left = sum(number for _, number in document["history"]["left_out"])
    needed = {witness.record for finding in verdict.findings for witness in finding.witnesses}
    lost = len(needed - set(itertools.accumulate(document["records"]["n"])))
    data = html_page(document)
    seconds = time.perf_counter() - began
    report = place / "report.html"
    report.write_bytes(data)
    return report, verdict, {"seconds": seconds, "mib": len(data) / (1 << 20), "left_out": left, "lost": lost}


def presented(browser: Browser, page: Page) -> tuple[int, float, int]:
    """Pan and zoom for some seconds. Return the frames that Chromium presented, the seconds, and the page's count of
    draws."""
    canvas = page.locator(".plot canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + min(box["height"], 300) / 2
    canvas.focus()

    def drawn() -> int:
        return int(page.evaluate("Number(document.querySelector('.plot canvas').dataset.frames)"))

    page.mouse.move(x, y)
    for _ in range(3):
        page.mouse.wheel(0, -200)
    browser.start_tracing(
        page=page, categories=["disabled-by-default-devtools.timeline.frame", "devtools.timeline.frame"]
    )
    before, began = drawn(), time.perf_counter()
    page.mouse.down()
    step = 0
    while time.perf_counter() - began < SECONDS * 0.7:
        step += 1
        page.mouse.move(x + 120 * ((step % 40) / 20 - 1), y)
    page.mouse.up()
    while time.perf_counter() - began < SECONDS:
        step += 1
        page.mouse.wheel(0, 40 if step % 20 < 10 else -40)
    seconds, after = time.perf_counter() - began, drawn()
    events = json.loads(browser.stop_tracing())["traceEvents"]
    return sum(event.get("name") == "DrawFrame" for event in events), seconds, after - before


def main() -> int:
    """Make both reports, open the smaller one, and compare with the limits."""
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        program = part("browser").needs[0].found()
        report, verdict, figures["report of 100,000"] = made(Path(folder), RECORDS)
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        processor = page.context.new_cdp_session(page)
        processor.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(report.as_uri())
        page.wait_for_selector("table.records td.what:not(:empty)")
        paint = float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        picture = float(page.evaluate("performance.getEntriesByName('picture')[0].startTime"))
        measured = {one["name"]: one["value"] for one in processor.send("Performance.getMetrics")["metrics"]}
        page.get_by_label("every record").check()
        page.wait_for_function("() => document.querySelector('caption').textContent.startsWith('100,000')")
        frames, seconds, drawn = presented(browser, page)
        browser.close()
        figures["page"] = {
            "first_paint_ms": paint, "picture_ms": picture, "processor_ms": measured["TaskDuration"] * 1000, "frames_a_second": frames / seconds, "drawn_a_second": drawn / seconds,
        }  # fmt: skip
        *_, figures["report of 1,000,000"] = made(Path(folder), MANY, verdict)
    sys.stdout.write(json.dumps(figures))
    missed = [
        text
        for text, wrong in {
            "the first paint took too long": max(paint, picture) > LIMIT_PAINT_MS,
            "too few frames were presented": frames / seconds < LIMIT_FRAMES,
            "the page's count of frames is not Chromium's": abs(frames - drawn) > 0.2 * max(frames, drawn),
            "records that the verdict needs are not in the report": any(
                figures[f"report of {count:,}"]["lost"] for count in (RECORDS, MANY)
            ),
            "nothing was left out of 1,000,000 records": not figures["report of 1,000,000"]["left_out"],
        }.items()
        if wrong
    ]
    if missed:
        sys.stderr.write("; ".join(missed) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
