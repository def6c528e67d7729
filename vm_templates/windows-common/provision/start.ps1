# SPDX-License-Identifier: MIT
# Runs the steps beside it, by their numbers, and tells the host of each on COM1. The first failure ends it: the guest
# then stands still, and the host sees which step failed and why. After the last step the guest turns itself off.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Cmdlets that are functions of a module know nothing of a script's preference, only of the global one
# (github.com/PowerShell/PowerShell/issues/4568).
$global:ErrorActionPreference = 'Stop'

Import-Module -Name (Join-Path -Path $PSScriptRoot -ChildPath 'Provision.psm1') -Force

$settings = Get-Content -LiteralPath (Join-Path -Path $PSScriptRoot -ChildPath 'settings.json') -Raw | ConvertFrom-Json
$steps = @(
    Get-ChildItem -LiteralPath $PSScriptRoot -File |
        Where-Object -FilterScript { $_.Name -match '^[0-9]{2}-[a-z0-9-]+\.ps1$' } |
        Sort-Object -Property Name
)

Write-Marker -Text 'stage provisioning'
$number = 0
foreach ($step in $steps) {
    $number += 1
    $name = $step.BaseName.Substring(3)
    Write-Marker -Text "step $number $($steps.Count) $name"
    try {
        & $step.FullName -Settings $settings
    }
    catch {
        Write-Marker -Text "fail $number $($steps.Count) $name $($_.Exception.Message) (line $($_.InvocationInfo.ScriptLineNumber))"
        exit 1
    }
}

Write-Marker -Text 'done'
# /t 5: time for this script and the logon commands to end (Microsoft Learn: "shutdown").
Invoke-Native -Tool 'shutdown.exe' -Arguments '/s', '/t', '5' | Out-Null
