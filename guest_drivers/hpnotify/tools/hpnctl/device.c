/* SPDX-License-Identifier: MIT */
/* The driver's control device, and the registry key that it shares with every driver of this boot. */
#include "hpnctl.h"

int
device_open(const WCHAR *name, HANDLE *device)
{
    WCHAR path[80] = L"\\\\.\\";
    char shown[80];

    if (lstrlenW(name) > 64)
        return complain(USAGE, "a device has a name of at most 64 characters", "", 0);
    lstrcatW(path, name);
    WideCharToMultiByte(CP_UTF8, 0, name, -1, shown, sizeof(shown), NULL, NULL);
    *device = CreateFileW(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (*device == INVALID_HANDLE_VALUE)
        return complain(UNREACHABLE, "cannot open the device of ", shown, GetLastError());
    return DONE;
}

int
device_ask(HANDLE device, DWORD code, void *input, DWORD input_bytes, void *output, DWORD output_bytes, DWORD *got)
{
    DWORD ignored;

    if (!DeviceIoControl(device, code, input, input_bytes, output, output_bytes, got != NULL ? got : &ignored, NULL))
        return complain(REFUSED, "the driver refused", "", GetLastError());
    return DONE;
}

void
boot_nonce(char digits[17])
{
    static struct text text;
    ULONG64 nonce = 0;
    DWORD length = sizeof(nonce);

    digits[0] = 0;
    if (RegGetValueW(
            HKEY_LOCAL_MACHINE, L"Software\\HotplugHarness", L"Nonce", RRF_RT_REG_BINARY, NULL, &nonce, &length) == 0) {
        text.length = 0;
        add_hexadecimal(&text, nonce, 16);
        memcpy(digits, text.bytes, 16);
        digits[16] = 0;
    }
}
