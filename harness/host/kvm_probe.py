# SPDX-License-Identifier: MIT
"""The last probe of KVM, kept in the cache: whether a guest ran under it on this host, and the reason."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from harness.history.json_file import read_json
from harness.history.private import write_private

KVM = Path("/dev/kvm")
FILE = "accelerator.json"


class KvmProbe(msgspec.Struct, frozen=True, kw_only=True):
    """A probe's result; ``key`` is a digest of all its dependencies."""

    key: str
    works: bool
    reason: str


def last(cache: Path) -> KvmProbe | None:
    """Return the last probe's result, whether or not it still applies; None if there was none."""
    return read_json(cache / FILE, KvmProbe)


def keep(probe: KvmProbe, cache: Path) -> None:
    """Keep a result. If the cache cannot be written, the next run only probes again."""
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        write_private(cache / FILE, msgspec.json.encode(probe))


def forget(cache: Path) -> bool:
    """Forget the last result, so that the next run probes again. Return whether there was one."""
    try:
        (cache / FILE).unlink()
    except OSError:
        return False
    return True
