# SPDX-License-Identifier: MIT
"""The report in a real Chromium: what it shows at once, how one moves in it by mouse and by keys, on paper, and for everyone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cli.test_check import record
from report.page.chromium import Open
from report.page.columns import unpacked
from report.page.test_document import NEWEST, rows
from report.records import Run, hot_add

from harness.contract.checker import judge_history
from harness.history import driver as d
from harness.history import record as r
from harness.history.reader import History
from harness.report.page.document import ReportInput, report_document
from harness.report.page.html import page
from harness.report.page.writing import write_report

pytestmark = pytest.mark.browser

HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\u202e\u0007]]>' + "W" * 5000


@pytest.fixture
def report(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The report of a recorded run, the violated one unless the test names another."""
    history = History(NEWEST / getattr(request, "param", "twin-violated"))
    write_report(history, judge_history(history), tmp_path / "report.html")
    return tmp_path / "report.html"


def domain(page: Any) -> tuple[float, float]:
    """Return the stretch that is seen, as the link of the page says it; the whole of it once that has been written."""
    page.wait_for_function("() => location.hash.includes('t=')")
    found = re.search(r"t=(-?\d+)~(-?\d+)", page.evaluate("decodeURIComponent(location.hash)"))
    assert found is not None
    return float(found[1]), float(found[2])


def selected(page: Any) -> int:
    """Return the record that is shown in detail."""
    return int(page.locator(".detail h3 .number").inner_text().removeprefix("Record "))


def in_view(page: Any, text: str) -> bool:
    """Return whether an element with a text is on the first screen."""
    box = page.get_by_text(text, exact=False).first.bounding_box()
    return box is not None and box["y"] + box["height"] <= page.viewport_size["height"]


def test_the_first_screen_says_what_broke(opened: Open, report: Path) -> None:
    """Verdict and guest, the rule, each record that shows it, and the callback at fault."""
    page = opened(report, width=1024, height=768)
    assert "VIOLATED on twin says nothing about Windows itself" in " ".join(
        page.locator("h1").inner_text().split()
    )
    assert page.title().startswith("VIOLATED: ")
    shown = [
        "SYNC-EXACTLY-TWO",
        "processor change callback, Start for processor 2",
        "record 65",
        "record 68",
        "record 70",
    ]
    assert [] == [text for text in shown if not in_view(page, text)]


def test_a_click_on_a_witness_shows_its_record_and_its_stretch(opened: Open, report: Path) -> None:
    """The raw line, its place in the file, and the neighbours with the reasons why the order is known."""
    page = opened(report)
    page.locator("button.witness").first.click()
    page.wait_for_selector(".detail h3")
    assert 65 == selected(page)
    detail = page.locator(".detail").inner_text()
    for text in (
        "history.jsonl:65",
        '"k": "sync.enter"',
        "both were logged by one driver under its lock",
        "entry and return of one call",
    ):
        assert text in detail
    begin, end = domain(page)
    assert 0 < begin < end < 200e6


def test_the_wheel_zooms_and_a_drag_pans(opened: Open, report: Path) -> None:
    """The stretch gets shorter around the pointer, then moves with it."""
    page = opened(report)
    canvas = page.locator(".plot canvas")
    canvas.scroll_into_view_if_needed()
    canvas.focus()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    zoomed = domain(page)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 - 150, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    page.wait_for_timeout(600)
    panned = domain(page)
    assert panned[0] > zoomed[0]
    assert abs((panned[1] - panned[0]) - (zoomed[1] - zoomed[0])) < 10


def test_a_stretch_is_brushed_in_the_strip(opened: Open, report: Path) -> None:
    """What is dragged over is what is seen."""
    page = opened(report)
    strip = page.locator(".strip-box")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 20, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Whole run")
    page.wait_for_timeout(500)
    begin, end = domain(page)
    assert begin < end < 0, "before the first add"


