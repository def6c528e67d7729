# SPDX-License-Identifier: MIT
"""The dialect of Windows: cmd.exe for command lines, Windows PowerShell 5.1 for scripts.

Each of the harness's own scripts starts with a comment that names its operation. Script block logging shows it.
"""

from __future__ import annotations

import base64
import re

from harness.transport.dialect import IN_USE, ShellOperation

MARK = "# hotplug-harness "

_PREAMBLE = """\
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
try { [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false } catch { }
"""

_TRAP = f"""\
trap [IO.IOException] {{
    if (($_.Exception.GetBaseException().HResult -band 0xffff) -notin 32, 33, 11) {{ break }}
    [Console]::Error.WriteLine($_.Exception.GetBaseException().Message)
    exit {IN_USE}
}}
"""
"""Ends an operation when another process blocks its file: ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION (W32:
debug/system-error-codes--0-499-.md), which .NET stores in the HRESULT; EAGAIN outside Windows."""

BODIES: dict[ShellOperation, str] = {
    "size": """\
if ([IO.File]::Exists($path)) { (New-Object IO.FileInfo $path).Length } else { 'absent' }
""",
    "digest": """\
if (-not [IO.File]::Exists($path)) { 'absent'; exit 0 }
$stream = [IO.File]::Open($path, 'Open', 'Read', 'ReadWrite')
try {
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash($stream)
    $size = $stream.Position
} finally { $stream.Close() }
"$size " + [BitConverter]::ToString($hash).Replace('-', '').ToLowerInvariant()
""",
    "settle": """\
function Get-Digest($file) {
    $stream = [IO.File]::OpenRead($file)
    try { $hash = [Security.Cryptography.SHA256]::Create().ComputeHash($stream) } finally { $stream.Close() }
    [BitConverter]::ToString($hash).Replace('-', '').ToLowerInvariant()
}
if (-not [IO.File]::Exists($part)) {
    if ([IO.File]::Exists($target) -and (Get-Digest $target) -eq $sha256) { 'settled' } else { 'absent' }
    exit 0
}
$found = Get-Digest $part
if ($found -ne $sha256) { "differs $found"; exit 0 }
if ([IO.File]::Exists($target)) { [IO.File]::Delete($target) }
[IO.File]::Move($part, $target)
'settled'
""",
    "remove": """\
if (Test-Path -LiteralPath $path) { Remove-Item -LiteralPath $path -Recurse -Force }
""",
    "listing": """\
Get-ChildItem -LiteralPath $directory -File -Attributes !ReparsePoint -Force | ForEach-Object {
    "$($_.Length) " + [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($_.Name))
}
""",
    "prepare": """\
[void][IO.Directory]::CreateDirectory($directory)
""",
    # CreateNew fails if the file exists, so only one of any number of runners succeeds. Start-Process -Wait would also wait
    # for the script's own processes (ML: Start-Process, -Wait). Without the handle an ended process reports no exit code.
    "runner": """\
try { [IO.File]::Open("$directory/claim", 'CreateNew').Close() } catch { exit 0 }
$arguments = '-NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "' + $directory + '\\script.ps1"'
$code = -1
try {
    $process = Start-Process powershell.exe -ArgumentList $arguments -WindowStyle Hidden -PassThru `
        -RedirectStandardOutput "$directory\\stdout" -RedirectStandardError "$directory\\stderr"
    [void]$process.Handle
    $process.WaitForExit()
    $code = $process.ExitCode
} catch {
    $words = "the script of this job was not run to its end: $($_.Exception.Message)`n"
    try { [IO.File]::AppendAllText("$directory/stderr", $words) } catch { [Console]::Error.WriteLine($words) }
}
[IO.File]::WriteAllText("$directory/exit.part", "$code")
[IO.File]::Move("$directory/exit.part", "$directory/exit")
""",
    # A process that a WinRM shell starts is in that shell's job object and ends with it. A process that WMI starts is not.
    # 0 of Win32_Process.Create is success (CIMWin32 provider).
    "launch": """\
if (-not [IO.File]::Exists("$directory/runner.ps1")) { throw "no runner in $directory" }
$line = 'powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass -File "' + $directory + '\\runner.ps1"'
$made = Invoke-CimMethod -ClassName Win32_Process -MethodName Create -Arguments @{ CommandLine = $line }
if ($made.ReturnValue -ne 0) { throw "Win32_Process.Create returned $($made.ReturnValue)" }
""",
    "state": """\
if ([IO.File]::Exists("$directory/exit")) { 'done ' + [IO.File]::ReadAllText("$directory/exit") }
elseif ([IO.File]::Exists("$directory/claim")) { 'running' }
elseif ([IO.Directory]::Exists($directory)) { 'waiting' }
else { 'absent' }
""",
    # Prints part of a file as lines of Base64.
    "read": """\
$stream = [IO.File]::Open($path, 'Open', 'Read', 'ReadWrite')
try {
    [void]$stream.Seek([long]$offset, 'Begin')
    $left = [long]$length
    $buffer = New-Object byte[] 49152
    while ($left -gt 0) {
        $count = $stream.Read($buffer, 0, [Math]::Min($left, $buffer.Length))
        if ($count -eq 0) { break }
        [Console]::Out.WriteLine([Convert]::ToBase64String($buffer, 0, $count))
        $left -= $count
    }
} finally { $stream.Close() }
""",
    # Writes lines of Base64 from stdin to a file. PowerShell reads a redirected stdin only for a command whose text names $input outside nested script blocks.
    "write": """\
$stream = [IO.File]::Open($path, 'OpenOrCreate', 'Write', 'Read')
try {
    if ($stream.Length -lt [long]$offset) { throw "only $($stream.Length) of $offset bytes are there" }
    $stream.SetLength([long]$offset)
    [void]$stream.Seek([long]$offset, 'Begin')
    foreach ($line in $input) {
        if (-not $line) { continue }
        $bytes = [Convert]::FromBase64String($line)
        $stream.Write($bytes, 0, $bytes.Length)
    }
} finally { $stream.Close() }
""",
}
"""The body of each operation: those of the dialect, and ``read`` and ``write`` of WinRM. Assignments of its values precede it."""

