# SPDX-License-Identifier: MIT
"""The cache of the twin's image: looked up, built once, rebuilt when an input changes, and clear about what is missing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import stat
from pathlib import Path

import msgspec
import pytest
from twin.running import flip

from harness import package
from harness.deadline import Deadline
from harness.errors import InfrastructureError, MissingPart, UsageError
from harness.guest.twin import image, kernel_package
from harness.guest.twin.image import Sources
from harness.guest.twin.kernel_package import UnpackedKernel
from harness.setup.content import ContentDigests

RELEASE = "6.1.0-1-test"


def soon() -> Deadline:
    return Deadline(30, "test")


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """A tree of sources in miniature; its agent is a real C program."""
    for name, text in {
        "driver/src/a.c": "int a;\n",
        "driver/nt/core/b.h": "\n",
        "driver/twin/Kbuild": "obj-m := hpnotify.o\n",
        "agent/agent.c": "int main(void) { return 0; }\n",
    }.items():
        path = tmp_path / "sources" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sources(driver=tmp_path / "sources" / "driver", agent=tmp_path / "sources" / "agent")


GCC = """#!/bin/sh
[ -e agent/agent.c ] || exec "{gcc}" "$@"
kept="{folder}/$(cksum < agent/agent.c)"
[ ! -e "$kept" ] || exec cp "$kept" agent.bin
"{gcc}" "$@" && cp agent.bin "$kept"
"""
"""A compiler that compiles the same agent once. Linking it with the static C library takes 50 ms."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which such a compiler comes first."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "gcc").write_text(GCC.format(gcc=shutil.which("gcc"), folder=folder))
    (folder / "gcc").chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: Sources, programs: str) -> Path:
    """A cache with an unpacked kernel whose headers "build" a module by copying a source, and count how often."""
    monkeypatch.setenv("PATH", programs)
    monkeypatch.setattr(Sources, "of_checkout", classmethod(lambda cls, other=None: sources))
    root = tmp_path / "cache" / "twin" / "kernel" / "root"
    headers = root / "usr" / "src" / f"linux-headers-{RELEASE}"
    headers.mkdir(parents=True)
    (headers / "Makefile").write_text(
        "modules:\n\t@echo built >> ../built\n\tcp $(M)/src/a.c $(M)/hpnotify.ko\n"
    )
    (root / "boot").mkdir()
    (root / "boot" / f"vmlinuz-{RELEASE}").write_bytes(b"kernel")
    ContentDigests(None).seal(root / "boot")
    record = {"release": RELEASE, "packages": {"linux-image": "1"}}
    (root.parent / kernel_package.RECORD).write_bytes(msgspec.json.encode(record))
    return tmp_path / "cache"


def times_built(place: Path) -> int:
    built = place / "twin" / "kernel" / "root" / "usr" / "src" / "built"
    return len(built.read_text().splitlines()) if built.exists() else 0


def test_built_once_and_looked_up_afterwards(place: Path) -> None:
    """The second call compiles nothing and gives the same image."""
    said: list[str] = []
    first = image.build(place, soon(), progress=said.append)
    assert ["compiling the driver for the twin", "compiling the twin's agent"] == said
    assert first == image.build(place, soon(), progress=said.append)
    assert (2, 1) == (len(said), times_built(place))
    assert b"kernel" == first.kernel.read_bytes()
    assert RELEASE == first.kernel_release
    assert b"int a;\n" in first.initrd.read_bytes()


