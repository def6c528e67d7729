# SPDX-License-Identifier: MIT
"""The store of built templates: complete or not there, never changed while it is used, and open to nobody else."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from part_markers import needs

from harness.deadline import Deadline
from harness.errors import InfrastructureError, UsageError
from harness.host.preflight import PartState
from harness.machine.disk_image import qemu_img
from harness.template import evaluation
from harness.template.checkpoints import BuildInputs, Checkpoint, CheckpointStack
from harness.template.keys import kept_secrets, public_key_of
from harness.template.manifest import GuestCredentials, Medium, TemplateManifest, utc
from harness.template.progress import BuildPosition
from harness.template.stage import BuildStage
from harness.template.store import Store, store_directory

NAME = "windows-server-2025"
DAY = 86400.0
BUILT = 1_800_000_000.0


def manifest(**changes: object) -> TemplateManifest:
    """Return the manifest of a template that was built at BUILT."""
    plain = TemplateManifest(
        template=NAME, title="Windows Server 2025", support="supported", edition="core", image="1: Core",
        medium=Medium(name="a.iso", size=1, sha256="0" * 64), built=utc(BUILT), harness="0", qemu="QEMU", accelerator="kvm",
        files={}, inputs={}, certificate="5c" * 32, evaluation_days=180,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def publish(store: Store, **changes: object) -> None:
    """Put a template without disk into the store."""
    draft = store.root / "draft"
    draft.mkdir(parents=True)
    (draft / "manifest.json").write_bytes(msgspec.json.encode(manifest(**changes)))
    store.publish(NAME, draft)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(tmp_path / "store")


def test_where_templates_are() -> None:
    """The environment says so, absolute paths only; else they are in the user's data directory."""
    assert Path("/a") == store_directory({"HOTPLUG_HARNESS_TEMPLATES": "/a", "XDG_DATA_HOME": "/b"})
    assert Path("/b/hotplug-harness/templates") == store_directory({"XDG_DATA_HOME": "/b"})
    with pytest.raises(UsageError, match="not an absolute path"):
        store_directory({"HOTPLUG_HARNESS_TEMPLATES": "a"})


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", ".work"])
def test_only_a_name_becomes_a_path(store: Store, name: str) -> None:
    """No name leads out of the store."""
    with pytest.raises(UsageError, match="not a template's name"):
        store.folder(name)


def test_what_is_not_built_is_told_with_the_command_that_builds_it(store: Store) -> None:
    """Looking for it changes nothing on disk."""
    with pytest.raises(UsageError, match="harness template build"):
        store.find(NAME)
    assert not store.root.exists()


def test_a_newer_template_takes_the_place_of_the_older(store: Store) -> None:
    """Publishing again replaces the whole folder."""
    publish(store, edition="core")
    publish(store, edition="desktop")
    assert "desktop" == store.find(NAME).manifest.edition
    assert [] == list((store.root / ".work").iterdir())


def test_a_replacement_that_was_cut_is_undone(store: Store) -> None:
    """Killed between two renames, the older template is back when the next build begins."""
    publish(store)
    store.folder(NAME).rename(store.root / ".work" / f"{NAME}.old")
    assert store.built(NAME) is None
    with store.building(NAME):
        assert store.built(NAME) is not None


def test_a_used_template_is_neither_replaced_nor_removed(store: Store) -> None:
    """A run's lease keeps it, and other runs may use it at the same time; both hold in another process too."""
    publish(store)
    with store.using(NAME), store.using(NAME):
        for change in (lambda: publish(store), lambda: store.remove(NAME), lambda: store.check_unused(NAME)):
            with pytest.raises(UsageError, match="a run is using it"):
                change()
    program = (
        "import sys; from pathlib import Path; from harness.template.store import Store; "
        f"Store(Path(sys.argv[1])).remove({NAME!r})"
    )
    subprocess.run([sys.executable, "-c", program, store.root], check=True)
    assert store.built(NAME) is None


def test_two_builds_of_one_template_never_mix(store: Store) -> None:
    """The second is refused at once; nor is what is being built removed."""
    with store.building(NAME):
        for second in (lambda: store.building(NAME).__enter__(), lambda: store.remove(NAME)):
            with pytest.raises(InfrastructureError, match="another process is building"):
                second()
    with store.building(NAME):
        pass


def test_an_interrupted_build_can_be_thrown_away(store: Store) -> None:
    """Its work goes, what is built stays; nothing to throw away is no error."""
    publish(store)
    store.checkpoints(NAME).mkdir(parents=True)
    with store.building(NAME):
        store.discard(NAME)
        store.discard(NAME)
    assert (False, True) == (store.checkpoints(NAME).exists(), store.folder(NAME).exists())


