# SPDX-License-Identifier: MIT
"""``harness template``: what can be asked without a guest, every way to ask wrongly, and one whole build."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pycdlib
import pytest

from harness.cli.main import main
from harness.deadline import Deadline
from harness.errors import ExitCode
from harness.template.checkpoints import BuildInputs, Checkpoint, CheckpointStack, CheckpointState
from harness.template.manifest import seconds_of, utc
from harness.template.progress import BuildPosition, StepWarning
from harness.template.stage import BuildStage
from harness.template.store import Store
from tests.template.media import windows_medium
from tests.template.scripted_medium import FAT_SECTORS, compile_setup, fat
from tests.template.test_store import manifest

NAME = "windows-server-2022"
EDITION = "standard-desktop"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store that the command uses."""
    monkeypatch.setenv("HOTPLUG_HARNESS_TEMPLATES", str(tmp_path / "store"))
    return Store(tmp_path / "store")


def publish(store: Store, name: str = NAME, **changes: object) -> None:
    """Put a template without disk into the store."""
    draft = store.root / "draft"
    draft.mkdir(parents=True)
    plain = {"template": name, "facts": {"build": "20348.1"}, "files": {"disk.qcow2": "0" * 64}}
    made = manifest(**{**plain, **changes})
    (draft / "manifest.json").write_bytes(msgspec.json.encode(made))
    store.publish(name, draft)


