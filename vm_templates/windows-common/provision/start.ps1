# SPDX-License-Identifier: MIT
# Runs the steps beside it, by their numbers, and tells the host of each on COM1. The first failure ends it: the guest
# then stands still, and the host sees which step failed and why. After the last step the guest turns itself off; so it does
# before that if it cannot say what failed, which the host sees, too.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Cmdlets that are functions of a module know nothing of a script's preference, only of the global one
# (github.com/PowerShell/PowerShell/issues/4568).
$global:ErrorActionPreference = 'Stop'

Import-Module -Name (Join-Path -Path $PSScriptRoot -ChildPath 'Provision.psm1') -Force

$number, $count, $name, $script = 1, 1, 'settings', $PSCommandPath
try {
    $settings = Get-Content -LiteralPath (Join-Path -Path $PSScriptRoot -ChildPath 'settings.json') -Raw | ConvertFrom-Json
    $steps = @(
        Get-ChildItem -LiteralPath $PSScriptRoot -File |
            Where-Object -FilterScript { $_.Name -match '^[0-9]{2}-[a-z0-9-]+\.ps1$' } |
            Sort-Object -Property Name
    )

    Write-Marker -Text 'stage provisioning'
    $number, $count = 0, $steps.Count
    foreach ($step in $steps) {
        $number, $name, $script = ($number + 1), $step.BaseName.Substring(3), $step.FullName
        Write-Marker -Text "step $number $count $name"
        & $step.FullName -Settings $settings
    }

    # Before 'done', which would be wrong of a guest that does not turn itself off. /t 10: time for that marker, this script and
    # the logon commands (Microsoft Learn: "shutdown").
    $name, $script = 'shutdown', $PSCommandPath
    Invoke-Native -Tool 'shutdown.exe' -Arguments '/s', '/t', '10' | Out-Null
    Write-Marker -Text 'done'
}
catch {
    # The line of the step, which called what failed (Microsoft Learn: "ErrorRecord.ScriptStackTrace").
    $line = $_.InvocationInfo.ScriptLineNumber
    if ("$($_.ScriptStackTrace)" -match ([regex]::Escape($script) + ':\D*([0-9]+)')) {
        $line = $Matches[1]
    }
    $reason = "$($_.Exception.Message)"
    $reason = $reason.Substring(0, [Math]::Min($reason.Length, 800))
    try {
        Write-Marker -Text "fail $number $count $name $reason (line $line)"
    }
    catch {
        Invoke-Native -Tool 'shutdown.exe' -Arguments '/s', '/t', '10' | Out-Null
    }
    exit 1
}