def test_a_click_in_the_picture_selects_the_callback(opened: Open, report: Path) -> None:
    """Where the second Start is drawn, its record is found."""
    page = opened(report)
    page.locator("button.witness").first.click()
    page.wait_for_timeout(500)
    box = page.locator(".plot canvas").bounding_box()
    begin, end = domain(page)
    at = {number: time for number, time, _, _ in rows(read(page))}
    names = page.locator(".lane-name").all_inner_texts()
    lane = page.locator(".lane-name").nth(names.index("Processor 1")).bounding_box()
    page.mouse.click(box["x"] + (at[68] + 3e5 - begin) / (end - begin) * box["width"], lane["y"] + 12)
    page.wait_for_function("() => document.querySelector('.detail h3 .number')?.textContent === 'Record 68'")


def read(page: Any) -> dict[str, Any]:
    """Return the document in a page, with its pieces and what is drawn."""
    told, packed = page.evaluate(
        "() => [{...JSON.parse(document.getElementById('document').textContent),"
        " pieces: [...document.getElementsByClassName('piece')].map((one) => one.textContent)},"
        " Object.fromEntries(['records', 'spans', 'labels', 'order'].map((name) =>"
        " [name, document.getElementById(`${name}-columns`).textContent]))]"
    )
    return unpacked(told, packed)


@pytest.mark.parametrize(
    ("label", "choice", "expected"),
    [
        ("Lane", "Firmware (_OST)", {"ost"}),
        ("Source", "debugcon", None),
        ("Processor", "processor 2", None),
        ("Rule", "SYNC-EXACTLY-TWO", {"sync.enter"}),
    ],
)
def test_a_filter_leaves_what_it_names(
    opened: Open, report: Path, label: str, choice: str, expected: set[str] | None
) -> None:
    """The table and its count follow; clearing the filters brings all back."""
    page = opened(report)
    rows_ = page.locator("table.records tbody tr")
    before = rows_.count()
    page.get_by_label(label, exact=True).select_option(label=choice)
    page.wait_for_function(f"() => document.querySelectorAll('table.records tbody tr').length < {before}")
    assert 0 < rows_.count() < before
    if expected is not None:
        told = read(page)
        kinds = {n: told["kinds"][k] for (n, *_), k in zip(rows(told), told["records"]["kind"], strict=True)}
        shown = {int(text) for text in page.locator("table.records tbody th").all_inner_texts()}
        assert expected == {kinds[number] for number in shown}
    page.get_by_role("button", name="Clear filters").click()
    page.wait_for_function(f"() => document.querySelectorAll('table.records tbody tr').length === {before}")


def test_words_are_found_in_every_record(opened: Open, report: Path) -> None:
    """Also in those that the timeline leaves out, and in raw lines."""
    page = opened(report)
    page.get_by_label("Search").fill("query-hotpluggable")
    page.wait_for_function(
        "() => [...document.querySelectorAll('td.what')].every((one) => one.textContent.includes('query-hotpluggable'))"
    )
    assert page.locator("table.records tbody tr").count() > 0


def test_a_link_holds_the_view(opened: Open, report: Path) -> None:
    """The stretch, the record and the filter of one reader are those of the next."""
    page = opened(report)
    page.locator("button.witness").nth(1).click()
    page.get_by_label("Processor", exact=True).select_option(label="processor 2")
    page.wait_for_function("() => location.hash.includes('cpu=2') && location.hash.includes('r=68')")
    fragment = page.evaluate("location.hash")
    other = opened(report, fragment=fragment)
    other.wait_for_selector(".detail h3")
    assert [68, "2", fragment] == [
        selected(other), other.get_by_label("Processor", exact=True).input_value(), fragment,
    ]  # fmt: skip
    assert page.locator("table.records tbody tr").count() == other.locator("table.records tbody tr").count()


def test_the_keyboard_alone_reaches_everything(opened: Open, report: Path) -> None:
    """Tab leads to witnesses, filters, the picture and the table; in the picture the arrow keys select and zoom."""
    page = opened(report)
    reached = set()
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "() => { const e = document.activeElement; return e.className || e.getAttribute('role') || e.tagName; }"
            )
        )
        if page.evaluate("document.activeElement.matches('.plot canvas')"):
            break
    assert {"witness", "SELECT", "INPUT", "application"} <= reached
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".detail h3")
    first = selected(page)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        f"() => document.querySelector('.detail h3 .number').textContent !== 'Record {first}'"
    )
    page.keyboard.press("+")
    page.wait_for_timeout(500)
    near = domain(page)
    page.keyboard.press("0")
    page.wait_for_timeout(500)
    whole = domain(page)
    assert whole[1] - whole[0] > near[1] - near[0]
    page.keyboard.press("Escape")
    page.wait_for_selector(".detail > p.quiet")