def test_a_damaged_manifest_is_told(store: Store) -> None:
    """It is neither taken for a template nor for nothing."""
    publish(store)
    (store.folder(NAME) / "manifest.json").write_text("{")
    with pytest.raises(InfrastructureError, match="cannot be read"):
        store.built(NAME)


def test_a_template_of_a_newer_harness_is_told(store: Store) -> None:
    """A format that is not known is not guessed at."""
    with pytest.raises(InfrastructureError, match="a newer harness"):
        publish(store, format=99)


def test_secrets_are_made_once_and_are_their_owners_alone(tmp_path: Path) -> None:
    """A resumed build has the same password; neither it nor the key is shown by what holds them."""
    file = tmp_path / "work" / "secrets.json"
    secrets = kept_secrets(file)
    assert secrets == kept_secrets(file)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert 0o700 == stat.S_IMODE(file.parent.stat().st_mode)
    assert "Secrets(…)" == repr(secrets) == str(secrets)
    assert secrets.private_key.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert ["ssh-ed25519", "hotplug-harness"] == secrets.public_key.split()[::2]


@pytest.mark.remote
def test_a_given_key_has_its_public_one(tmp_path: Path) -> None:
    """As ssh-keygen says; what is no private key, or has a passphrase, is refused without a word of it."""
    for name, options in (("plain", ["-N", ""]), ("locked", ["-N", "passphrase"])):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-f", tmp_path / name, *options, "-C", "x"], check=True
        )
    private = (tmp_path / "plain").read_text()
    assert (tmp_path / "plain.pub").read_text().split()[:2] == public_key_of(private, "it").split()[:2]
    for text in ((tmp_path / "locked").read_text(), (tmp_path / "plain.pub").read_text(), ""):
        with pytest.raises(UsageError, match="the key is not a private key without a passphrase") as caught:
            public_key_of(text, "the key")
        assert text[40:80] not in str(caught.value) or not text


def test_secrets_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    """Another password than the disk has would lock everybody out."""
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(InfrastructureError, match="--from nothing"):
        kept_secrets(tmp_path / "secrets.json")


@pytest.mark.parametrize(
    ("days", "evaluation_days", "told", "state", "words"),
    [
        (0, 180, "", PartState.OK, "built 0 days ago; each run has 180 evaluation days"),
        (10, 180, "", PartState.OK, "each run has 180 evaluation days, 170 with --real-time"),
        (200, 180, "", PartState.OK, "each run has 180 evaluation days, none with --real-time"),
        (0, 180, "14400", PartState.OK, "each run has 10 evaluation days"),
        (11, 180, "14400", PartState.OK, "each run has 10 evaluation days, none with --real-time"),
        (1, 180, "999999999", PartState.OK, "each run has 180 evaluation days, 179 with --real-time"),
        (1, 180, "no number", PartState.OK, "each run has 180 evaluation days, 179 with --real-time"),
        (1, 180, "900", PartState.BROKEN, "its evaluation had ended when it was built"),
        (2000, 0, "14400", PartState.OK, "built 2000 days ago"),
        (-5, 180, "", PartState.OK, "built 0 days ago; each run has 180 evaluation days"),
    ],
)
def test_what_is_left_of_an_evaluation(
    store: Store, days: int, evaluation_days: int, told: str, state: PartState, words: str
) -> None:
    """What the guest had told itself is left to every run, however long ago that was; by the host's clock it passes."""
    publish(store, evaluation_days=evaluation_days, facts={"grace-minutes": told} if told else {})
    (part,) = evaluation.examine(store, BUILT + days * DAY)
    assert state == part.state
    assert part.found.endswith(words)
    assert not part.needed


def test_minutes_that_were_told_count_if_they_are_fewer() -> None:
    """Ten days after a build without a network nothing is left by the host's clock, and not 169 days."""
    one = manifest(facts={"grace-minutes": "14400", "license": "2"})
    assert (10, 0, -1) == (one.run_days, one.days_left(BUILT + 10 * DAY), one.days_left(BUILT + 11 * DAY))
    assert 180 == manifest(facts={"grace-minutes": "0", "license": "1"}).run_days
    assert 0 == manifest(facts={"grace-minutes": "0", "license": "5"}).run_days
    assert None is manifest(facts={"grace-minutes": "14400"}, evaluation_days=0).run_days


def test_a_damaged_template_is_a_broken_part(store: Store) -> None:
    """Looking at all of them does not stop at one."""
    publish(store)
    (store.folder(NAME) / "manifest.json").write_text("{")
    assert [PartState.BROKEN] == [part.state for part in evaluation.examine(store, BUILT)]


