# SPDX-License-Identifier: MIT
"""The dialect of a POSIX shell: what the real sshd and qemu-ga of these tests are told in the place of Windows."""

from __future__ import annotations

import shlex

from harness.transport.dialect import ShellOperation

_SIZE = 'if [ -f "$path" ]; then stat -c %s -- "$path"; else echo absent; fi'

_DIGEST = """\
[ -f "$path" ] || { echo absent; exit 0; }
sum=$(sha256sum < "$path") || exit 1
echo "$(stat -c %s -- "$path") ${sum%% *}"
"""

_SETTLE = """\
if [ ! -f "$part" ]; then
    [ -f "$target" ] || { echo absent; exit 0; }
    sum=$(sha256sum < "$target") || exit 1
    if [ "${sum%% *}" = "$sha256" ]; then echo settled; else echo absent; fi
    exit 0
fi
sum=$(sha256sum < "$part") || exit 1
if [ "${sum%% *}" != "$sha256" ]; then echo "differs ${sum%% *}"; exit 0; fi
[ ! -d "$target" ] || { echo "$target is a directory" >&2; exit 1; }
mv -f -- "$part" "$target" && echo settled
"""

_LISTING = """\
cd -- "$directory" || exit 1
find . -maxdepth 1 -type f -exec sh -c '
    for name; do
        printf "%s %s\\n" "$(stat -c %s -- "$name")" "$(printf %s "${name#./}" | base64 | tr -d "\\n")"
    done' sh {} +
"""

_RUNNER = """\
cd -- "$directory" || exit 1
( set -C; : > claim ) 2>/dev/null || exit 0
sh ./script > stdout 2> stderr < /dev/null
echo $? > exit.part
mv exit.part exit
"""

_LAUNCH = """\
[ -f "$directory/runner" ] || { echo "no runner in $directory" >&2; exit 1; }
setsid sh "$directory/runner" > /dev/null 2>&1 < /dev/null &
"""

_STATE = """\
if [ -f "$directory/exit" ]; then echo "done $(cat "$directory/exit")"
elif [ -f "$directory/claim" ]; then echo running
elif [ -d "$directory" ]; then echo waiting
else echo absent; fi
"""

_BODIES: dict[ShellOperation, str] = {
    "size": _SIZE,
    "digest": _DIGEST,
    "settle": _SETTLE,
    "remove": 'rm -rf -- "$path"',
    "listing": _LISTING,
    "prepare": 'mkdir -p -- "$directory"',
    "runner": _RUNNER,
    # A session of its own outlives the connection's.
    "launch": _LAUNCH,
    "state": _STATE,
}


class Posix:
    """``sh`` with the usual small programs (stat, sha256sum, base64, find, setsid), as in coreutils or BusyBox."""

    suffix = ""
    longest_line = 100_000
    forbidden = "\0"

    def __init__(self, home: str = "/var/tmp/hotplug-harness") -> None:
        self.home = home

    def invoke(self, script: str) -> str:
        """Return ``sh -c SCRIPT``."""
        return f"sh -c {shlex.quote(script)}"

    def content(self, script: str) -> bytes:
        """Return the script in UTF-8."""
        return script.encode("utf-8", "surrogateescape")

    def invoke_file(self, path: str) -> str:
        """Return ``sh PATH``."""
        return f"sh {shlex.quote(path)}"

    def arguments(self, line: str) -> list[str]:
        """Return the arguments of ``/bin/sh -c``."""
        return ["/bin/sh", "-c", line]

    def join(self, directory: str, name: str) -> str:
        """Join with a slash."""
        return f"{directory.rstrip('/')}/{name}"

    def operation(self, name: ShellOperation, /, **values: str) -> str:
        """See Dialect."""
        assigned = [f"{key}={shlex.quote(value)}" for key, value in values.items()]
        return "\n".join([*assigned, _BODIES[name]])