def test_the_table_holds_all_that_the_picture_holds(opened: Open, report: Path) -> None:
    """With every record asked for, its pages together have each record of the history once."""
    page = opened(report, fragment="#all=1")
    seen: list[int] = []
    while True:
        seen += [int(text) for text in page.locator("table.records tbody th").all_inner_texts()]
        said = page.locator(".pages").inner_text().split()
        if said[1] == said[3]:
            break
        page.get_by_role("button", name="Next").click()
    assert [number for number, *_ in rows(read(page))] == seen


def hostile_run() -> Run:
    """A run in which everything that a guest, a monitor or a plan can name is markup."""
    run = hot_add(start=False)
    run.add(210, r.Console(text=HOSTILE, severity="warning"))
    run.add(211, r.GuestEvent(event=HOSTILE, detail=HOSTILE))
    run.add(212, r.Channel(name=HOSTILE, records=1, lost=3, cut=HOSTILE))
    run.add(213, r.Qmp(direction="in", message={"event": HOSTILE, "data": {HOSTILE: HOSTILE}}))
    run.add(214, r.Stage(name=HOSTILE, phase="begin", detail=HOSTILE))
    run.add(
        215,
        r.OperationProgress(
            index=9, name=HOSTILE, phase="fail", detail=HOSTILE, arguments={HOSTILE: HOSTILE}
        ),
    )
    run.driver(216, d.AsyncEnter, reg=1, event=HOSTILE, cls=HOSTILE, version=1, link=HOSTILE)
    run.driver(217, d.Mark, nonce=HOSTILE, driver=HOSTILE, channel=HOSTILE)
    run.add(218, r.RunFailure(failure_class=HOSTILE, stage=HOSTILE, message=HOSTILE))
    run.add(219, r.End(outcome="failed"))
    return run


def test_a_hostile_history_stays_text(opened: Open, tmp_path: Path) -> None:
    """No element, script or request comes of it, wherever it is shown, and nothing overflows the page."""
    history = History(record(tmp_path / "run", hostile_run().records))
    given = ReportInput(history=history, verdict=judge_history(history))
    told = report_document(given)
    told |= dict.fromkeys(("run", "guest", "sentence", "failure_class", "coverage"), HOSTILE)
    told["environment"] = [[HOSTILE, HOSTILE], ["Plan", HOSTILE]]
    told["commands"], told["digests"] = [[HOSTILE, HOSTILE]], [[HOSTILE, HOSTILE]]
    told["reasons"] = [HOSTILE]
    told["observations"] = [{"name": HOSTILE, "question": HOSTILE, "values": [[HOSTILE, HOSTILE]]}]
    told["evidence"] = {
        "why": HOSTILE,
        "items": [{"name": HOSTILE, "state": HOSTILE, "bytes": 1, "text": HOSTILE}],
    }
    report = tmp_path / "report.html"
    report.write_bytes(page(told))
    shown = opened(report, fragment="#all=1&rule=" + "%3Cimg%20src=x%3E")
    shown.get_by_role("button", name="Clear filters").click()
    shown.wait_for_selector("table.records tbody tr")
    for button in shown.locator("table.records tbody th button").all()[-10:]:
        button.click()
    shown.locator(".plot canvas").hover()
    assert [None, 0, 0] == [
        shown.evaluate("window.hacked ?? null"),
        shown.locator("img, iframe, object, embed, link, form").count(),
        shown.locator("main script").count(),
    ]
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
    assert "<img src=x" in shown.locator("main").inner_text()


