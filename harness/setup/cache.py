# SPDX-License-Identifier: MIT
"""The cache directory: everything that set-up builds, each item once, under a digest of its inputs.

An item is built in place (a virtual environment cannot be moved) and is valid only when its marker file
exists, which is written last. A process that finds no marker takes the lock, removes what a killed build
left, and rebuilds. The lock is flock(2): the kernel releases it however the builder ends. The builder's
children inherit it, so that a pip that outlives its killed parent still keeps other processes away from its
directory.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.setup.content import ContentDigests, ContentError

MARKER = "complete.json"
SPACE_NEEDED = 1 << 30
"""Bytes that must be free before a build: the environment and the twin's image together need less."""
MORE_SPACE = "Free about 1 GiB there, or set HOTPLUG_HARNESS_CACHE to a directory on a larger disk."
UNUSED_AFTER = 30 * 24 * 3600
"""Seconds after which an unused item is removed when the next one is built."""
OUTGROWN_AFTER = 24 * 3600
"""The same for an item of the clone for which the next one is built: most likely an input changed, and it is
obsolete."""
SHARED_AFTER = 7 * 24 * 3600
"""The same for an item that all clones share: it is large, and any clone may need it again."""

WORKABLE = re.compile(r"[\w/.+@=~-]+")

BuildInto = Callable[[Path, int], None]
"""Builds into an empty directory; the number is the lock's file descriptor, to be passed on to children."""


def digest(*inputs: bytes | str) -> str:
    """Return a short name for these inputs in this order; other inputs or another order give another name."""
    whole = hashlib.sha256()
    for each in inputs:
        data = each.encode() if isinstance(each, str) else each
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()[:20]


def cache_directory(environment: Mapping[str, str]) -> Path:
    """Return ``$HOTPLUG_HARNESS_CACHE``, else ``$XDG_CACHE_HOME/hotplug-harness``, else the one in the home directory.

    Raises UsageError for a path that is not absolute, or in which a kernel module cannot be built.
    """
    for variable, below in (("HOTPLUG_HARNESS_CACHE", ""), ("XDG_CACHE_HOME", "hotplug-harness")):
        if value := environment.get(variable):
            if not value.startswith("/"):
                raise UsageError(f"{variable} is {value!r}, which is not an absolute path")
            return _workable(Path(value, below))
    return _workable(Path(os.path.expanduser("~"), ".cache", "hotplug-harness"))  # noqa: PTH111 (never raises)


def _workable(path: Path) -> Path:
    """Return ``path`` unless it has a space or another character that make, PATH or a ``#!`` line would split."""
    if not WORKABLE.fullmatch(str(path)):
        raise UsageError(
            f"the cache would be {str(path)!r}, and make cannot build in a path with a space or a special character",
            hint="Set HOTPLUG_HARNESS_CACHE to a path of letters, digits and / . _ + @ = ~ -",
        )
    return path


@contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turn an error of the file system into a message with the place and what to do."""
    try:
        yield
    except OSError as error:
        hint = "Set HOTPLUG_HARNESS_CACHE to a directory that you may write to."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = MORE_SPACE
        raise InfrastructureError(
            f"cannot use the cache {directory}: {error.strerror or error}"
            + (f" ({error.filename})" if error.filename else ""),
            hint=hint,
        ) from error


class Cache:
    """One cache directory. ``say`` gets progress messages; ``space`` bytes must be free for a build.

    ``content`` has the digests of checked files.
    """

    def __init__(self, root: Path, say: Callable[[str], None], *, space: int = SPACE_NEEDED) -> None:
        self.root = root
        self.content = ContentDigests(root)
        self._say = say
        self._space = space

    def ready(self, kind: str, key: str) -> Path | None:
        """Return the finished item, or None if it must be built."""
        place = self.root / kind / key
        marker = place / MARKER
        try:
            os.utime(marker)
        except OSError:
            # A read-only cache is fine; a missing one is not.
            return place if os.access(marker, os.R_OK) else None
        return place

    def moved(self, kind: str, key: str) -> bool:
        """Return whether the finished item was built at a path that no longer leads to it."""
        place = self.root / kind / key
        try:
            built_at = json.loads((place / MARKER).read_bytes())["place"]
            return not place.samefile(built_at)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            # An item from before paths were recorded has none and was never moved.
            return isinstance(error, OSError)

    def built(
        self,
        kind: str,
        key: str,
        build: BuildInto,
        deadline: Deadline,
        *,
        clone: Path | None,
        sealed: bool = False,
    ) -> Path:
        """Return the item ``kind``/``key``, building it first if necessary; it is built once, also for concurrent callers.

        ``clone`` is the checkout it is for: when that is gone, the item may be removed. None is for items
        that all clones of the user share. A ``sealed`` item never changes: if its files are not those that
        were built, it is rebuilt. Raises InfrastructureError for a disk error or if another builder holds the
        lock until the deadline, and what ``build`` raises.
        """
        if place := self._intact(kind, key, sealed=sealed):
            return place
        place = self.root / kind / key
        with storage_errors(self.root), self._locked(f"{kind}-{key}", deadline) as lock:
            if self._intact(kind, key, sealed=sealed):
                return place
            self._clean(kind, clone)
            self._check_space()
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            build(place, lock)
            if sealed:
                self.content.seal(place)
            publish(place / MARKER, {"clone": str(clone or ""), "place": str(place)})
        return place

    def _intact(self, kind: str, key: str, *, sealed: bool) -> Path | None:
        """Return the finished item if its files are those that were built; otherwise discard it."""
        place = self.ready(kind, key)
        if place is None or not sealed:
            return place
        try:
            self.content.check(place)
        except ContentError as error:
            self._say(f"{place} is damaged and is rebuilt: {error}")
            self.forget(kind, key)
            return None
        return place

    def forget(self, kind: str, key: str) -> None:
        """Discard the item, so that it is rebuilt next time."""
        with suppress(FileNotFoundError), storage_errors(self.root):
            (self.root / kind / key / MARKER).unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        """Return the log file of the step ``name``."""
        with storage_errors(self.root):
            (self.root / "log").mkdir(parents=True, exist_ok=True)
        return self.root / "log" / f"{name}.log"

    @contextmanager
    def _locked(self, name: str, deadline: Deadline) -> Iterator[int]:
        path = self.root / "lock" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _try_lock(descriptor):
                self._say(f"waiting for another ./lab that is building the same ({name})")

                def held() -> HarnessError:
                    return InfrastructureError(
                        f"another process held the lock {path} for {deadline.seconds:g} s",
                        hint=f"See who it is with: fuser -v {path}",
                    )

                deadline.poll(lambda: _try_lock(descriptor), interval=0.1, error=held)
            yield descriptor
        finally:
            os.close(descriptor)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.root).free
        if free < self._space:
            raise OSError(errno.ENOSPC, f"{free >> 20} MiB are free and {self._space >> 20} MiB are needed")

    def _clean(self, kind: str, clone: Path | None) -> None:
        """Remove items of clones that are gone, obsolete items of ``clone``, and unused items."""
        for marker in self.root.glob(f"{kind}/*/{MARKER}"):
            with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                owner = json.loads(marker.read_bytes())["clone"]
                unused = time.time() - marker.stat().st_mtime
                kept = UNUSED_AFTER if owner else SHARED_AFTER
                if owner and owner == str(clone):
                    kept = OUTGROWN_AFTER
                if unused > kept or (owner and not Path(owner).exists()):
                    marker.unlink()
                    shutil.rmtree(marker.parent, ignore_errors=True)


def publish(path: Path, content: dict[str, str]) -> None:
    """Write ``content`` to ``path`` so that a reader sees all of it or no file at all."""
    draft = path.with_name(path.name + ".draft")
    draft.write_text(json.dumps(content) + "\n", encoding="utf-8")
    draft.replace(path)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
