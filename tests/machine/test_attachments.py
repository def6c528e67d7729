# SPDX-License-Identifier: MIT
"""What guests with a disk need: arguments for QEMU, the same for libvirt, firmware, forwarded ports."""

from __future__ import annotations

import calendar
import json
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import MissingPart, UsageError
from harness.host.firmware import find_ovmf
from harness.machine import devices
from harness.machine.attachments import Cdrom, Disk, Flash, Network, RealTimeClock
from harness.machine.forwards import read_forwards
from harness.machine.libvirt.domain import ABSOLUTE_CLOCK, Files, QemuUser, domain_xml
from harness.machine.machine import MachineSpec

PLACE = Path("/run/x")
FLASH = Flash(code=Path("/fw/code"), variables=Path("/run/v,1"))


def spec_of(**fields: Any) -> MachineSpec:
    """A machine with nothing but ``fields``."""
    return MachineSpec(**{"accelerator": "kvm", "qemu": Path("/usr/bin/qemu"), **fields})


def options(name: str, **fields: Any) -> list[str]:
    """The values of every option ``name`` of QEMU's command."""
    files = devices.ChannelFiles(**dict.fromkeys(devices.ChannelFiles.__struct_fields__, PLACE))
    words = devices.arguments(spec_of(**fields), name="vm", files=files, qmp=PLACE)
    return [words[place + 1] for place, word in enumerate(words) if word == name]


def domain(*, version: int = ABSOLUTE_CLOCK, **fields: Any) -> ElementTree.Element:
    """The domain for libvirt."""
    files = Files(**dict.fromkeys(Files.__struct_fields__, PLACE))
    owner = QemuUser(uid=1, gid=1)
    return ElementTree.fromstring(
        domain_xml(
            spec_of(**fields), name="vm", title="t", uuid="0" * 8, files=files, owner=owner, version=version
        )
    )


def test_flash_is_two_devices_of_the_board() -> None:
    """Code read only, variables writable; a comma in a path is doubled."""
    code, variables = options("-blockdev", flash=FLASH)
    assert "driver=raw,node-name=flash0,read-only=on,file.driver=file,file.filename=/fw/code" == code
    assert "driver=raw,node-name=flash1,file.driver=file,file.filename=/run/v,,1" == variables
    assert "pflash0=flash0,pflash1=flash1" in options("-machine", flash=FLASH)


@pytest.mark.parametrize(("bus", "start"), [("ahci", "ide-hd,bus=ide.2,"), ("nvme", "nvme,")])
def test_disk(bus: Any, start: str) -> None:
    """A disk sits at its port of the board's AHCI controller, or on a controller of its own."""
    disk = Disk(file=Path("/d"), bus=bus, port=2, boot=0)
    (device,) = (word for word in options("-device", disks=(disk,)) if "drive=" in word)
    assert device.startswith(start)
    assert device.endswith("drive=disk2,id=disk2-device,serial=disk2,bootindex=0")


def test_cdrom() -> None:
    """The medium is read only; an empty drive has none."""
    full, empty = Cdrom(file=Path("/i.iso"), port=1, boot=1), Cdrom(file=None, port=2)
    found = [word for word in options("-device", cdroms=(full, empty)) if word.startswith("ide-cd")]
    assert [
        "ide-cd,bus=ide.1,id=cdrom1-device,drive=cdrom1,bootindex=1",
        "ide-cd,bus=ide.2,id=cdrom2-device",
    ] == found
    assert all("read-only=on" in word for word in options("-blockdev", cdroms=(full, empty)))


def test_network_is_closed_and_on_loopback() -> None:
    """The guest reaches nothing; the kernel picks the ports, on loopback only."""
    (network,) = options("-netdev", network=Network(forwards=(22, 5986)))
    assert "user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:5986" == network


def test_screen_clock_and_generation() -> None:
    """Each is there if asked for, and only then."""
    there = {"screen": True, "clock": RealTimeClock(), "generation_id": True}
    assert {"VGA,bus=pcie.0,addr=0x1,id=screen", "vmgenid,guid=auto,id=generation"} <= set(
        options("-device", **there)
    )
    assert ["base=utc,driftfix=slew"] == options("-rtc", **there)
    assert [] == options("-rtc")
    assert [] == [word for word in options("-device") if word.startswith(("VGA", "vmgenid"))]


