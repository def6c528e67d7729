# SPDX-License-Identifier: MIT
"""The store of built templates: one folder each, complete or absent, written once and never changed.

::

    windows-server-2025/          the template, all files 0444
        disk.qcow2  variables.fd  manifest.json  log/
        template.toml             the template as it was when this was built
        secrets.json  key         0600: the administrator's password; the private key for SSH
    .work/windows-server-2025/    a build under way or interrupted (harness.template.checkpoints)
    .lock/windows-server-2025.build, .use

Locks are flock(2): the kernel releases them when the holder ends, however it ends. A build holds ``.build``. A run with a
guest from a template shares ``.use``. Replacing or removing the template needs ``.use`` exclusively.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from harness.config import read_document
from harness.errors import InfrastructureError, UsageError
from harness.host.file_lock import taken
from harness.invocation import invocation
from harness.template.checkpoints import disk_errors
from harness.template.manifest import FORMAT, GuestCredentials, TemplateManifest
from harness.template.template import Template, decode_template

VARIABLE = "HOTPLUG_HARNESS_TEMPLATES"

DISK, VARIABLES, MANIFEST, SECRETS, LOG = "disk.qcow2", "variables.fd", "manifest.json", "secrets.json", "log"
KEY, DOCUMENT = "key", "template.toml"

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


class BuiltTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A built template: its folder and its manifest."""

    folder: Path
    manifest: TemplateManifest

    @property
    def disk(self) -> Path:
        """The disk, the base of overlays."""
        return self.folder / DISK

    @property
    def variables(self) -> Path:
        """The firmware's variables, to be copied."""
        return self.folder / VARIABLES

    @property
    def key(self) -> Path:
        """The private key that the guest's SSH server accepts."""
        return self.folder / KEY

    def digest(self) -> str:
        """Return the template's digest: the SHA-256 of its manifest, which has those of all other files."""
        return hashlib.sha256((self.folder / MANIFEST).read_bytes()).hexdigest()

    def template(self) -> Template:
        """Return the template as it was when this was built. Raises BadDocument."""
        document = self.folder / DOCUMENT
        return decode_template(read_document(document), name=str(document), directory=str(self.folder))

    def secrets(self) -> GuestCredentials:
        """Return the guest's credentials. Raises InfrastructureError."""
        try:
            return msgspec.json.decode((self.folder / SECRETS).read_bytes(), type=GuestCredentials)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InfrastructureError(
                f"the secrets of {self.manifest.template} cannot be read: {getattr(error, 'strerror', error)}",
                hint="They belong to the user who built it. Build it again: "
                + invocation("template", "build", self.manifest.template, "--iso", "PATH", "--force"),
            ) from error


def store_directory(environment: Mapping[str, str]) -> Path:
    """Return ``$HOTPLUG_HARNESS_TEMPLATES``, else the user's data directory (XDG Base Directory). Raises UsageError."""
    for variable, below in ((VARIABLE, ""), ("XDG_DATA_HOME", "hotplug-harness/templates")):
        if value := environment.get(variable):
            if not value.startswith("/"):
                raise UsageError(f"{variable} is {value!r}, which is not an absolute path")
            return Path(value, below)
    return Path.home() / ".local" / "share" / "hotplug-harness" / "templates"


