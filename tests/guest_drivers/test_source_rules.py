# SPDX-License-Identifier: MIT
"""The driver's sources are a sample: callbacks are documented, pageable code is marked, modules form no circle."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter

import pytest
from guest_drivers.source_rules import (
    DRIVER,
    FOLDERS,
    callback_faults,
    file_graph,
    functions,
    module_graph,
    paging_faults,
    read,
    roles,
)

FILES = read()


def changed(name: str, before: str, after: str) -> dict[str, str]:
    """Return the sources with one text of one file exchanged."""
    assert before in FILES[name]
    return {**FILES, name: FILES[name].replace(before, after, 1)}


def test_every_callback_names_irql_arguments_return_and_page() -> None:
    """The comment above each callback has all four, and each callback is declared with its function type."""
    assert [] == list(callback_faults(FILES))
    assert {
        "DriverEntry", "HpnEvtDriverUnload", "HpnEvtDriverDeviceAdd", "HpnEvtSelfManagedIoInit", "HpnEvtIoDeviceControl",
        "HpnProcessorChange", "HpnInterfaceChange", "HpnWorkerThread", "HpnWorkerDpc",
    } <= set(roles(FILES))  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted(set(roles(FILES)) - {n for n, role in roles(FILES).items() if role.startswith("HPN_")})
)
@pytest.mark.parametrize(
    ("line", "fault"),
    [("IRQL", "no IRQL"), ("Returns", "no return value"), ("Page", "no page"), (r"    \w+: ", "no argument")],
)
def test_what_a_comment_lacks_is_found(name: str, line: str, fault: str) -> None:
    """Without one of the four, the callback and what is missing are named."""
    function = next(each for each in functions(FILES) if each.name == name)
    lacking = re.sub(rf"^ \* {line}.*\n", "", function.comment, count=1, flags=re.MULTILINE)
    assert lacking != function.comment
    faults = list(callback_faults(changed(f"{function.module}.c", function.comment, lacking)))
    assert faults
    assert all(each.startswith(f"{name}: {fault}") for each in faults)


def test_a_callback_without_a_function_type_is_found() -> None:
    """A routine that is only assigned, and not declared as what it is, does not escape."""
    faults = list(callback_faults(changed("driver.c", "EVT_WDF_DRIVER_UNLOAD HpnEvtDriverUnload;", "")))
    assert [
        "driver.c: the address of HpnEvtDriverUnload, which is declared without a function type"
    ] == faults


def test_pageable_code_is_marked() -> None:
    """PAGED_CODE, the section and the annotations agree; there is both pageable and resident code."""
    assert [] == list(paging_faults(FILES))
    bodies = [function.body for function in functions(FILES)]
    pageable = [body for body in bodies if "PAGED_CODE" in body]
    assert 30 < len(pageable) < len(bodies) - 30


@pytest.mark.parametrize(
    ("name", "before", "after", "fault"),
    [
        ("veto.c", "    KIRQL irql;\n", "    KIRQL irql;\n\n    PAGED_CODE();\n", "HpnVetoSet: no #pragma alloc_text"),
        ("ring.c", "    PAGED_CODE();\n", "", "HpnRingCreate: no PAGED_CODE"),
        ("sync.h", "_IRQL_requires_(PASSIVE_LEVEL)\n", "", "HpnSyncRegister: pageable, and nothing says"),
        ("control.c", "    HpnControlOf(device)->Driver = Driver;", "    KeAcquireSpinLock(&Driver->Log.Lock, &irql);",
         "HpnControlCreate: pageable, and acquires a spin lock"),
        ("device.c", "Not pageable: the page says so.", "", "HpnEvtD0Entry: runs at PASSIVE_LEVEL, acquires no spin lock"),
        ("balance.c", "            HpnWorkerGive(worker, 1);", "            HpnWorkerStop(worker);",
         "HpnBalance: calls the pageable HpnWorkerStop while it holds a spin lock"),
    ],
)  # fmt: skip
def test_a_wrong_mark_is_found(name: str, before: str, after: str, fault: str) -> None:
    """Each kind of disagreement is found, and named."""
    assert any(each.startswith(fault) for each in paging_faults(changed(name, before, after)))


def test_modules_form_no_circle() -> None:
    """Each module uses only modules below it, the same ones whether includes or calls are asked."""
    order = list(TopologicalSorter(module_graph(FILES)).static_order())
    assert {name.partition(".")[0] for name in FILES} == set(order)
    assert (
        order.index("line")
        < order.index("format")
        < order.index("log")
        < order.index("sync")
        < order.index("driver")
    )


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("line.h", "#include <ntddk.h>\n", '#include <ntddk.h>\n#include "log.h"\n'),
        ("trace.c", "    Trace->Provider = 0;\n", "    HpnLogFlush(NULL);\n"),
        ("registrations.c", "    HpnSyncDeregister(&Driver->Sync[1]);\n", "    HpnEvtDriverUnload(NULL);\n"),
    ],
)
def test_a_circle_is_found(name: str, before: str, after: str) -> None:
    """An include or a call that leads upwards closes a circle."""
    with pytest.raises(CycleError):
        list(TopologicalSorter(module_graph(changed(name, before, after))).static_order())


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_of_the_hosts_form_no_circle(folder: str) -> None:
    """Each file of the NT layer, of the double for Wine and of the twin uses only files below it."""
    files = read(DRIVER / folder)
    order = list(TopologicalSorter(file_graph(files)).static_order())
    assert {name.partition(".")[0] for name in files} == set(order)


@pytest.mark.parametrize(
    ("folder", "name", "uses"),
    [
        (
            "nt/core",
            "plants",
            {"behaviour", "documented", "framework", "kernel", "notify", "object", "processor"},
        ),
        ("nt/core", "processor", {"behaviour", "kernel", "layer"}),
        ("wine", "instructions", {"adapter", "double", "machine"}),
        ("twin", "trace", {"machine"}),
    ],
)
def test_what_a_file_uses(folder: str, name: str, uses: set[str]) -> None:
    """Functions, tables and headers of other files are all found, and a static function of the same name is not."""
    assert uses == file_graph(read(DRIVER / folder))[name]


@pytest.mark.parametrize(
    ("folder", "name", "before", "after"),
    [
        ("nt/core", "layer.h", '#include "machine.h"\n', '#include "machine.h"\n#include "object.h"\n'),
        ("nt/core", "kernel.c", "    return __atomic_load_n(&pool", "    notify_forget();\n    return __atomic_load_n(&pool"),
        ("nt/core", "behaviour.c", "struct behaviour *current;", "struct behaviour *current = &documented;"),
        ("wine", "adapter.c", "    machine_free(object);\n", "    machine_free(object);\n    double_begin(object);\n"),
        ("twin", "debugger.c", "\tif (!kd)\n", "\tmachine_irql();\n\tif (!kd)\n"),
    ],
)  # fmt: skip
def test_a_circle_of_files_is_found(folder: str, name: str, before: str, after: str) -> None:
    """An include, a call or a pointer that leads upwards closes a circle."""
    files = read(DRIVER / folder)
    assert before in files[name]
    with pytest.raises(CycleError):
        list(
            TopologicalSorter(
                file_graph({**files, name: files[name].replace(before, after, 1)})
            ).static_order()
        )
