# SPDX-License-Identifier: MIT
"""The directory of leases: which one counts for this user, and whether other users can remove files in it.

All users of a host share ``/var/lib/hotplug-harness/leases``, or the directory that the environment names. Where the former
is absent, a user's leases are private: the machines of other users do not count.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from harness.errors import InfrastructureError
from harness.host.registry import state_directory
from harness.setup.lease_directory import MODE, PARENT_MODE, SHARED, by_hand, configured

OPTION = "--private-leases"


class LeaseDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of leases. ``private`` is why only this user's machines count in it, "" where all users' do.

    ``system`` is true for the default directory: it and its parent must belong to root.
    """

    path: Path
    private: str = ""
    system: bool = False

    def open(self) -> int:
        """Return a descriptor of the directory. An absent one is made for this user alone.

        Raises InfrastructureError, naming owner and mode and the command that repairs them, if another user may remove
        its files; OSError if it cannot be opened.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            try:
                folder = os.open(self.path, flags)
            except FileNotFoundError:
                self._make()
                folder = os.open(self.path, flags)
        except PermissionError as error:
            raise self._closed(error) from error
        except NotADirectoryError as error:
            raise InfrastructureError(
                f"{self.path} holds no leases: it is {'a link' if self.path.is_symlink() else 'not a directory'}",
                hint=f"An administrator repairs it: sudo rm {self.path} && {by_hand(self.path)}",
            ) from error
        try:
            self._check(folder)
        except BaseException:
            os.close(folder)
            raise
        return folder

    @contextlib.contextmanager
    def opened(self, unusable: Callable[[OSError], InfrastructureError]) -> Iterator[int]:
        """Yield the descriptor of :meth:`open`. An OSError, there or in the block, becomes the error of ``unusable``."""
        try:
            folder = self.open()
            try:
                yield folder
            finally:
                os.close(folder)
        except OSError as error:
            raise unusable(error) from error

    def exists(self) -> bool:
        """Return whether anything may exist under that name."""
        try:
            self.path.lstat()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def _make(self) -> None:
        with contextlib.suppress(FileExistsError):
            if self.private:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.mkdir(mode=0o700)

    def _check(self, folder: int) -> None:
        """Refuse a directory whose entries another user may remove, and one that can be exchanged for another."""
        status, me = os.fstat(folder), os.geteuid()
        owners = (0,) if self.system else (0, me)
        mode = stat.S_IMODE(status.st_mode)
        # Root's directory is for all users, or it is root's own.
        closed = status.st_uid == 0 and mode & MODE != MODE and (self.system or me != 0)
        if status.st_uid not in owners or closed or (mode & 0o022 and not mode & stat.S_ISVTX):
            own = f"For this user alone: chmod 0700 {self.path}\n" if status.st_uid == me != 0 else ""
            raise self._unsafe(self.path, status, MODE, own)
        if self.private:
            return
        above = self.path.parent.stat()
        loose = above.st_mode & (0o022 if self.system else 0o002)
        if above.st_uid not in owners or (loose and (self.system or not above.st_mode & stat.S_ISVTX)):
            raise self._unsafe(self.path.parent, above, PARENT_MODE, "")

    def _closed(self, error: OSError) -> Exception:
        """Return why it may not be opened: because of its own mode, or that of its parent."""
        for path, mode in ((self.path, MODE), (self.path.parent, PARENT_MODE)):
            with contextlib.suppress(OSError):
                return self._unsafe(path, path.stat(), mode, "")
        return error

    def _unsafe(self, path: Path, status: os.stat_result, mode: int, hint: str) -> InfrastructureError:
        return InfrastructureError(
            f"{path} is not a safe place for leases: it belongs to {user_name(status.st_uid)} with mode "
            f"{stat.S_IMODE(status.st_mode):04o}, and must be root's with mode {mode:04o}",
            hint=f"{hint}An administrator repairs it: {by_hand(self.path)}",
        )


def lease_directory(
    environment: Mapping[str, str], *, private: bool = False, shared: Path = SHARED
) -> LeaseDirectory:
    """Return the directory of leases for this user. ``private`` asks for the user's own.

    Raises UsageError for a variable that is not an absolute path.
    """
    if private:
        return private_directory(environment, OPTION)
    named = configured(environment)
    if named is not None:
        return LeaseDirectory(path=named)
    found = LeaseDirectory(path=shared, system=True)
    if found.exists():
        return found
    return private_directory(environment, f"no {shared}")


def private_directory(environment: Mapping[str, str], reason: str) -> LeaseDirectory:
    """Return the user's own directory of leases on this host. Several hosts may share a home directory."""
    host = os.uname().nodename.replace("/", "-")
    return LeaseDirectory(path=state_directory(environment) / f"leases-{host}", private=reason)


def user_name(uid: int) -> str:
    """Return a user's name and number, or the number alone if this host has no name for it."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} (user {uid})"
    except KeyError:
        return f"user {uid}"
