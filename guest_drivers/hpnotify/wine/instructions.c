/* SPDX-License-Identifier: MIT */
/* The instructions that only a kernel may execute: port input and output, and reading CR8. */
#include <windows.h>

#include "double.h"
#include "machine.h"

#define WINE_STUB 0x80000100

/* The register of a context by the number that an instruction has for it. */
static DWORD64 *numbered(CONTEXT *context, unsigned number)
{
    DWORD64 *all[] = {
        &context->Rax, &context->Rcx, &context->Rdx, &context->Rbx, &context->Rsp, &context->Rbp, &context->Rsi,
        &context->Rdi, &context->R8, &context->R9, &context->R10, &context->R11, &context->R12, &context->R13,
        &context->R14, &context->R15
    };

    return all[number];
}

static LONG CALLBACK execute(EXCEPTION_POINTERS *exception)
{
    CONTEXT *context = exception->ContextRecord;
    const unsigned char *code = (const unsigned char *)context->Rip;

    if (exception->ExceptionRecord->ExceptionCode == WINE_STUB) {
        double_trouble("Wine has no %s", (const char *)exception->ExceptionRecord->ExceptionInformation[1]);
        return EXCEPTION_CONTINUE_SEARCH;
    }
    if (exception->ExceptionRecord->ExceptionCode != EXCEPTION_PRIV_INSTRUCTION)
        return EXCEPTION_CONTINUE_SEARCH;
    if (code[0] == 0xEC) {
        /* in al, dx */
        context->Rax = (context->Rax & ~0xFFULL) | machine_port_read((unsigned short)context->Rdx);
        context->Rip += 1;
    } else if (code[0] == 0xF3 && code[1] == 0x6E) {
        /* rep outsb */
        adapter_port_write((unsigned short)context->Rdx, (void *)context->Rsi, (unsigned)context->Rcx);
        context->Rsi += context->Rcx;
        context->Rcx = 0;
        context->Rip += 2;
    } else if ((code[0] & 0xFE) == 0x44 && code[1] == 0x0F && code[2] == 0x20 && (code[3] & 0xF8) == 0xC0) {
        /* mov REGISTER, cr8 */
        *numbered(context, (code[3] & 7) + 8 * (code[0] & 1)) = adapter_irql();
        context->Rip += 4;
    } else {
        double_trouble("a privileged instruction: %02x %02x %02x %02x", code[0], code[1], code[2], code[3]);
        return EXCEPTION_CONTINUE_SEARCH;
    }
    return EXCEPTION_CONTINUE_EXECUTION;
}

static const unsigned initial[] = { 0, 1 };

void double_begin(void *address_inside)
{
    if (double_machine(address_inside) != 0)
        return;
    AddVectoredExceptionHandler(1, execute);
    if (core_initialize(initial, 2, 6, 64) != 0)
        double_trouble("the core did not begin");
}
