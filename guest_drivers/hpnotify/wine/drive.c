/* SPDX-License-Identifier: MIT */
/*
 * The only client of a run: Wine ends the services when its last client ends. It executes the lines of standard input:
 *
 *   install NAME PATH   make a kernel service
 *   load NAME           start it                                             = ERROR
 *   unload NAME         stop it                                              = ERROR
 *
 *   device ID INF       make a device that the root enumerates, and install it  = ERROR
 *   remove ID           remove all such devices                                 = ERROR
 *
 *   run PROGRAM WORDS   run a program; its output comes between here and     = EXIT CODE
 *   begin PROGRAM WORDS run a program until its first line of output         = ERROR
 *   end                 wait for it; the rest of its output and              = EXIT CODE
 *   heard LINE          send LINE to the double until the program writes     = ERROR
 *   anything else       goes to the double's control device                  = ERROR
 */
#include <windows.h>
#include <winioctl.h>
#include <winsvc.h>
#include <setupapi.h>
#include <newdev.h>
#include <cfgmgr32.h>
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

/* As devcon install does. Wine starts the driver that the INF file names, and makes it add the device. */
static DWORD device(const char *identity, const char *inf)
{
    SP_DEVINFO_DATA made = { .cbSize = sizeof(made) };
    char identities[70] = { 0 };
    char name[MAX_CLASS_NAME_LEN];
    DWORD error = 0;
    BOOL restart;
    GUID class;
    HDEVINFO set;

    strcpy(identities, identity);
    if (!SetupDiGetINFClassA(inf, &class, name, sizeof(name), NULL))
        return GetLastError();
    set = SetupDiCreateDeviceInfoList(&class, NULL);
    if (set == INVALID_HANDLE_VALUE)
        return GetLastError();
    if (!SetupDiCreateDeviceInfoA(set, name, &class, NULL, NULL, DICD_GENERATE_ID, &made) ||
        !SetupDiSetDeviceRegistryPropertyA(
            set, &made, SPDRP_HARDWAREID, (const BYTE *)identities, (DWORD)strlen(identity) + 2) ||
        !SetupDiCallClassInstaller(DIF_REGISTERDEVICE, set, &made) ||
        !UpdateDriverForPlugAndPlayDevicesA(NULL, identity, inf, INSTALLFLAG_FORCE, &restart))
        error = GetLastError();
    SetupDiDestroyDeviceInfoList(set);
    return error;
}

/* As devcon remove does. */
static DWORD take_away(const char *identity)
{
    HDEVINFO set = SetupDiGetClassDevsA(NULL, "ROOT", NULL, DIGCF_ALLCLASSES);
    SP_DEVINFO_DATA found = { .cbSize = sizeof(found) };
    DWORD error = ERROR_NOT_FOUND;
    char identities[256];

    if (set == INVALID_HANDLE_VALUE)
        return GetLastError();
    for (DWORD at = 0; SetupDiEnumDeviceInfo(set, at, &found); at++) {
        if (SetupDiGetDeviceRegistryPropertyA(
                set, &found, SPDRP_HARDWAREID, NULL, (BYTE *)identities, sizeof(identities), NULL) &&
            strcmp(identities, identity) == 0)
            error = SetupDiCallClassInstaller(DIF_REMOVE, set, &found) ? 0 : GetLastError();
    }
    SetupDiDestroyDeviceInfoList(set);
    return error;
}

/*
 * Seen on busy hosts: Wine's child ended before it was a process, which is ERROR_INTERNAL_ERROR. Nothing was executed,
 * so it is started again.
 */
static BOOL start(char *words, PROCESS_INFORMATION *process)
{
    STARTUPINFOA startup = { .cb = sizeof(startup) };

    for (int attempt = 1; attempt <= 3; attempt++) {
        if (CreateProcessA(NULL, words, NULL, NULL, TRUE, 0, NULL, NULL, &startup, process))
            return TRUE;
        if (GetLastError() != ERROR_INTERNAL_ERROR)
            return FALSE;
    }
    return FALSE;
}

static DWORD run(char *words)
{
    PROCESS_INFORMATION process;
    DWORD code;

    fflush(stdout);
    if (!start(words, &process))
        return 0x10000 | GetLastError();
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return code;
}

static HANDLE begun;
static HANDLE output;

/*
 * Reads the output of the started program: its first line, or the rest. The wait is finite, because the program ends.
 */
static void pass_on(int first)
{
    DWORD got;
    char byte;

    while (ReadFile(output, &byte, 1, &got, NULL) && got == 1) {
        putchar(byte);
        if (first && byte == '\n')
            return;
    }
}

static DWORD begin(char *words)
{
    SECURITY_ATTRIBUTES inherited = { .nLength = sizeof(inherited), .bInheritHandle = TRUE };
    STARTUPINFOA startup = { .cb = sizeof(startup), .dwFlags = STARTF_USESTDHANDLES };
    PROCESS_INFORMATION process;
    BOOL made;

    if (!CreatePipe(&output, &startup.hStdOutput, &inherited, 0))
        return GetLastError();
    startup.hStdError = startup.hStdOutput;
    SetHandleInformation(output, HANDLE_FLAG_INHERIT, 0);
    made = CreateProcessA(NULL, words, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process);
    CloseHandle(startup.hStdOutput);
    if (!made)
        return GetLastError();
    CloseHandle(process.hThread);
    begun = process.hProcess;
    pass_on(1);
    return 0;
}

static DWORD end(void)
{
    DWORD code;

    pass_on(0);
    WaitForSingleObject(begun, INFINITE);
    GetExitCodeProcess(begun, &code);
    CloseHandle(begun);
    CloseHandle(output);
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

/*
 * Wine registers for notifications on a thread of its own (sechost, RegisterDeviceNotificationW): what is announced before
 * that is lost. WAIT_TIMEOUT if the program never writes.
 */
static DWORD heard(char *line)
{
    int attempt;

    for (attempt = 0; attempt < 20; attempt++) {
        DWORD error = ask(line);
        int wait;

        for (wait = 0; error == 0 && wait < 25; wait++) {
            DWORD waiting = 0;

            if (PeekNamedPipe(output, NULL, 0, NULL, &waiting, NULL) && waiting != 0)
                return 0;
            Sleep(20);
        }
        if (error != 0)
            return error;
    }
    return WAIT_TIMEOUT;
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
        else if (sscanf(line, "device %63s %511s", name, path) == 2)
            code = device(name, path);
        else if (sscanf(line, "remove %63s", name) == 1)
            code = take_away(name);
        else if (strncmp(line, "run ", 4) == 0)
            code = run(line + 4);
        else if (strncmp(line, "begin ", 6) == 0)
            code = begin(line + 6);
        else if (strncmp(line, "heard ", 6) == 0)
            code = heard(line + 6);
        else if (strcmp(line, "end") == 0)
            code = end();
        else
            code = ask(line);
        printf("= %lu\n", code);
        fflush(stdout);
    }
    CloseServiceHandle(manager);
    return 0;
}
