# SPDX-License-Identifier: MIT
# Essential: with the task left in place, each boot of each run would start provisioning.
# Removes the task that the installation made, and its script. The following steps do not start again after a restart.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The task's running script, which is this one, continues (Microsoft Learn: "schtasks delete").
Invoke-Native -Tool 'schtasks.exe' -Arguments '/delete', '/tn', 'HotplugHarness', '/f' | Out-Null
$folder = Join-Path -Path $env:SystemRoot -ChildPath 'HotplugHarness'
if (Test-Path -LiteralPath $folder) {
    Remove-Item -LiteralPath $folder -Recurse -Force
}
