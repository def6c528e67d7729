# SPDX-License-Identifier: MIT
# Starts a trace session of one provider into a file, with times of the performance counter.
param(
    [string]$Session,
    [string]$Provider,
    [string]$Path,
    [int]$Buffers
)
[void][IO.Directory]::CreateDirectory((Split-Path -Parent $Path))
$arguments = 'create', 'trace', $Session, '-p', $Provider, '0xffffffffffffffff', '0xff', '-o', $Path, '-ow', '-ets',
    '-bs', '64', '-nb', [string]$Buffers, [string](2 * $Buffers), '-ct', 'perf'
$said = & logman.exe @arguments
ConvertTo-Json -Compress -InputObject @{ step = 'create'; code = [int]$LASTEXITCODE; said = [string]($said -join ' ') }
