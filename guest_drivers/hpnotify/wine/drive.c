/* SPDX-License-Identifier: MIT */
/*
 * The one client of a run: Wine ends the services when its last client ends. Obeys the lines of standard input:
 *
 *   install NAME PATH   make a kernel service
 *   load NAME           start it                                             = ERROR
 *   unload NAME         stop it                                              = ERROR
 *   run PROGRAM WORDS   run a program; its output comes between here and     = EXIT CODE
 *   anything else       goes to the double's control device                  = ERROR
 */
#include <windows.h>
#include <winioctl.h>
#include <winsvc.h>
#include <stdio.h>
#include <string.h>

#define DOUBLE_COMMAND CTL_CODE(0x8505, 0x800, METHOD_BUFFERED, FILE_READ_ACCESS | FILE_WRITE_ACCESS)

static SC_HANDLE manager;

/* Wine loads drivers of one load order group into one process, which then is one machine. */
static DWORD install(const char *name, const char *path)
{
    SC_HANDLE service = CreateServiceA(
        manager, name, name, SERVICE_ALL_ACCESS, SERVICE_KERNEL_DRIVER, SERVICE_DEMAND_START, SERVICE_ERROR_NORMAL,
        path, "hpnotify", NULL, NULL, NULL, NULL);

    if (service == NULL)
        return GetLastError();
    CloseServiceHandle(service);
    return 0;
}

static DWORD change(const char *name, int start)
{
    SC_HANDLE service = OpenServiceA(manager, name, SERVICE_ALL_ACCESS);
    SERVICE_STATUS status;
    DWORD error;

    if (service == NULL)
        return GetLastError();
    if (start)
        error = StartServiceA(service, 0, NULL) ? 0 : GetLastError();
    else
        error = ControlService(service, SERVICE_CONTROL_STOP, &status) ? 0 : GetLastError();
    CloseServiceHandle(service);
    return error;
}

static DWORD run(char *words)
{
    STARTUPINFOA startup = { .cb = sizeof(startup) };
    PROCESS_INFORMATION process;
    DWORD code;

    fflush(stdout);
    if (!CreateProcessA(NULL, words, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process))
        return 0x10000 | GetLastError();
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return code;
}

static DWORD ask(char *line)
{
    HANDLE device = CreateFileA("\\\\.\\hpnwine", GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING, 0, NULL);
    DWORD got;
    DWORD error = 0;

    if (device == INVALID_HANDLE_VALUE)
        return GetLastError();
    if (!DeviceIoControl(device, DOUBLE_COMMAND, line, (DWORD)strlen(line), NULL, 0, &got, NULL))
        error = GetLastError();
    CloseHandle(device);
    return error;
}

int main(void)
{
    char line[1024];
    char name[64];
    char path[512];

    manager = OpenSCManagerA(NULL, NULL, SC_MANAGER_ALL_ACCESS);
    if (manager == NULL)
        return (int)GetLastError();
    while (fgets(line, sizeof(line), stdin) != NULL) {
        DWORD code;

        line[strcspn(line, "\r\n")] = 0;
        if (sscanf(line, "install %63s %511s", name, path) == 2)
            code = install(name, path);
        else if (sscanf(line, "load %63s", name) == 1)
            code = change(name, 1);
        else if (sscanf(line, "unload %63s", name) == 1)
            code = change(name, 0);
        else if (strncmp(line, "run ", 4) == 0)
            code = run(line + 4);
        else
            code = ask(line);
        printf("= %lu\n", code);
        fflush(stdout);
    }
    CloseServiceHandle(manager);
    return 0;
}
