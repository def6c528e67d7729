# SPDX-License-Identifier: MIT
"""Who made the host's processor is read from what the kernel says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.host.processor_vendor import AMD, INTEL, host_vendor

LINES = "processor\t: 0\nvendor_id\t: {}\ncpu family\t: 6\n\nprocessor\t: 1\nvendor_id\t: other\n"


@pytest.mark.parametrize("vendor", [INTEL, AMD, "CentaurHauls"])
def test_the_first_processor_counts(tmp_path: Path, vendor: str) -> None:
    """As proc(5) shows it."""
    file = tmp_path / "cpuinfo"
    file.write_text(LINES.format(vendor))
    assert vendor == host_vendor(file)


def test_a_host_that_does_not_tell(tmp_path: Path) -> None:
    """No file, and one without the line."""
    assert "" == host_vendor(tmp_path / "none")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\n")
    assert "" == host_vendor(tmp_path / "cpuinfo")


def test_this_host_s_is_that_of_its_kernel() -> None:
    """The same as whoever else reads the file finds in it."""
    told = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("vendor_id")]
    assert (told[0].split()[-1] if told else "") == host_vendor()


@settings(max_examples=examples(30))
@given(st.binary(max_size=300))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """And make no error."""
    file = tmp_path_factory.getbasetemp() / "cpuinfo"
    file.write_bytes(content)
    assert isinstance(host_vendor(file), str)
