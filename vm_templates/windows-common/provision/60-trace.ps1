# SPDX-License-Identifier: MIT
# Essential: a run without its event trace lacks evidence.
# An event trace session of the harness's provider that begins with the boot, with buffers for all possible processors.
param(
    [Parameter(Mandatory = $true)][object] $Settings
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# Microsoft Learn: "Configuring and Starting an AutoLogger Session". At least two buffers a processor; the processors
# that are added later need theirs too. No page says how they get them, so there are enough from the beginning.
$session = "HKLM:\SYSTEM\CurrentControlSet\Control\WMI\Autologger\$($Settings.trace.session)"
$processors = [int] $Settings.max_processors
Set-RegistryValue -Key $session -Name 'Guid' -Value $Settings.trace.guid -Kind 'String'
Set-RegistryValue -Key $session -Name 'BufferSize' -Value 64
Set-RegistryValue -Key $session -Name 'MinimumBuffers' -Value (4 * $processors)
Set-RegistryValue -Key $session -Name 'MaximumBuffers' -Value (16 * $processors)
# The performance counter, which is also in the driver's own lines.
Set-RegistryValue -Key $session -Name 'ClockType' -Value 1
Set-RegistryValue -Key $session -Name 'FlushTimer' -Value 1
# One file of the session's name in System32\LogFiles\WMI, written to its end; MB (Microsoft Learn: "Logging Mode Constants", EVENT_TRACE_FILE_MODE_SEQUENTIAL).
Set-RegistryValue -Key $session -Name 'LogFileMode' -Value 1
Set-RegistryValue -Key $session -Name 'MaxFileSize' -Value 256

$provider = "$session\$($Settings.trace.provider)"
Set-RegistryValue -Key $provider -Name 'Enabled' -Value 1
Set-RegistryValue -Key $provider -Name 'EnableLevel' -Value 0xff
# 0 means all events.
Set-RegistryValue -Key $provider -Name 'MatchAnyKeyword' -Value 0 -Kind 'QWord'
Set-RegistryValue -Key $session -Name 'Start' -Value 1
