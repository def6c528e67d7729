# SPDX-License-Identifier: MIT
# What the doubles do when they work: a small Windows in the variables of a runspace and the files of the current folder.
# A path with a drive is a file of that very name there, so that .NET and the doubles agree on it.

$global:Registry = @{}
$global:Certificates = @{}
$global:Listeners = [Collections.ArrayList]@()
$global:WSManItems = @{ 'WSMan:\localhost\Service\Auth\Basic' = 'false'; 'WSMan:\localhost\Service\AllowUnencrypted' = 'false' }
$global:FirewallRules = @{}
$global:Returned = @{}
$global:Cim = @{}

function global:Enter-Double($name, $bound) {
    # Records a call. Returns the words of its error if it is the one that is to fail.
    $number = 1
    if ([IO.File]::Exists('count')) { $number += [int][IO.File]::ReadAllText('count') }
    [IO.File]::WriteAllText('count', "$number`n")
    $told = @{}
    foreach ($key in $bound.Keys) {
        $value = $bound[$key]
        $told[$key] = if ($value -is [Collections.IDictionary]) { "$($value.Values)" } elseif ($value -is [switch]) { [bool]$value } else { "$value" }
    }
    $frames = @(Get-PSCallStack | ForEach-Object { "$($_.ScriptName):$($_.ScriptLineNumber)" })
    $line = ConvertTo-Json -Compress -InputObject @{ number = $number; name = $name; bound = $told; frames = $frames }
    [IO.File]::AppendAllText('calls', "$line`n")
    if ([IO.File]::Exists('fail') -and $number -eq [int][IO.File]::ReadAllText('fail')) { "$name`: call $number is refused" }
}

