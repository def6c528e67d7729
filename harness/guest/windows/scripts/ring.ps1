# SPDX-License-Identifier: MIT
# Appends the unread records of a driver's ring to a file.
param(
    [string]$Driver,
    [string]$Tool,
    [string]$Path
)
[void][IO.Directory]::CreateDirectory((Split-Path -Parent $Path))
$lines = @(& $Tool --device $Driver events --json)
$code = $LASTEXITCODE
[IO.File]::AppendAllLines($Path, [string[]]$lines)
ConvertTo-Json -Compress -InputObject @{ step = 'events'; code = [int]$code; said = "$($lines.Count) records" }