class Store:
    """The store in ``root``, which the first build makes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        """Return the folder of the template ``name``, built or not. Raises UsageError for an invalid name."""
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is not a template's name", hint=f"Their names: {invocation('template', 'list')}"
            )
        return self.root / name

    def checkpoints(self, name: str) -> Path:
        """Return the folder of its build's checkpoints."""
        return self.root / ".work" / self.folder(name).name

    def draft(self, name: str) -> Path:
        """Return the folder in which the finished template is assembled."""
        return self.root / ".work" / f"{self.folder(name).name}.draft"

    def built(self, name: str) -> BuiltTemplate | None:
        """Return the built template, None if there is none. Raises InfrastructureError for a damaged manifest."""
        folder = self.folder(name)
        try:
            manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=TemplateManifest)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InfrastructureError(
                f"the manifest of {name} cannot be read: {getattr(error, 'strerror', None) or error}",
                hint=f"Remove it, and build it again: {invocation('template', 'remove', name, '--yes')}",
            ) from error
        if manifest.format > FORMAT:
            raise InfrastructureError(
                f"{name} was built by a newer harness, {manifest.harness}",
                hint="Use that one, or build it again.",
            )
        return BuiltTemplate(folder=folder, manifest=manifest)

    def find(self, name: str) -> BuiltTemplate:
        """Return the built template. If it is not built, UsageError names the command that builds it."""
        built = self.built(name)
        if built is None:
            raise UsageError(
                f"the template {name} is not built",
                hint=f"Build it: {invocation('template', 'build', name, '--iso', 'PATH')}",
            )
        return built

    @contextlib.contextmanager
    def building(self, name: str) -> Iterator[None]:
        """Hold the build lock of ``name``. Raises InfrastructureError at once if another process builds it."""
        with self._lock(f"{self.folder(name).name}.build", fcntl.LOCK_EX) as free:
            if not free:
                raise InfrastructureError(
                    f"another process is building {name}",
                    hint="Wait for it, or end it: checkpoints are kept.",
                )
            self._restore(name)
            yield

    def _old(self, name: str) -> Path:
        """Return the place of an older template while a newer one replaces it."""
        return self.root / ".work" / f"{name}.old"

    def _restore(self, name: str) -> None:
        """Put the older template back if its replacement was interrupted between the removal and the move."""
        with disk_errors(self.root):
            if self._old(name).exists() and not self.folder(name).exists():
                self._old(name).rename(self.folder(name))

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[BuiltTemplate]:
        """Keep the template from being replaced or removed while it is used. Raises the errors of :meth:`find`."""
        with self._lock(f"{self.folder(name).name}.use", fcntl.LOCK_SH) as free:
            if not free:
                raise InfrastructureError(f"{name} is just being replaced or removed", hint="Try again.")
            yield self.find(name)

    @contextlib.contextmanager
    def _unused(self, name: str, doing: str) -> Iterator[None]:
        with self._lock(f"{name}.use", fcntl.LOCK_EX) as free:
            if not free:
                raise UsageError(
                    f"{name} cannot be {doing}: a run is using it", hint="Wait for the run, or end it."
                )
            yield

    def check_unused(self, name: str) -> None:
        """Raise UsageError if a run is using the template."""
        with self._unused(self.folder(name).name, "replaced"):
            pass

    def publish(self, name: str, draft: Path) -> BuiltTemplate:
        """Make the finished folder ``draft`` the template, replacing an older one. Raises UsageError if that is in use."""
        folder = self.folder(name)
        with self._unused(name, "replaced"), disk_errors(self.root):
            old = self._old(name)
            shutil.rmtree(old, ignore_errors=True)
            if folder.exists():
                folder.rename(old)
            draft.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        return self.find(name)

    def discard(self, name: str) -> None:
        """Remove the files of an interrupted build. The caller holds the build's lock."""
        folder = self.checkpoints(name)
        with disk_errors(folder):
            if folder.exists():
                shutil.rmtree(folder)

    def remove(self, name: str) -> None:
        """Remove the template and the files of an interrupted build. Raises UsageError if a run uses it, or it is being built."""
        folder = self.folder(name)
        with self.building(name), self._unused(name, "removed"), disk_errors(self.root):
            for place in (folder, self.checkpoints(name), self.draft(name)):
                if place.exists():
                    shutil.rmtree(place)

    @contextlib.contextmanager
    def _lock(self, file: str, how: int) -> Iterator[bool]:
        path = self.root / ".lock" / file
        with disk_errors(self.root):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            (self.root / ".work").mkdir(exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield taken(descriptor, how)
        finally:
            os.close(descriptor)
