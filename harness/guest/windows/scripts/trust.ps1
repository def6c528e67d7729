# SPDX-License-Identifier: MIT
# Makes this machine trust a certificate for test signing, as its issuer and as a publisher of drivers.
param(
    [string]$Path
)
foreach ($store in 'Root', 'TrustedPublisher') {
    [void](Import-Certificate -FilePath $Path -CertStoreLocation "Cert:\LocalMachine\$store")
}
ConvertTo-Json -Compress -InputObject @{ state = 'trusted' }
