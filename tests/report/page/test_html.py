# SPDX-License-Identifier: MIT
"""The page around a report's document: one policy, one script, and nothing of a run outside its data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from random import Random

from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from report.page.columns import unpacked
from report.page.test_document import NEWEST, document, kept_document
from report.records import any_json

from harness.report.page.html import data, page
from harness.report.page.packed_columns import packed_columns

HOSTILE = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u2028]]>&lt;"


def parts(text: str) -> tuple[str, str]:
    """Return a page without its data, and the data."""
    found = re.search(r'<script type="application/json" id="document">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return text.replace(found[1], "", 1), found[1]


@settings(max_examples=examples(60))
@given(st.integers(0, 2**32))
def test_data_come_back_and_end_no_element(seed: int) -> None:
    """No character in them means anything to a reader of HTML."""
    value = any_json(Random(seed), depth=4)
    text = data(value)
    assert value == json.loads(text)
    assert [] == re.findall(r"[<>&\u2028\u2029]", text)


def test_all_that_differs_between_two_reports_is_data() -> None:
    """Two runs, one of them full of markup, have the same page around their data."""
    told = kept_document("twin-violated")
    other = {
        **kept_document("host-veto"),
        "run": HOSTILE,
        "sentence": HOSTILE,
        "environment": [[HOSTILE, HOSTILE]],
    }
    pages = [page({**one, "pieces": []}).decode() for one in (told, other)]
    around = [re.sub(r'(id="\w+-columns">)[A-Za-z0-9+/=]*<', r"\1<", parts(one)[0]) for one in pages]
    assert around[0] == around[1]
    assert HOSTILE == json.loads(parts(pages[1])[1])["sentence"]


def test_the_policy_names_what_is_in_the_page_and_nothing_else() -> None:
    """The digests are those of the one style and the one script; everything else is forbidden."""
    text = page(dict(kept_document("twin-violated"))).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    digests = [
        "sha256-" + base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        for body in (
            *re.findall(r"<style>(.*?)</style>", text, re.DOTALL),
            *re.findall(r"<script>(.*?)</script>", text, re.DOTALL),
        )
    ]
    assert 2 == len(digests)
    assert (
        f"default-src 'none'; script-src '{digests[1]}'; style-src '{digests[0]}'; base-uri 'none'; form-action 'none'"
        == policy
    )
    assert [] == re.findall(
        r"\s(?:on\w+|style|src|href)=",
        parts(re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL))[0],
    )


def test_an_ordinary_report_is_small() -> None:
    """Under 400 KiB, whatever the recorded run."""
    runs = sorted(path.parent for path in NEWEST.glob("*/history.jsonl"))
    assert runs
    assert [] == [run.name for run in runs if len(page(dict(kept_document(run.name)))) > 400 << 10]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    """A report can be compared by its digest."""
    assert page(document(NEWEST / "twin-unknown")) == page(document(NEWEST / "twin-unknown"))


def test_what_is_drawn_comes_back_from_its_columns() -> None:
    """Records, spans and orders are in the page as numbers, none of them in the JSON that it reads first."""
    told = kept_document("twin-violated")
    text = page(dict(told)).decode()
    packed = dict(re.findall(r'<script type="text/plain" id="(\w+)-columns">([^<]*)</script>', text))
    first = json.loads(parts(text)[1])
    assert {"records", "spans", "order"}.isdisjoint(first)
    found = unpacked(first, packed)
    assert told["records"] == found["records"]
    assert [[*span[:2], max(span[1:3]), *span[3:]] for span in told["spans"]] == found["spans"]
    assert [[before, after, told["order_reasons"][why]] for before, after, why in told["order"]] == found[
        "order"
    ]
    assert min(len(told["spans"]), len(told["order"])) > 10


def test_a_number_that_no_column_holds_is_none() -> None:
    """A forged history may name any processor; the page says that it knows none."""
    told = document(NEWEST / "twin-violated")
    told["records"]["nt"][0] = 1 << 40
    packed = packed_columns(told)
    assert -1 == unpacked(told, packed)["records"]["nt"][0]