def test_a_clock_that_begins_at_its_own_time() -> None:
    """QEMU is told the time in UTC, whatever the host's zone, and that the clock counts the guest's time."""
    start = calendar.timegm((2026, 3, 1, 10, 1, 0))
    assert ["base=2026-03-01T10:01:00,clock=vm,driftfix=slew"] == options(
        "-rtc", clock=RealTimeClock(start=start)
    )


def test_cores_share_sockets() -> None:
    """Four cores a socket; a number that does not divide is refused."""
    assert ["cpus=2,maxcpus=8,sockets=2,cores=4,threads=1"] == options("-smp", max_processors=8, cores=4)
    with pytest.raises(UsageError, match="8 processors cannot be divided into sockets of 3 cores"):
        options("-smp", max_processors=8, cores=3)


@pytest.mark.parametrize("port", [-1, 6])
def test_no_such_port(port: int) -> None:
    """The board has six ports."""
    with pytest.raises(UsageError, match=f"AHCI port {port} does not exist"):
        Disk(file=Path("/d"), port=port)
    with pytest.raises(UsageError, match=f"AHCI port {port} does not exist"):
        Cdrom(file=None, port=port)


class TestDomain:
    """What libvirt is told means the same."""

    def test_flash(self) -> None:
        """A loader in flash, never with SMM, and the machine's own variables."""
        boot = domain(flash=FLASH).find("os")
        assert boot is not None
        loader, nvram = boot.find("loader"), boot.find("nvram")
        assert loader is not None
        assert nvram is not None
        assert {"type": "pflash", "readonly": "yes", "secure": "no"} == loader.attrib
        assert ("/fw/code", "/run/v,1") == (loader.text, nvram.text)

    def test_drives(self) -> None:
        """Port, order and medium of each drive; libvirt counts boot order from 1."""
        xml = domain(
            disks=(Disk(file=Path("/d"), boot=0),),
            cdroms=(Cdrom(file=Path("/i"), port=1, boot=1), Cdrom(file=None, port=2)),
        )
        found = [
            (
                each.get("device"),
                each.findtext("source") if each.find("source") is None else each.find("source").get("file"),  # type: ignore[union-attr]
                each.find("address").get("unit"),  # type: ignore[union-attr]
                None if each.find("boot") is None else each.find("boot").get("order"),  # type: ignore[union-attr]
            )
            for each in xml.findall("devices/disk")
        ]
        assert [("disk", "/d", "0", "1"), ("cdrom", "/i", "1", "2"), ("cdrom", None, "2", None)] == found

    def test_enlightenments(self) -> None:
        """They are features of the hypervisor, the clock is a timer, and the processor keeps only its own."""
        xml = domain(cpu="Broadwell,-vmx,hv-relaxed,hv-spinlocks=0x1fff,hv-time", clock=RealTimeClock())
        hyperv = xml.find("features/hyperv")
        assert hyperv is not None
        assert [("relaxed", None), ("spinlocks", "8191")] == [(e.tag, e.get("retries")) for e in hyperv]
        assert ["vmx"] == [feature.get("name") for feature in xml.findall("cpu/feature")]
        assert ["rtc", "hypervclock"] == [timer.get("name") for timer in xml.findall("clock/timer")]

    @pytest.mark.parametrize("word", ["hv-crash", "hv-crash=on"])
    def test_bug_checks_are_not_told(self, word: str) -> None:
        """None of libvirt's ways lets a guest go on after it told of a crash, so it is not offered the registers."""
        assert ElementTree.tostring(domain(cpu="Broadwell,hv-relaxed")) == ElementTree.tostring(
            domain(cpu=f"Broadwell,hv-relaxed,{word}")
        )

    def test_clock(self) -> None:
        """Libvirt's own is left alone; the host's in UTC makes up for lost ticks."""
        assert None is domain().find("clock")
        clock = domain(clock=RealTimeClock()).find("clock")
        assert clock is not None
        assert ({"offset": "utc"}, {"name": "rtc", "tickpolicy": "catchup"}) == (
            clock.attrib,
            clock[0].attrib,
        )

    def test_a_clock_that_begins_at_its_own_time(self) -> None:
        """By its start where libvirt knows that, by how far it is from the host's before; either counts the guest's time."""
        start = 1_772_359_260
        for version, expected in (
            (8_004_000, {"offset": "absolute", "start": str(start)}),
            (8_003_000, None),
        ):
            clock = domain(version=version, clock=RealTimeClock(start=start)).find("clock")
            assert clock is not None
            assert {"name": "rtc", "tickpolicy": "catchup", "track": "guest"} == clock[0].attrib
            if expected is not None:
                assert expected == clock.attrib
                continue
            assert ("variable", "utc") == (clock.get("offset"), clock.get("basis"))
            assert abs(int(clock.get("adjustment", "0")) + time.time() - start) < 60

    @pytest.mark.parametrize("word", ["hv-passthrough", "hv-spinlocks=many"])
    def test_unknown_enlightenment(self, word: str) -> None:
        """What libvirt would be told wrong is refused."""
        with pytest.raises(UsageError, match=f"cannot be given the enlightenment '{word}'"):
            domain(cpu=f"Broadwell,{word}")

    def test_cores_and_nodes(self) -> None:
        """Processors go to nodes by their socket."""
        xml = domain(max_processors=8, cores=2, nodes=2)
        assert ["0,1,2,3", "4,5,6,7"] == [cell.get("cpus") for cell in xml.findall("cpu/numa/cell")]
        topology = xml.find("cpu/topology")
        assert topology is not None
        assert ("4", "2") == (topology.get("sockets"), topology.get("cores"))


