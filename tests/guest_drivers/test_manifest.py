# SPDX-License-Identifier: MIT
"""The ETW manifest that is checked in describes the driver's records and what its source writes."""

from __future__ import annotations

import runpy
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import get_args

from harness.capture.etl.manifest import load
from harness.history.driver import AnyDriverRecord, DriverRecord
from harness.history.record import Record

DRIVER = Path(__file__).parents[2] / "guest_drivers" / "hpnotify"
EVENTS = "{http://schemas.microsoft.com/win/2004/08/events}"


def test_checked_in_manifest_is_current() -> None:
    """The manifest is what the tool writes from the table of records."""
    tool = runpy.run_path(str(DRIVER / "tools" / "manifest.py"))
    expected = tool["manifest"]((DRIVER / "src/records.h").read_text(), (DRIVER / "src/trace.c").read_text())
    assert expected == (DRIVER / "src/hpnotify.man").read_text()


def test_fields_are_those_of_the_history() -> None:
    """Each event's template has the fields of the reader's record, in order."""
    provider = ElementTree.parse(DRIVER / "src/hpnotify.man").find(f".//{EVENTS}provider")
    assert provider is not None
    templates = {
        template.get("tid"): [data.get("name") for data in template]
        for template in provider.iter(f"{EVENTS}template")
    }
    apart = {*Record.__struct_fields__, "channel"}
    expected = {
        kind.__name__: [name for name in kind.__struct_fields__ if name not in apart]
        for kind in get_args(AnyDriverRecord)
    }
    common = [name for name in DriverRecord.__struct_fields__ if name not in apart]
    expected = {
        kind: common + [name for name in fields if name not in common] for kind, fields in expected.items()
    }
    assert expected == templates


def test_provider_is_the_one_registered() -> None:
    """The GUID of the manifest is the one in the driver's code, byte by byte."""
    provider = ElementTree.parse(DRIVER / "src/hpnotify.man").find(f".//{EVENTS}provider")
    assert provider is not None
    source = (DRIVER / "src/trace.c").read_text()
    numbers = source.split("HpnProvider = {")[1].split("};")[0]
    values = [int(word.strip("{} \n"), 16) for word in numbers.replace("\n", "").split(",")]
    clock = values[3] << 8 | values[4]
    node = int.from_bytes(bytes(values[5:]), "big")
    expected = uuid.UUID(fields=(values[0], values[1], values[2], clock >> 8, clock & 0xFF, node))
    assert expected == uuid.UUID(provider.get("guid"))


def test_reader_of_event_logs_takes_it() -> None:
    """The harness's own reader of manifests finds every event and names it by its tag on the wire."""
    (provider,) = load(DRIVER / "src/hpnotify.man")
    expected = {
        number: kind.__struct_config__.tag for number, kind in enumerate(get_args(AnyDriverRecord), 1)
    }
    assert expected == {event.id: event.message for event in provider.events.values()}