def test_the_list_says_what_there_is(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Every template with its support; a built one with its age, an interrupted one with what comes next."""
    publish(store)
    store.checkpoints("windows-server-2019").mkdir(parents=True)
    assert ExitCode.HOLDS == main(["template", "list"])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "known-broken" in lines["windows-server-2016"]
    assert "not built; a build of it was interrupted" in lines["windows-server-2019"]
    assert "evaluation" in lines[NAME]
    assert ExitCode.HOLDS == main(["template", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["templates"]}
    assert (True, "") == (rows["windows-server-2019"]["unfinished"], rows["windows-server-2019"]["built"])


def test_a_damaged_template_hides_no_other(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told in its own line, and can be removed."""
    publish(store)
    (store.folder(NAME) / "manifest.json").write_text("{")
    assert ExitCode.HOLDS == main(["template", "list"])
    said = capsys.readouterr().out
    assert f"the manifest of {NAME} cannot be read" in said
    assert "windows-server-2025" in said
    assert ExitCode.INFRASTRUCTURE == main(["template", "show", NAME])
    assert ExitCode.HOLDS == main(["template", "remove", NAME, "--yes"])


def test_a_built_template_is_described(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Words for people, the manifest for programs."""
    publish(store)
    assert ExitCode.HOLDS == main(["template", "show", NAME])
    said = capsys.readouterr().out
    assert "over WinRM: it has no SSH server" in said
    assert f"sha256 {'5c' * 32}" in said
    assert ExitCode.HOLDS == main(["template", "show", NAME, "--json"])
    assert NAME == json.loads(capsys.readouterr().out)["manifest"]["template"]


def test_what_each_run_has_of_an_evaluation_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten days were told eleven days ago: each run has them, and nothing is left by the host's clock."""
    built = utc(time.time() - 11 * 86400)
    publish(store, built=built, shutdown=built, facts={"grace-minutes": "14400", "license": "2"})
    words = "built 11 days ago; each run has 10 evaluation days, none with --real-time"
    assert ExitCode.HOLDS == main(["template", "list"])
    assert words in capsys.readouterr().out
    assert ExitCode.HOLDS == main(["template", "show", NAME])
    said = capsys.readouterr().out
    assert words in said
    assert f"a run's begins at {utc(seconds_of(built) + 60)}, a minute after the template's last" in said
    assert ExitCode.HOLDS == main(["template", "list", "--json"])
    (listed,) = [one for one in json.loads(capsys.readouterr().out)["templates"] if one["built"]]
    assert (10, -1) == (listed["days_left"], listed["days_left_real_time"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", NAME], "the template windows-server-2022 is not built"),
        (["show", "windows-server-2023"], "Did you mean 'windows-server-2025'"),
        (["verify", NAME], "the template windows-server-2022 is not built"),
        (["remove", NAME, "--yes"], "the template windows-server-2022 is not built"),
        (["build", "windows-server-2016", "--iso", "a.iso"], "known not to work"),
        (["build", NAME, "--iso", "nosuch.iso", "--accel", "tcg"], "nosuch.iso: No such file"),
        (["build", NAME, "--iso", "/", "--accel", "tcg"], "/: "),
        (["build", NAME, "--iso", "a.iso", "--accel", "xen"], "must be one of auto, kvm, tcg"),
        (["build", NAME, "--iso", "a.iso", "--certificate", "nosuch"], "cannot read the certificate"),
        (
            ["build", NAME, "--iso", "a.iso", "--accel", "tcg", "--openssh", "inbox"],
            "no OpenSSH server on its",
        ),
        (
            ["build", NAME, "--iso", "a.iso", "--accel", "tcg", "--openssh", "nope"],
            "or none for no SSH at all",
        ),
        (
            ["build", NAME, "--iso", "a.iso", "--accel", "tcg", "--generic-key", "--key-file", "k"],
            "cannot be combined",
        ),
        (["build", NAME], "iso"),
        (["build", NAME, "--iso", "a.iso", "--from", "instaled"], "must be one of installed, nothing"),
        (
            ["build", NAME, "--iso", "a.iso", "--from", "installed"],
            'has no checkpoint "installed": nothing of a build',
        ),
        (["build", NAME, "--iso", "a.iso", "--from", "installed", "--from-scratch"], "cannot be combined"),
        (["remove", NAME, "--checkpoints", "--yes"], "nothing of a build of windows-server-2022 is kept"),
        (
            ["adopt", "nosuch.qcow2", "--template", NAME, "--password-file", "nosuch"],
            "cannot read the password file",
        ),
        (
            ["adopt", "nosuch.qcow2", "--template", "windows-server-2023", "--password-file", "x"],
            "Did you mean",
        ),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    store: Store, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with what is wrong or what to do, and 64."""
    assert ExitCode.USAGE == main(["template", *words])
    assert says in capsys.readouterr().err


def test_a_file_that_is_no_medium_is_told(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bytes that are no ISO are a usage error, whatever they are called."""
    (tmp_path / "a.iso").write_bytes(b"no medium" * 9999)
    assert ExitCode.USAGE == main(
        ["template", "build", NAME, "--iso", str(tmp_path / "a.iso"), "--accel", "tcg"]
    )
    assert "not a readable ISO" in capsys.readouterr().err


def test_a_built_template_is_not_built_again_unasked(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so; and with --force not either while a run uses it."""
    publish(store)
    assert ExitCode.USAGE == main(["template", "build", NAME, "--iso", "a.iso"])
    assert "is already built" in capsys.readouterr().err
    with store.using(NAME):
        assert ExitCode.USAGE == main(["template", "build", NAME, "--iso", "a.iso", "--force"])
        assert "a run is using it" in capsys.readouterr().err
        assert ExitCode.USAGE == main(["template", "remove", NAME, "--yes"])
    with store.building(NAME):
        assert ExitCode.INFRASTRUCTURE == main(["template", "build", NAME, "--iso", "a.iso"])
        assert "another process is building" in capsys.readouterr().err


def test_warnings_are_shown(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """The list counts them, and the template names each."""
    publish(
        store, warnings=(StepWarning("quiet", "no Server Manager: \x1bno"), StepWarning("antivirus", "no"))
    )
    assert ExitCode.HOLDS == main(["template", "list"])
    assert "2 warnings" in capsys.readouterr().out
    assert ExitCode.HOLDS == main(["template", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["templates"]}
    assert (2, 0) == (rows[NAME]["warnings"], rows["windows-11"]["warnings"])
    assert ExitCode.HOLDS == main(["template", "show", NAME])
    said = capsys.readouterr().out
    assert "quiet: no Server Manager" in said
    assert "\x1b" not in said


def test_what_is_kept_of_a_build_can_be_removed_alone(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installation that is kept is no interrupted build; the template stays when it goes."""
    publish(store)
    folder = store.checkpoints(NAME)
    folder.mkdir(parents=True)
    installed = Checkpoint(reached=BuildPosition(BuildStage.INSTALLED))
    state = CheckpointState(inputs=BuildInputs(installation={}), checkpoints=(installed,), finished=True)
    (folder / "state.json").write_bytes(msgspec.json.encode(state))
    assert ExitCode.HOLDS == main(["template", "list"])
    assert "interrupted" not in capsys.readouterr().out
    assert ExitCode.HOLDS == main(["template", "show", NAME])
    assert "--force --from installed" in capsys.readouterr().out
    assert ExitCode.HOLDS == main(["template", "remove", NAME, "--checkpoints", "--yes"])
    assert (True, False) == (store.folder(NAME).exists(), folder.exists())


def test_removing_asks_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer is a no; --yes asks nothing; the work of an interrupted build goes too."""
    publish(store)
    store.checkpoints(NAME).mkdir(parents=True)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert ExitCode.INTERRUPTED == main(["template", "remove", NAME])
    assert store.built(NAME) is not None
    assert ExitCode.HOLDS == main(["template", "remove", NAME, "--yes"])
    assert (None, False) == (store.built(NAME), store.checkpoints(NAME).exists())


@pytest.mark.media
def test_an_edition_that_is_not_on_the_medium_is_told(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what the medium holds, or with the name that was meant."""
    iso = str(windows_medium(tmp_path))
    build = ["template", "build", NAME, "--iso", iso, "--accel", "tcg", "--edition"]
    assert ExitCode.USAGE == main([*build, "datacenter-desktop"])
    assert "The medium holds:" in capsys.readouterr().err
    assert ExitCode.USAGE == main([*build, "standard-desktob"])
    assert "Did you mean 'standard-desktop'" in capsys.readouterr().err


def _bootable(iso: Path, wim: Path, script: list[str]) -> Path:
    """Write an installation medium: UDF with the images, bootable, and the script of what its Setup does."""
    files = {
        "EFI.IMG": fat(compile_setup(iso.parent)),
        "SCRIPT.TXT": ("\n".join(script) + "\n").encode(),
        "BOOT.BIN": bytes(2048),
    }
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, vol_ident="SSS_X64FREE", udf="2.60")
    for name, content in files.items():
        disc.add_fp(io.BytesIO(content), len(content), f"/{name};1", udf_path=f"/{name.lower()}")
    disc.add_directory("/SOURCES", udf_path="/sources")
    disc.add_file(str(wim), "/SOURCES/INSTALL.WIM;1", udf_path="/sources/install.wim")
    disc.add_eltorito(
        "/EFI.IMG;1", bootcatfile="/BOOT.CAT;1", efi=True, platform_id=0xEF, media_name="noemul",
        boot_load_size=FAT_SECTORS, udf_bootcatfile="/boot.cat",
    )  # fmt: skip
    disc.write(str(iso))
    disc.close()
    return iso


def _checkpoint(store: Store) -> int:
    """Return the checkpoint that an interrupted build would go on from."""
    state = CheckpointStack.read(store.checkpoints(NAME))
    return state.checkpoint if state else 0


@pytest.mark.qemu
@pytest.mark.media
def test_a_whole_build_by_command_interrupted_once(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real template's machine and answer medium, a medium whose Setup is scripted, and Ctrl-C in between."""
    windows_medium(tmp_path)
    iso = _bootable(
        tmp_path / "server.iso",
        tmp_path / "medium" / "sources" / "install.wim",
        [
            "key 60", "mark stage winpe", "mark stage copying", "write 2", "install", "reset", "mark stage specialize",
            "mark stage first-logon", "mark stage provisioning", "mark step 1 1 facts", "mark fact build 20348.1",
            f"mark fact certificate {'5c' * 32}", "mark fact edition ServerStandardEval", "mark fact openssh none",
            "mark fact surprise is not kept", "mark done", "shutdown",
        ],
    )  # fmt: skip
    command = [sys.executable, "-m", "harness", "template", "build", NAME, "--iso", iso, "--accel", "tcg"]
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen(command, **pipes) as first:  # type: ignore[call-overload]
        Deadline(400, "the first checkpoint").poll(
            lambda: _checkpoint(store) == 1 or first.poll() is not None
        )
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=60)
    assert ExitCode.INTERRUPTED == first.returncode, said
    assert "what was done is kept" in said[1]
    assert [] == list((tmp_path / "state" / "hotplug-harness" / "machines").glob("*.json"))
    done = subprocess.run(command, **pipes, timeout=400, check=False)  # type: ignore[call-overload]
    assert (0, f"{NAME} is built: {store.folder(NAME)}") == (done.returncode, done.stdout.splitlines()[0]), (
        done.stderr
    )
    assert "continues after checkpoint 1: specialize" in done.stderr
    built = store.find(NAME)
    assert ({"build": "20348.1", "edition": "ServerStandardEval", "openssh": "none"}, 180, "winrm") == (
        built.manifest.facts, built.manifest.evaluation_days, built.manifest.transfer
    )  # fmt: skip
    assert f"{NAME}/template.toml".split("/")[1] in built.manifest.inputs
    secret = built.secrets()
    told = (
        done.stdout
        + done.stderr
        + "".join(
            file.read_text("utf-8", "replace")
            for file in built.folder.rglob("*")
            if file.is_file() and file.name not in ("secrets.json", "key", "disk.qcow2", "variables.fd")
        )
    )
    assert [] == [each for each in (secret.password, secret.private_key.splitlines()[2]) if each in told]
    assert ExitCode.HOLDS == main(["template", "show", NAME])
    assert "20348.1" in capsys.readouterr().out

    # The scripted guest starts from its disk and answers nobody.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert ExitCode.UNKNOWN == main(["template", "verify", NAME, "--accel", "tcg", "--boot-timeout", "8"])
    said = capsys.readouterr().err
    assert "the last stage it reached is 'firmware'" in said
    (evidence,) = tmp_path.glob("harness-verify-*")
    assert f"Evidence: {evidence}" in said
    assert (True, False) == ((evidence / "history.jsonl").exists(), (evidence / "disk.qcow2").exists())