class TestFirmware:
    """UEFI firmware is found by its description, never one with SMM."""

    def describe(self, folder: Path, name: str, **changes: Any) -> None:
        """Write a description of a pair of files that exist."""
        folder.mkdir(exist_ok=True)
        for file in ("code", "vars"):
            (folder / f"{name}.{file}").touch()
        described: dict[str, Any] = {
            "description": name,
            "interface-types": ["uefi"],
            "mapping": {
                "device": "flash",
                "executable": {"filename": str(folder / f"{name}.code"), "format": "raw"},
                "nvram-template": {"filename": str(folder / f"{name}.vars"), "format": "raw"},
            },
            "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
            "features": ["acpi-s3"],
            **changes,
        }
        (folder / f"{name}.json").write_text(json.dumps(described))

    def test_without_smm(self, tmp_path: Path) -> None:
        """The first that fits, whatever stands before it."""
        self.describe(tmp_path, "1-smm", features=["requires-smm"])
        self.describe(tmp_path, "2-keys", features=["enrolled-keys", "secure-boot"])
        self.describe(tmp_path, "3-arm", targets=[{"architecture": "aarch64", "machines": ["virt-*"]}])
        self.describe(tmp_path, "4-bios", **{"interface-types": ["bios"]})
        (tmp_path / "5-none.json").touch()
        (tmp_path / "6-list.json").write_text("[]")
        self.describe(tmp_path, "7-gone")
        (tmp_path / "7-gone.vars").unlink()
        self.describe(tmp_path, "8-right")
        self.describe(tmp_path, "9-late")
        assert tmp_path / "8-right.code" == find_ovmf([tmp_path]).code
        assert tmp_path / "8-right.vars" == find_ovmf([tmp_path]).variables

    def test_an_administrators_file_hides_the_packages(self, tmp_path: Path) -> None:
        """An empty file of the same name in an earlier folder hides a description."""
        self.describe(tmp_path / "usr", "1-a")
        self.describe(tmp_path / "usr", "2-b")
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "1-a.json").touch()
        assert tmp_path / "usr" / "2-b.code" == find_ovmf([tmp_path / "etc", tmp_path / "usr"]).code

    def test_none(self, tmp_path: Path) -> None:
        """What supplies it is told."""
        with pytest.raises(MissingPart, match="apt install ovmf"):
            find_ovmf([tmp_path, tmp_path / "nowhere"])


USERNET = """Hub -1 (net0):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  15       127.0.0.1 38547       10.0.2.15  5986     0     0
  TCP[ESTABLISHED]   16       127.0.0.1 38550       10.0.2.15    22     0     0
  TCP[HOST_FORWARD]  14       127.0.0.1 41657       10.0.2.15    22     0     0
"""


def test_forwarded_ports() -> None:
    """Only listening sockets count."""
    assert {5986: 38547, 22: 41657} == read_forwards(USERNET)


@given(st.text(max_size=200))
def test_forwarded_ports_of_anything(text: str) -> None:
    """Whatever the monitor says is read."""
    assert {} == read_forwards(text.replace("HOST_FORWARD", ""))