@pytest.mark.qemu
class TestWork:
    """Layers and checkpoints, without a machine: what is written to the disk stands for what a guest writes."""

    @pytest.fixture
    @needs("qemu")
    def checkpoints(self, tmp_path: Path) -> CheckpointStack:
        """Work on an empty disk."""
        (tmp_path / "empty.fd").write_bytes(b"empty")
        return self.again(tmp_path)

    def again(self, tmp_path: Path) -> CheckpointStack:
        """Open the work as another process would."""
        return CheckpointStack(
            tmp_path / "work",
            inputs=BuildInputs(installation={"medium": "a"}),
            variables=tmp_path / "empty.fd",
            size=1 << 20,
        )

    def write(self, checkpoints: CheckpointStack, text: str) -> None:
        """Write to disk and variables as a guest does."""
        file = checkpoints.folder / "text"
        file.write_text(text.ljust(512))
        # A layer on top of others keeps what it does not write.
        subprocess.run(
            ["qemu-io", "-c", f"write -q -s {file} 0 512", str(checkpoints.disk)],
            check=True,
            capture_output=True,
        )
        checkpoints.variables.write_text(text)

    def read(self, checkpoints: CheckpointStack) -> tuple[str, str]:
        """Return what is on the disk, through all layers, and in the variables."""
        raw = checkpoints.folder / "raw"
        qemu_img(
            ["convert", "-O", "raw", checkpoints.disk.name, raw.name],
            Deadline(60, "read"),
            folder=checkpoints.folder,
        )
        with raw.open("rb") as file:
            return file.read(512).decode().strip("\0 "), checkpoints.variables.read_text()

    def test_what_came_after_a_checkpoint_is_gone_and_what_came_before_stays(
        self, checkpoints: CheckpointStack, tmp_path: Path
    ) -> None:
        """Disk and variables go back together, to the last checkpoint and no further."""
        reached = BuildPosition(BuildStage.SPECIALIZE)
        checkpoints.rewind()
        self.write(checkpoints, "copied")
        checkpoints.checkpoint(Checkpoint(reached=reached, facts={"build": "1.2"}))
        assert ("copied", "copied") == self.read(checkpoints)
        self.write(checkpoints, "half")
        assert ("half", "half") == self.read(checkpoints)
        checkpoints = self.again(tmp_path)
        checkpoints.rewind()
        assert ("copied", "copied") == self.read(checkpoints)
        assert (1, reached, {"build": "1.2"}) == (
            checkpoints.state.checkpoint,
            checkpoints.state.last.reached,
            checkpoints.state.last.facts,
        )

    def test_without_a_checkpoint_all_begins_anew(self, checkpoints: CheckpointStack, tmp_path: Path) -> None:
        """The disk is empty and the variables are the firmware's own."""
        checkpoints.rewind()
        self.write(checkpoints, "half")
        checkpoints = self.again(tmp_path)
        checkpoints.rewind()
        assert ("", "empty") == self.read(checkpoints)

    def test_a_checkpoint_that_was_cut_does_not_count(
        self, checkpoints: CheckpointStack, tmp_path: Path
    ) -> None:
        """Killed before the state was written, a build finds the former checkpoint, whatever files lie about."""
        checkpoints.rewind()
        self.write(checkpoints, "copied")
        state = (
            (checkpoints.folder / "state.json").read_bytes()
            if (checkpoints.folder / "state.json").exists()
            else b""
        )
        checkpoints.checkpoint(Checkpoint(reached=BuildPosition(BuildStage.SPECIALIZE)))
        (checkpoints.folder / "state.json").write_bytes(state)
        checkpoints = self.again(tmp_path)
        checkpoints.rewind()
        assert ("", "empty") == self.read(checkpoints)
        assert ["layer-1.qcow2"] == [file.name for file in checkpoints.folder.glob("layer-*")]

    def test_a_frozen_layer_cannot_be_written(self, checkpoints: CheckpointStack) -> None:
        """Its mode says so to whoever is not root."""
        checkpoints.rewind()
        checkpoints.checkpoint(Checkpoint(reached=BuildPosition(BuildStage.SPECIALIZE)))
        assert 0 == (checkpoints.folder / "layer-1.qcow2").stat().st_mode & 0o222


def test_secrets_can_be_read_back(store: Store) -> None:
    """What a run needs to get in is in the store."""
    draft = store.root / "draft"
    draft.mkdir(parents=True)
    (draft / "manifest.json").write_bytes(msgspec.json.encode(manifest()))
    secrets = GuestCredentials(password="a", private_key="b", public_key="c")
    (draft / "secrets.json").write_bytes(msgspec.json.encode(secrets))
    assert secrets == store.publish(NAME, draft).secrets()
