# SPDX-License-Identifier: MIT
"""A writer of cpio archives in the "newc" format, which Linux unpacks as its initramfs. Same input, same bytes."""

from __future__ import annotations

import stat

import msgspec


class ArchiveMember(msgspec.Struct, frozen=True):
    """One member: its path without a leading slash, its mode with the file type, its bytes or its device number."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str) -> ArchiveMember:
    """Return a directory that all users may enter."""
    return ArchiveMember(path, stat.S_IFDIR | 0o755)


def program(path: str, data: bytes) -> ArchiveMember:
    """Return an executable file."""
    return ArchiveMember(path, stat.S_IFREG | 0o755, data)


def file(path: str, data: bytes) -> ArchiveMember:
    """Return a regular file."""
    return ArchiveMember(path, stat.S_IFREG | 0o644, data)


def character_device(path: str, major: int, minor: int) -> ArchiveMember:
    """Return a character device for root alone."""
    return ArchiveMember(path, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: list[ArchiveMember]) -> bytes:
    """Return the archive of ``entries``, in their order, owned by root and dated 1970."""
    members = [_member(number, entry) for number, entry in enumerate(entries, start=1)]
    members.append(_member(0, ArchiveMember("TRAILER!!!", 0)))
    whole = b"".join(members)
    return whole + bytes(-len(whole) % 512)


def _member(number: int, entry: ArchiveMember) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, *entry.device, len(name), 0,
    )  # fmt: skip
    header = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    return header + bytes(-len(header) % 4) + entry.data + bytes(-len(entry.data) % 4)