_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
"""The characters that PowerShell takes for a single quote. Each is doubled to stand for itself."""


class Windows:
    """Windows with PowerShell 5.1, which every supported Server has."""

    suffix = ".ps1"
    longest_line = 8000
    """cmd.exe takes 8191 characters (learn.microsoft.com, "Command prompt line string limitation")."""

    forbidden = "\0\r\n"
    """cmd.exe runs the first line of several and silently ignores the others."""

    def __init__(self, home: str = "C:\\ProgramData\\hotplug-harness") -> None:
        self.home = home

    def invoke(self, script: str) -> str:
        """Return ``powershell.exe … -EncodedCommand``."""
        encoded = base64.b64encode((_PREAMBLE + script).encode("utf-16-le", "surrogatepass")).decode("ascii")
        return f"{_POWERSHELL} -EncodedCommand {encoded}"

    def content(self, script: str) -> bytes:
        """Return the script in UTF-8 with a byte order mark: without one, 5.1 reads the machine's ANSI code page."""
        return b"\xef\xbb\xbf" + (_PREAMBLE + script).replace("\n", "\r\n").encode("utf-8", "replace")

    def invoke_file(self, path: str) -> str:
        """Return ``powershell.exe … -File PATH``."""
        return f'{_POWERSHELL} -File "{path}"'

    def arguments(self, line: str) -> list[str]:
        """Return the arguments of ``cmd.exe /d /c``, or of a PowerShell that starts it with a line that has quotes.

        The guest agent is built on GLib, which turns each inner quote into ``\\"`` and doubles backslashes before a quote (GLib:
        glib/gspawn-win32.c, protect_argv_string). cmd.exe understands neither. The Base64 of a script contains no quotes.
        """
        if '"' not in line and not line.endswith("\\"):
            return ["cmd.exe", "/d", "/c", line]
        return self.invoke(f"$line = {quoted(line)}\n{_CMD}").split(" ")

    def join(self, directory: str, name: str) -> str:
        """Join with a backslash."""
        return f"{directory.rstrip(chr(92))}\\{name}"

    def operation(self, name: ShellOperation, /, **values: str) -> str:
        """Return a script of :data:`BODIES`: its mark, its values as literals, its body."""
        assigned = [f"${key} = {quoted(value)}" for key, value in values.items()]
        return "\n".join([MARK + name, *assigned, _TRAP + BODIES[name]])


_CMD = """\
$start = New-Object Diagnostics.ProcessStartInfo 'cmd.exe', ('/d /s /c "' + $line + '"')
$start.UseShellExecute = $false
$process = [Diagnostics.Process]::Start($start)
$process.WaitForExit()
exit $process.ExitCode
"""
"""Runs ``$line`` in cmd.exe, which removes the outer quotes (ML: cmd, /s), with the streams of this PowerShell."""

_POWERSHELL = "powershell.exe -NoLogo -NoProfile -NonInteractive -ExecutionPolicy Bypass"


def quoted(value: str) -> str:
    """Return ``value`` as a PowerShell literal, in which nothing is expanded."""
    return "'" + _QUOTES.sub(r"\1\1", value) + "'"