@pytest.mark.parametrize(
    "report", ["twin-demo", "twin-violated", "twin-unknown", "twin-hangs"], indirect=True
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.node
def test_axe_finds_nothing(opened: Open, report: Path, project: Path, scheme: str) -> None:
    """Each rule of axe-core: names, roles, contrast, headings, landmarks, with everything folded out and a record selected."""
    page = opened(report, color_scheme=scheme, bypass_csp=True)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.locator("table.records tbody th button").nth(3).click()
    page.wait_for_selector(".detail h3")
    page.evaluate((project / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = page.evaluate(
        "async () => (await axe.run()).violations.map((v) => [v.id, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200))])"
    )
    assert [] == found


def test_all_that_follows_stands_in_one_place(opened: Open, tmp_path: Path) -> None:
    """Each line has its rule and verdict, the block folds, repetitions unfold, and what was counted is listed."""
    history = History(NEWEST / "twin-violated")
    told = report_document(ReportInput(history=history, verdict=judge_history(history)))
    first = told["findings"][0]
    first |= {
        "again": ["the first way"], "times": 19, "consequences": ["SYNC-AGREE: they differ"],
        "counted": {"title": "Calls that came", "more": 2, "witnesses": first["witnesses"][:1]},
    }  # fmt: skip
    told["reasons"] += ["ASYNC-EVENTUALLY: no arrival came"]
    report = tmp_path / "report.html"
    report.write_bytes(page(told))
    shown = opened(report)
    after = shown.locator("#broke details.after")
    lines = after.locator(".reasons li").all_inner_texts()
    assert [1, True, True] == [
        after.count(), lines[0].startswith("SYNC-AGREE "), lines[-1].startswith("ASYNC-EVENTUALLY "),
    ]  # fmt: skip
    assert after.locator(".chip").count() >= len(lines)
    after.locator("summary").first.click()
    assert not after.locator(".reasons").first.is_visible()
    card = shown.locator("#broke .card").first
    card.get_by_text("The same rule, 19 more times").click()
    assert [True, True] == [
        card.get_by_text("The first way.").is_visible(), card.get_by_text("The same again, 18 times.").is_visible(),
    ]  # fmt: skip
    card.locator(".counted button").click()
    assert "And 2 more." in card.locator(".counted").inner_text()
    assert first["witnesses"][0]["record"] == selected(shown)
    terms = shown.locator("#broke details.terms")
    terms.locator("summary").click()
    assert terms.get_by_text("registration 1 of driver D").is_visible()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (800, 450), (512, 384)])
def test_nothing_is_cut_off_on_a_small_screen(opened: Open, report: Path, width: int, height: int) -> None:
    """A telephone, and 200 % zoom of a small laptop: the page scrolls down and never sideways."""
    page = opened(report, width=width, height=height)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = page.evaluate(
        "() => [...document.querySelectorAll('h1, h2, h3, .witness, .card p, .toolbar > *')]"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.className || one.tagName)"
    )
    assert [] == cut


def test_it_prints_on_a4(opened: Open, report: Path, tmp_path: Path) -> None:
    """Dark or not, paper is white; there is a verdict, the picture and no control on a handful of pages."""
    page = opened(report, color_scheme="dark")
    data = page.pdf(format="A4", prefer_css_page_size=True)
    sheets = len(re.findall(rb"/Type\s*/Page[^s]", data))
    boxes = set(re.findall(rb"/MediaBox\s*\[([^\]]*)\]", data))
    assert 2 <= sheets <= 12
    assert {(595, 842)} == {tuple(round(float(one)) for one in box.split()[2:]) for box in boxes}
    page.emulate_media(media="print")
    assert ["rgb(255, 255, 255)", False, True] == [
        page.evaluate("getComputedStyle(document.body).backgroundColor"),
        page.locator(".toolbar").is_visible(),
        page.locator(".plot canvas").is_visible(),
    ]


def test_the_dark_page_is_dark(opened: Open, report: Path) -> None:
    """The theme is the reader's, in the text and in the picture."""
    shades = []
    for scheme in ("light", "dark"):
        page = opened(report, color_scheme=scheme)
        red = page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1].split(",")[0]
        ink = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')")
        shades.append((int(red) > 128, ink))
    assert [True, False] == [light for light, _ in shades]
    assert shades[0][1] != shades[1][1]


def test_arrows_of_the_known_order_are_drawn_on_demand(opened: Open, report: Path) -> None:
    """The picture changes when they are asked for, and is what it was without them."""
    page = opened(report)

    def picture() -> str:
        page.wait_for_timeout(300)
        return str(page.evaluate("document.querySelector('.plot canvas').toDataURL()"))

    without = picture()
    page.get_by_label("known order").check()
    assert picture() != without
    page.get_by_label("known order").uncheck()
    assert picture() == without