function global:Find-Real($path) {
    # A path that begins with a slash is one of this machine.
    if ($path.StartsWith('/')) { $path.Replace('\', '/') } else { $path }
}

function global:Find-Children($folder) {
    # The files and folders right below a folder whose path has a drive.
    $prefix = $folder.TrimEnd('\') + '\'
    [IO.Directory]::GetFileSystemEntries('.') | ForEach-Object { $_.Substring(2) } | Where-Object { $_.StartsWith($prefix) } | Sort-Object
}

function global:Test-Real($path) {
    $real = Find-Real $path
    [IO.File]::Exists($real) -or [IO.Directory]::Exists($real) -or ($path -match '^[A-Z]:' -and @(Find-Children $path).Count -gt 0)
}

function global:New-Shown($path) {
    $name = $path.Substring($path.LastIndexOf('\') + 1)
    $size = if ([IO.File]::Exists($path)) { [IO.FileInfo]::new($path).Length } else { 0 }
    $parent = $path.Substring(0, [Math]::Max(0, $path.LastIndexOf('\')))
    [pscustomobject]@{ Name = $name; FullName = $path; Length = $size; DirectoryName = $parent; PSPath = $path }
}

function global:Invoke-Model($name, $bound, $piped) {
    $path = if ($bound.ContainsKey('LiteralPath')) { @($bound['LiteralPath'])[0] } else { @($bound['Path'])[0] }
    if ($piped.Count -gt 0 -and $piped[0].PSObject.Properties['PSPath']) { $path = $piped[0].PSPath }
    $path = "$path"
    $drive = if ($path -match '^(HKLM|Cert|WSMan):') { $Matches[1] } else { 'file' }
    if ($global:Returned.ContainsKey($name)) { return $global:Returned[$name] }
    switch ("$name $drive") {
        'Test-Path HKLM' { return $global:Registry.ContainsKey($path) }
        'Test-Path file' { return (Test-Real $path) }
        'New-Item HKLM' { if (-not $global:Registry.ContainsKey($path)) { $global:Registry[$path] = [ordered]@{} }; return [pscustomobject]@{ PSPath = $path } }
        'New-Item file' { [void][IO.Directory]::CreateDirectory((Find-Real $path)); return (New-Shown $path) }
        'New-Item WSMan' {
            [void]$global:Listeners.Add([pscustomobject]@{ Keys = @("Transport=$($bound['Transport'])", "Address=$($bound['Address'])"); PSPath = "$path\Listener_$($global:Listeners.Count)" })
            return
        }
        'New-ItemProperty HKLM' {
            if (-not $global:Registry.ContainsKey($path)) { throw "Cannot find path '$path' because it does not exist." }
            $global:Registry[$path][$bound['Name']] = $bound['Value']
            return [pscustomobject]$global:Registry[$path]
        }
        'Get-ItemProperty HKLM' {
            if ($global:Registry.ContainsKey($path)) { return [pscustomobject]$global:Registry[$path] }
            Write-Error -Message "Cannot find path '$path' because it does not exist." -ErrorAction $(if ($bound.ContainsKey('ErrorAction')) { $bound['ErrorAction'] } else { 'Stop' })
            return
        }
        'Remove-ItemProperty HKLM' {
            if ($global:Registry.ContainsKey($path) -and $global:Registry[$path].Contains($bound['Name'])) { $global:Registry[$path].Remove($bound['Name']); return }
            Write-Error -Message "Property $($bound['Name']) does not exist at path $path." -ErrorAction $(if ($bound.ContainsKey('ErrorAction')) { $bound['ErrorAction'] } else { 'Stop' })
            return
        }
        'Get-ChildItem Cert' { return @($global:Certificates[$path]) -ne $null }
        'Get-ChildItem WSMan' { return $global:Listeners.ToArray() }
        'Remove-Item WSMan' { foreach ($each in $piped) { $global:Listeners.Remove($each) }; return }
        'Set-Item WSMan' { $global:WSManItems[$path] = "$($bound['Value'])".ToLowerInvariant(); return }
        'Get-Item WSMan' { return [pscustomobject]@{ Value = $global:WSManItems[$path] } }
        'Get-Item file' {
            if (Test-Real $path) { return (New-Shown $path) }
            Write-Error -Message "Cannot find path '$path' because it does not exist." -ErrorAction $(if ($bound.ContainsKey('ErrorAction')) { $bound['ErrorAction'] } else { 'Stop' })
            return
        }
        'Get-ChildItem file' {
            if ($path.StartsWith('/')) { return Microsoft.PowerShell.Management\Get-ChildItem -LiteralPath $path -File:([bool]$bound['File']) }
            $filter = "$($bound['Filter'])"
            if ($path -match '^(.*)\\([^\\]*\*[^\\]*)$') { $path, $filter = $Matches[1], $Matches[2] }
            return @(Find-Children $path | ForEach-Object { New-Shown $_ } | Where-Object { -not $filter -or $_.Name -like $filter })
        }
        'Remove-Item file' { [IO.File]::Delete((Find-Real $path)); return }
        'Get-Content file' {
            $real = Find-Real $path
            if ($bound['Raw']) { return [IO.File]::ReadAllText($real) }
            $lines = [IO.File]::ReadAllLines($real)
            return $(if ($bound.ContainsKey('TotalCount')) { $lines | Select-Object -First $bound['TotalCount'] } else { $lines })
        }
        'Set-Content file' { [IO.File]::WriteAllLines((Find-Real $path), [string[]]$bound['Value']); return }
        'Add-Content file' { [IO.File]::AppendAllLines((Find-Real $path), [string[]]$bound['Value']); return }
        'Copy-Item file' {
            if ($global:SshRuns -and "$($bound['Destination'])" -like '*\OpenSSH') { throw 'The process cannot access the file because it is being used by another process.' }
            $from = if ($path.EndsWith('\*')) { @(Find-Children $path.Substring(0, $path.Length - 2)) } else { @(Find-Real $path) }
            $into = "$($bound['Destination'])"
            foreach ($each in $from) {
                $target = if ($path.EndsWith('\*')) { $into + $each.Substring($each.LastIndexOf('\')) } else { $into }
                [IO.File]::Copy($each, $target, $true)
            }
            return
        }
        'Set-ItemProperty file' { return }
    }
    switch ($name) {
        'Join-Path' {
            $child = "$($bound['ChildPath'])".TrimStart('\')
            return $(if ($path.StartsWith('/')) { "$($path.TrimEnd('/'))/$($child.Replace('\', '/'))" } else { "$($path.TrimEnd('\'))\$child" })
        }
        'Split-Path' {
            $at = $path.LastIndexOfAny('\/'.ToCharArray())
            return $(if ($bound['Leaf']) { $path.Substring($at + 1) } else { $path.Substring(0, [Math]::Max(0, $at)) })
        }
        'Expand-Archive' {
            $inner = "$($bound['DestinationPath'])\OpenSSH-Win64"
            foreach ($file in 'install-sshd.ps1', 'sshd.exe') { [IO.File]::WriteAllText("$inner\$file", '') }
            [IO.File]::WriteAllText("$($bound['DestinationPath'])\install-sshd.ps1", '')
            return
        }
        'Get-Acl' { return [pscustomobject]@{ Sddl = 'O:BAG:SYD:PAI(A;OICI;FA;;;SY)' } }
        'Get-Service' { return @(if ($global:SshRuns) { [pscustomobject]@{ Name = 'sshd'; Status = 'Running' } }) }
        'Stop-Service' { $global:SshRuns = $false; return }
        { $_ -in 'Start-Service', 'Restart-Service' } {
            if ($bound['Name'] -eq 'sshd') {
                $global:SshRuns = $true
                $made = @{ 'sshd_config' = "Port 22`n"; 'ssh_host_ed25519_key.pub' = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDvCqRvwLzHTKqFpHKjnPSNcWYDwNS1LzHk0L7NNwWxn host`n" }
                foreach ($file in $made.Keys) { if (-not [IO.File]::Exists("$env:ProgramData\ssh\$file")) { [IO.File]::WriteAllText("$env:ProgramData\ssh\$file", $made[$file]) } }
                [void][IO.Directory]::CreateDirectory("$env:ProgramData\ssh\logs")
            }
            return
        }
        'New-NetFirewallRule' {
            if ($global:FirewallRules.ContainsKey($bound['Name'])) { throw 'Cannot create a file when that file already exists.' }
            $global:FirewallRules[$bound['Name']] = [pscustomobject]@{ Name = $bound['Name'] }
            return $global:FirewallRules[$bound['Name']]
        }
        'Get-NetFirewallRule' { return @($global:FirewallRules.Values) }
        'New-SelfSignedCertificate' { return [pscustomobject]@{ RawData = [byte[]](1, 2, 3); Thumbprint = '0123456789ABCDEF0123456789ABCDEF01234567' } }
        'Import-Certificate' {
            $store = "$($bound['CertStoreLocation'])"
            $global:Certificates[$store] = @($global:Certificates[$store]) + [pscustomobject]@{ RawData = [IO.File]::ReadAllBytes((Find-Real "$($bound['FilePath'])")) } -ne $null
            return $global:Certificates[$store][-1]
        }
        'Invoke-CimMethod' { return [pscustomobject]@{ ReturnValue = 0; ProcessId = 4711 } }
        'Get-CimInstance' {
            if ($bound['ClassName'] -eq 'Win32_SystemDriver' -and "$($bound['Filter'])" -match "^Name = '(.*)'$") {
                $file = "service-$($Matches[1])"
                if (-not [IO.File]::Exists($file)) { return }
                $state, $image = [IO.File]::ReadAllLines($file)
                return [pscustomobject]@{ Name = $Matches[1]; State = $state; PathName = $image }
            }
            if (-not $global:Cim.ContainsKey($bound['ClassName'])) { return }
            $named = if ("$($bound['Filter'])" -match "^Name = '(.*)'$") { $Matches[1] }
            return @($global:Cim[$bound['ClassName']] | Where-Object { -not $named -or $_.Name -eq $named })
        }
        'New-Object' {
            if ("$($bound['TypeName'])" -ne 'System.IO.Ports.SerialPort') { return Microsoft.PowerShell.Utility\New-Object @bound }
            $port = [pscustomobject]@{ WriteTimeout = 0; BaseStream = [pscustomobject]@{} }
            Add-Member -InputObject $port -MemberType ScriptMethod -Name Open -Value {
                $failed = Enter-Double 'COM1' @{}
                if ($failed) { throw [UnauthorizedAccessException]::new("Access to the port 'COM1' is denied. ($failed)") }
                if ([IO.File]::Exists('com1 is taken')) { throw [UnauthorizedAccessException]::new("Access to the port 'COM1' is denied.") }
            }
            Add-Member -InputObject $port -MemberType ScriptMethod -Name Write -Value { [IO.File]::AppendAllText('com1', $args[0]) }
            Add-Member -InputObject $port -MemberType ScriptMethod -Name Dispose -Value { }
            Add-Member -InputObject $port.BaseStream -MemberType ScriptMethod -Name Flush -Value { }
            return $port
        }
    }
}
