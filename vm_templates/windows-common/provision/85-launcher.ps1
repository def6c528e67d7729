# SPDX-License-Identifier: MIT
# Essential: a template that is left to provision itself would do so at each boot of each run.
# The task that the installation made is removed, with its script; what follows is not begun again after a restart.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# What the task runs goes on, which is this (Microsoft Learn: "schtasks delete").
Invoke-Native -Tool 'schtasks.exe' -Arguments '/delete', '/tn', 'HotplugHarness', '/f' | Out-Null
$folder = Join-Path -Path $env:SystemRoot -ChildPath 'HotplugHarness'
if (Test-Path -LiteralPath $folder) {
    Remove-Item -LiteralPath $folder -Recurse -Force
}
