/* SPDX-License-Identifier: MIT */
/*
 * The notification of applications (WD: kernel/registering-for-application-notification.md): WM_DEVICECHANGE for
 * the same interface classes that the driver registers for. Each carries the performance counter, the driver's clock.
 */
#include "hpnctl.h"

#include <dbt.h>

static const GUID processor = { 0x97FADB10, 0x4E33, 0x40AE, { 0x35, 0x9C, 0x8B, 0xEF, 0x02, 0x9D, 0xBD, 0xD0 } };
static const GUID memory = { 0x3FD0F03D, 0x92E0, 0x45FB, { 0xB7, 0x5C, 0x5E, 0xD8, 0xFF, 0xB0, 0x10, 0x21 } };

static int as_json;
static struct text line;

static void
report(const char *event, const DEV_BROADCAST_DEVICEINTERFACE_W *device)
{
    MEMORYSTATUSEX status = { .dwLength = sizeof(status) };
    LARGE_INTEGER counter;
    char nonce[17];

    QueryPerformanceCounter(&counter);
    GlobalMemoryStatusEx(&status);
    boot_nonce(nonce);
    add_text(&line, as_json ? "{\"k\":\"guest\",\"event\":\"app." : "app.");
    add_text(&line, event);
    add_text(&line, as_json ? "\",\"detail\":\"" : " ");
    add_text(&line, "qpc=");
    add_decimal(&line, (ULONG64)counter.QuadPart);
    add_text(&line, " boot=");
    add_text(&line, nonce);
    add_text(&line, " active=");
    add_decimal(&line, GetActiveProcessorCount(ALL_PROCESSOR_GROUPS));
    add_text(&line, " memory=");
    add_decimal(&line, status.ullTotalPhys);
    if (device != NULL) {
        static struct text link;

        add_text(&line, device->dbcc_classguid.Data1 == processor.Data1 ? " cls=cpu link=" : " cls=memory link=");
        link.length = 0;
        add_wide(&link, device->dbcc_name);
        if (as_json)
            add_json(&line, link.bytes, link.length);
        else
            add_bytes(&line, link.bytes, link.length);
    }
    add_text(&line, as_json ? "\"}\n" : "\n");
    put(&line);
}

static LRESULT CALLBACK
receive(HWND window, UINT message, WPARAM event, LPARAM data)
{
    const DEV_BROADCAST_HDR *header = (const DEV_BROADCAST_HDR *)data;

    if (message == WM_TIMER)
        PostQuitMessage(0);
    if (message != WM_DEVICECHANGE)
        return DefWindowProcW(window, message, event, data);
    if ((event == DBT_DEVICEARRIVAL || event == DBT_DEVICEREMOVECOMPLETE) && header != NULL &&
        header->dbch_devicetype == DBT_DEVTYP_DEVICEINTERFACE)
        report(
            event == DBT_DEVICEARRIVAL ? "arrival" : "removal", (const DEV_BROADCAST_DEVICEINTERFACE_W *)header);
    return TRUE;
}

static HDEVNOTIFY
be_told(HWND window, const GUID *class)
{
    DEV_BROADCAST_DEVICEINTERFACE_W filter = {
        .dbcc_size = sizeof(filter), .dbcc_devicetype = DBT_DEVTYP_DEVICEINTERFACE, .dbcc_classguid = *class
    };

    return RegisterDeviceNotificationW(window, &filter, DEVICE_NOTIFY_WINDOW_HANDLE);
}

int
watch(int json, DWORD seconds)
{
    WNDCLASSW class = { .lpfnWndProc = receive, .lpszClassName = L"hpnctl", .hInstance = GetModuleHandleW(NULL) };
    HDEVNOTIFY notifications[2];
    HWND window;
    MSG message;

    as_json = json;
    if (RegisterClassW(&class) == 0)
        return complain(REFUSED, "cannot register a window class", "", GetLastError());
    window = CreateWindowExW(0, class.lpszClassName, NULL, 0, 0, 0, 0, 0, HWND_MESSAGE, NULL, class.hInstance, NULL);
    if (window == NULL)
        return complain(REFUSED, "cannot make a window", "", GetLastError());
    notifications[0] = be_told(window, &processor);
    notifications[1] = be_told(window, &memory);
    if (notifications[0] == NULL || notifications[1] == NULL)
        return complain(REFUSED, "cannot register for device notification", "", GetLastError());
    if (seconds != 0 && SetTimer(window, 1, seconds * 1000, NULL) == 0)
        return complain(REFUSED, "cannot set a timer", "", GetLastError());
    report("watching", NULL);
    while (GetMessageW(&message, NULL, 0, 0) > 0)
        DispatchMessageW(&message);
    UnregisterDeviceNotification(notifications[0]);
    UnregisterDeviceNotification(notifications[1]);
    DestroyWindow(window);
    return DONE;
}