@pytest.mark.parametrize("change", ["source", "agent", "kernel", "new file", "compiler"])
def test_rebuilt_when_an_input_changes(
    place: Path, sources: Sources, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of any input gives another image, and both stay in the cache."""
    first = image.build(place, soon())
    if change == "source":
        (sources.driver / "src" / "a.c").write_text("int changed;\n")
    elif change == "agent":
        (sources.agent / "agent.c").write_text("int main(void) { return 1; }\n")
    elif change == "kernel":
        record = place / "twin" / "kernel" / kernel_package.RECORD
        record.write_bytes(record.read_bytes().replace(b'"1"', b'"2"'))
    elif change == "new file":
        (sources.driver / "nt" / "core" / "c.c").write_text("")
    else:
        monkeypatch.setattr(image, "compiler_version", lambda deadline: "gcc 99")
    second = image.build(place, soon())
    assert first.digest != second.digest
    assert first.initrd.is_file()
    assert 2 == times_built(place)


def test_another_driver_takes_the_place_of_ours(place: Path, tmp_path: Path) -> None:
    """Its C sources and headers are part of the digest; a folder without any is refused."""
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UsageError, match="there is no C source in this folder"):
        image.build(place, soon(), driver=other)
    (other / "mine.c").write_text("int mine;\n")
    (other / "notes.txt").write_text("no source\n")
    ours, theirs = image.build(place, soon()), image.build(place, soon(), driver=other)
    assert ours.digest != theirs.digest
    (other / "notes.txt").write_text("changed\n")
    assert theirs == image.build(place, soon(), driver=other)
    (other / "mine.c").write_text("int changed;\n")
    assert theirs.digest != image.build(place, soon(), driver=other).digest


def test_damaged_image_is_built_again(place: Path) -> None:
    """An image directory without its kernel, as a full disk leaves it, is not used."""
    first = image.build(place, soon())
    first.kernel.unlink()
    assert first == image.build(place, soon())
    assert first.kernel.is_file()


def test_a_flipped_bit_in_the_initrd_is_found(place: Path) -> None:
    """The image with the driver's module in it is not what was built: it is not given to a guest, but built anew."""
    said: list[str] = []
    before = image.build(place, soon())
    flip(before.initrd)
    after = image.build(place, soon(), progress=said.append)
    assert said[0].startswith(f"{before.initrd.parent} is damaged and is built again: initrd has SHA-256 ")
    assert "compiling the driver for the twin" in said
    assert before.content == after.content
    assert hashlib.sha256(after.initrd.read_bytes()).hexdigest() == after.content["initrd"]


def test_left_over_build_is_no_obstacle(place: Path) -> None:
    """What a killed build left behind is cleared away."""
    (place / "twin" / "image.new" / "build" / "src").mkdir(parents=True)
    (place / "twin" / "image.new" / "build" / "src" / "stale.c").write_text("")
    image.build(place, soon())
    assert not (place / "twin" / "image.new").exists()


def test_same_inputs_give_the_same_bytes(place: Path) -> None:
    """The initramfs carries no time and no order of its own."""
    first = image.build(place, soon())
    bytes_before = first.initrd.read_bytes()
    shutil.rmtree(first.initrd.parent)
    assert bytes_before == image.build(place, soon()).initrd.read_bytes()


def _build_in_process(place: str, driver: str, agent: str, results: multiprocessing.Queue[str]) -> None:
    sources = Sources(driver=Path(driver), agent=Path(agent))
    Sources.of_checkout = classmethod(lambda cls, *_: sources)  # type: ignore[method-assign]
    results.put(image.build(Path(place), soon()).digest)


def test_two_processes_at_once_build_once(place: Path, sources: Sources) -> None:
    """Runs that start together share one build."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    arguments = (str(place), str(sources.driver), str(sources.agent), results)
    processes = [context.Process(target=_build_in_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    digests = {results.get(timeout=30) for _ in processes}
    for process in processes:
        process.join(30)
    assert (1, 1) == (len(digests), times_built(place))


def test_compiler_error_is_shown(place: Path) -> None:
    """What make said is in the message."""
    headers = place / "twin" / "kernel" / "root" / "usr" / "src" / f"linux-headers-{RELEASE}"
    (headers / "Makefile").write_text("modules:\n\t@echo 'a.c:1: error: expected'; exit 1\n")
    with pytest.raises(InfrastructureError) as caught:
        image.build(place, soon())
    assert "a.c:1: error: expected" in caught.value.message


def test_agent_error_is_shown(place: Path, sources: Sources) -> None:
    """What gcc said about the agent is in the message."""
    (sources.agent / "agent.c").write_text("this is no C\n")
    with pytest.raises(InfrastructureError) as caught:
        image.build(place, soon())
    assert "agent.c:1:" in caught.value.message


def only_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """A PATH with nothing on it but these shell scripts."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, text in programs.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def test_missing_compiler(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gcc the message names it and the command that supplies it."""
    only_programs(tmp_path, monkeypatch)
    with pytest.raises(MissingPart) as caught:
        image.build(place, soon())
    assert "'gcc'" in caught.value.message
    assert "apt-get install gcc make libc6-dev" in caught.value.hint


def test_missing_make(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without make the message names it."""
    only_programs(tmp_path, monkeypatch, gcc="echo gcc 12")
    with pytest.raises(MissingPart) as caught:
        image.build(place, soon())
    assert "'make'" in caught.value.message


def test_missing_libelf(place: Path) -> None:
    """A loader's complaint about libelf becomes the package to install."""
    headers = place / "twin" / "kernel" / "root" / "usr" / "src" / f"linux-headers-{RELEASE}"
    (headers / "Makefile").write_text("modules:\n\t@echo 'objtool: libelf.so.1: cannot open'; exit 1\n")
    with pytest.raises(MissingPart) as caught:
        image.build(place, soon())
    assert "apt-get install libelf1" in caught.value.hint


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: Sources) -> Path:
    """A cache without a kernel."""
    monkeypatch.setattr(Sources, "of_checkout", classmethod(lambda cls, other=None: sources))
    return tmp_path / "cache"


def test_no_apt(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Debian the message says where the kernel comes from."""
    only_programs(tmp_path, monkeypatch)
    with pytest.raises(MissingPart) as caught:
        image.build(empty, soon())
    assert "'apt-cache'" in caught.value.message
    assert "Debian" in caught.value.hint


def test_no_registry(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that cannot be reached is named with apt's own words, and leaves no half of a kernel."""
    only_programs(
        tmp_path, monkeypatch, apt_cache="exit 100", apt_get="echo 'E: Could not resolve host'; exit 100"
    )
    with pytest.raises(InfrastructureError) as caught:
        image.build(empty, soon())
    assert "E: Could not resolve host" in caught.value.message
    assert not (empty / "twin" / "kernel").exists()


def test_unknown_package(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An apt that knows no kernel for virtual machines is told which were looked for and what to add."""
    only_programs(tmp_path, monkeypatch, apt_cache="exit 100", apt_get="exit 0")
    with pytest.raises(MissingPart) as caught:
        image.build(empty, soon())
    assert "neither linux-image-cloud-amd64 (Debian) nor linux-image-virtual (Ubuntu)" in caught.value.message
    assert "/etc/apt/sources.list.d" in caught.value.hint


def test_hostile_package_names_are_not_used(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dependency that is no package name never reaches a command line."""
    only_programs(
        tmp_path, monkeypatch, apt_cache="echo 'Depends: linux-image-../../x, --option'", apt_get="exit 0"
    )
    with pytest.raises(MissingPart):
        image.build(empty, soon())


def test_slow_registry(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that never answers ends with the deadline."""
    only_programs(tmp_path, monkeypatch, apt_cache="exec /bin/sleep 60")
    with pytest.raises(InfrastructureError) as caught:
        image.build(empty, Deadline(0.3, "test"))
    assert "did not end within 0.3 s" in caught.value.message


def test_fetches_and_unpacks(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages that apt names are fetched and unpacked, and their Makefile finds its neighbour wherever it lies."""
    src = "root/usr/src"
    only_programs(
        tmp_path, monkeypatch,
        apt_cache=(
            'case "$*" in *linux-image-cloud*) echo "Depends: linux-image-6.1-x (= 1)";;'
            ' *) echo "Depends: linux-headers-6.1-common (= 1), linux-kbuild-6.1 (>= 1), gcc | cc";; esac'
        ),
        apt_get='for each; do case $each in linux-*) : > "${each}_1.0_amd64.deb";; esac; done',
        dpkg_deb=(
            'mkdir -p "$3/usr/src/linux-headers-6.1-x" "$3/boot"; : > "$3/boot/vmlinuz-6.1-x";'
            ' echo "include /usr/src/linux-headers-6.1-common/Makefile" > "$3/usr/src/linux-headers-6.1-x/Makefile"'
        ),
    )  # fmt: skip
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/bin:/bin")
    place = empty / "twin"
    place.mkdir(parents=True)
    kernel = kernel_package.ensure(place, soon(), progress=lambda _: None)
    names = ["linux-headers-6.1-common", "linux-headers-6.1-x", "linux-image-6.1-x", "linux-kbuild-6.1"]
    assert (
        UnpackedKernel(release="6.1-x", packages=dict.fromkeys(names, "1.0"), root=place / "kernel/root")
        == kernel
    )
    makefile = (place / "kernel" / src / "linux-headers-6.1-x" / "Makefile").read_text()
    assert "include $(dir $(lastword $(MAKEFILE_LIST)))../linux-headers-6.1-common/Makefile\n" == makefile
    assert ["kernel.json", "root"] == sorted(path.name for path in (place / "kernel").iterdir())


UBUNTU = """
case "$*" in
*linux-image-virtual) echo "Depends: linux-image-6.8.0-90-generic, ubuntu-thing (>= 1) | other";;
*linux-headers-6.8.0-90-generic) echo "Depends: linux-headers-6.8.0-90, libc6 (>= 2.38), libelf1t64 (>= 0.144)";;
*) exit 100;;
esac
"""
"""What apt-cache says on Ubuntu 24.04, in short; it knows none of Debian's packages."""


def test_fetches_ubuntus_kernel(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Ubuntu its own kernel is taken, and headers that are links to their neighbour stay as they are."""
    only_programs(
        tmp_path, monkeypatch,
        apt_cache=UBUNTU,
        apt_get='for each; do case $each in linux-*) : > "${each}_6.8.0-90.91_amd64.deb";; esac; done',
        dpkg_deb=(
            'src="$3/usr/src"; mkdir -p "$src/linux-headers-6.8.0-90" "$src/linux-headers-6.8.0-90-generic" "$3/boot";'
            ' : > "$3/boot/vmlinuz-6.8.0-90-generic"; echo "# /usr/src/" > "$src/linux-headers-6.8.0-90/Makefile";'
            ' ln -sf ../linux-headers-6.8.0-90/Makefile "$src/linux-headers-6.8.0-90-generic/Makefile"'
        ),
    )  # fmt: skip
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/bin:/bin")
    place = empty / "twin"
    place.mkdir(parents=True)
    kernel = kernel_package.ensure(place, soon(), progress=lambda _: None)
    names = ["linux-headers-6.8.0-90", "linux-headers-6.8.0-90-generic", "linux-image-6.8.0-90-generic"]
    assert (names, "6.8.0-90-generic") == (sorted(kernel.packages), kernel.release)
    assert place / "kernel/root/boot/vmlinuz-6.8.0-90-generic" == kernel.image
    assert "# /usr/src/\n" == (kernel.headers / "Makefile").read_text()


def test_installed_without_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A harness that was copied without its data says how to install it."""
    monkeypatch.setattr(package.resources, "files", lambda _: tmp_path)
    with pytest.raises(MissingPart, match="data are missing") as caught:
        image.build(tmp_path, soon())
    assert "Install the wheel with pip or pipx" in caught.value.hint


def test_unwritable_cache(tmp_path: Path) -> None:
    """A cache that is a file is reported as such."""
    (tmp_path / "cache").write_text("")
    with pytest.raises(InfrastructureError) as caught:
        image.build(tmp_path / "cache", soon())
    assert str(tmp_path / "cache") in caught.value.message
