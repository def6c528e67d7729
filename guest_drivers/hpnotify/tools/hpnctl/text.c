/* SPDX-License-Identifier: MIT */
/* Text, numbers and messages; and the two functions that compilers call on their own. */
#include "hpnctl.h"

/* The compiler must not recognize their pattern, or they would call themselves. */
void *
memset(void *target, int value, size_t length)
{
    volatile char *at = target;

    while (length-- != 0)
        *at++ = (char)value;
    return target;
}

void *
memcpy(void *target, const void *source, size_t length)
{
    volatile char *at = target;
    const char *from = source;

    while (length-- != 0)
        *at++ = *from++;
    return target;
}

void
add_bytes(struct text *text, const char *more, unsigned length)
{
    while (length-- != 0 && text->length < sizeof(text->bytes))
        text->bytes[text->length++] = *more++;
}

void
add_text(struct text *text, const char *more)
{
    add_bytes(text, more, (unsigned)lstrlenA(more));
}

void
add_decimal(struct text *text, ULONG64 value)
{
    char digits[20];
    unsigned at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    add_bytes(text, digits + at, sizeof(digits) - at);
}

void
add_hexadecimal(struct text *text, ULONG64 value, unsigned digits)
{
    while (digits < 16 && value >> 4 * digits != 0)
        digits++;
    while (digits-- != 0)
        add_bytes(text, &"0123456789abcdef"[value >> 4 * digits & 15], 1);
}

void
add_wide(struct text *text, const WCHAR *more)
{
    char bytes[1024];
    int length = WideCharToMultiByte(CP_UTF8, 0, more, -1, bytes, sizeof(bytes), NULL, NULL) - 1;

    for (int at = 0; at < length; at++) {
        if (bytes[at] > ' ' && bytes[at] <= '~' && bytes[at] != '%') {
            add_bytes(text, &bytes[at], 1);
        } else {
            add_text(text, "%");
            add_hexadecimal(text, (unsigned char)bytes[at], 2);
        }
    }
}

void
add_json(struct text *text, const char *more, unsigned length)
{
    for (; length-- != 0; more++) {
        if (*more == '"' || *more == '\\') {
            add_text(text, "\\");
            add_bytes(text, more, 1);
        } else if ((unsigned char)*more < ' ' || *more == 0x7F) {
            add_text(text, "\\u00");
            add_hexadecimal(text, (unsigned char)*more, 2);
        } else {
            add_bytes(text, more, 1);
        }
    }
}

static void
write_to(DWORD stream, struct text *text)
{
    const char *from = text->bytes;
    DWORD written;

    while (text->length != 0) {
        if (!WriteFile(GetStdHandle(stream), from, text->length, &written, NULL) || written == 0)
            ExitProcess(DONE);
        from += written;
        text->length -= written;
    }
}

void
put(struct text *text)
{
    write_to(STD_OUTPUT_HANDLE, text);
}

int
complain(int code, const char *message, const char *name, DWORD error)
{
    static struct text text;
    char words[512];
    DWORD length;

    add_text(&text, "hpnctl: ");
    add_text(&text, message);
    add_text(&text, name);
    if (error != 0) {
        length = FormatMessageA(
            FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, NULL, error, 0, words, sizeof(words), NULL);
        while (length != 0 && (unsigned char)words[length - 1] <= ' ')
            length--;
        add_text(&text, ": ");
        add_bytes(&text, words, length);
        add_text(&text, " (error ");
        add_decimal(&text, error);
        add_text(&text, ")");
    }
    add_text(&text, "\r\n");
    write_to(STD_ERROR_HANDLE, &text);
    return code;
}

int
number(const WCHAR *word, ULONG64 most, ULONG64 *value)
{
    ULONG64 base = 10;
    ULONG64 digit;

    *value = 0;
    if (word[0] == L'0' && (word[1] == L'x' || word[1] == L'X')) {
        base = 16;
        word += 2;
    }
    if (*word == 0)
        return 0;
    for (; *word != 0; word++) {
        if (*word >= L'0' && *word <= L'9')
            digit = *word - L'0';
        else if (base == 16 && (*word | 32) >= L'a' && (*word | 32) <= L'f')
            digit = (*word | 32) - L'a' + 10;
        else
            return 0;
        if (*value > (most - digit) / base)
            return 0;
        *value = *value * base + digit;
    }
    return *value <= most;
}
