# SPDX-License-Identifier: MIT
"""QMP answers by QEMU's schema: what QEMU documents is read, and everything else is refused in plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InfrastructureError
from harness.machine.qmp_schema import (
    AcpiOstInfo,
    HotpluggableCpu,
    MemoryDeviceInfo,
    PcDimmDeviceInfo,
    StatusInfo,
    read,
    read_event,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
STAMP = {"seconds": 1401385907, "microseconds": 422329}


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        # The examples of QEMU's own reference manual (qapi/run-state.json, machine.json, acpi.json).
        (StatusInfo, {"running": True, "status": "running"}, StatusInfo(status="running", running=True)),
        (
            list[HotpluggableCpu],
            [
                {
                    "type": "qemu64-x86_64-cpu", "vcpus-count": 1,
                    "props": {"core-id": 0, "socket-id": 1, "thread-id": 0},
                },
                {
                    "qom-path": "/machine/unattached/device[0]", "type": "qemu64-x86_64-cpu", "vcpus-count": 1,
                    "props": {"core-id": 0, "socket-id": 0, "thread-id": 0},
                },
            ],
            [
                HotpluggableCpu(type="qemu64-x86_64-cpu", props={"core-id": 0, "socket-id": 1, "thread-id": 0}),
                HotpluggableCpu(
                    type="qemu64-x86_64-cpu", props={"core-id": 0, "socket-id": 0, "thread-id": 0},
                    qom_path="/machine/unattached/device[0]",
                ),
            ],
        ),
        (
            PcDimmDeviceInfo,
            {
                "addr": 5368709120, "hotpluggable": True, "hotplugged": True, "id": "d1", "memdev": "/objects/memX",
                "node": 0, "size": 1073741824, "slot": 0,
            },
            PcDimmDeviceInfo(addr=5368709120, id="d1", node=0, size=1073741824, slot=0),
        ),
        (
            AcpiOstInfo,
            {"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0},
            AcpiOstInfo(device="d1", slot="0", slot_type="DIMM", source=1, status=0),
        ),
    ],
)  # fmt: skip
def test_the_manuals_examples_are_read(kind: Any, answer: object, expected: object) -> None:
    """What QEMU's manual shows is read as it says."""
    assert read("it", answer, kind) == expected


@pytest.mark.parametrize(
    ("message", "slot"),
    [
        ({"slot": "1", "slot-type": "CPU", "source": 259, "status": 128}, "1"),
        ({"device": "d1", "slot": "0", "slot-type": "DIMM", "source": 1, "status": 0}, "0"),
    ],
)
def test_an_ost_may_have_no_device(message: dict[str, Any], slot: str) -> None:
    """``device`` is optional (qapi/acpi.json): a slot whose device has no id is answered for all the same."""
    event = read_event({"event": "ACPI_DEVICE_OST", "data": {"info": message}, "timestamp": STAMP})
    assert event.data["info"]["slot"] == slot


def read_or_none(act: Callable[[], Any]) -> Any:
    """Return what ``act`` reads, None if it is refused as it should be."""
    try:
        return act()
    except InfrastructureError as error:
        if " is not what QEMU's schema promises: " not in error.message:
            raise
        return None


@given(st.dictionaries(st.sampled_from(["event", "data", "timestamp", "x"]), JSON))
def test_any_other_event_is_refused_in_words(message: dict[str, Any]) -> None:
    """Whatever JSON comes as an event is read or refused as the infrastructure's; nothing else is raised."""
    event = read_or_none(lambda: read_event(message))
    assert event is None or (event.event, event.data) == (message["event"], message.get("data", {}))


@given(JSON, st.sampled_from([StatusInfo, list[HotpluggableCpu], list[MemoryDeviceInfo], PcDimmDeviceInfo]))
def test_any_other_answer_is_refused_in_words(answer: object, kind: Any) -> None:
    """The same for the answers of queries."""
    read_or_none(lambda: read("the answer", answer, kind))
