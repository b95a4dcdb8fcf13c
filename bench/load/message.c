#include "message.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const words[] = {
    "post",    "office",  "letter",  "stamp",   "parcel", "counter",  "window", "queue",
    "receipt", "sender",  "owner",   "keep",    "until",  "morning",  "train",  "harbour",
    "island",  "meeting", "invoice", "project", "please", "tomorrow", "thanks", "budget",
    "review",  "agenda",  "quarter", "the",     "and",    "of",       "to",     "in",
    "that",    "with",    "for",     "you"};
static const char *const charsets[] = {"us-ascii",     "utf-8",      "iso-8859-1",   "iso-8859-15",
                                       "windows-1252", "iso-8859-2", "windows-1251", "koi8-r",
                                       "gb2312",       "big5",       "shift_jis",    "iso-2022-jp"};

struct writer {
    char *bytes;
    size_t size, room;
    uint64_t state;
};

static uint64_t chance(struct writer *writer)
{
    uint64_t z = writer->state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void add(struct writer *writer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct writer *writer, const char *format, ...)
{
    va_list args;
    if (writer->room - writer->size < 2048) {
        writer->room = writer->room * 2 + 4096;
        writer->bytes = realloc(writer->bytes, writer->room);
        if (writer->bytes == NULL)
            abort();
    }
    va_start(args, format);
    writer->size += (size_t)vsnprintf(writer->bytes + writer->size, 2048, format, args);
    va_end(args);
}

static const char *word(struct writer *writer)
{
    return words[chance(writer) % (sizeof(words) / sizeof(*words))];
}

static void text(struct writer *writer, size_t until, const char *before, const char *after)
{
    while (writer->size < until) {
        add(writer, "%s", before);
        for (uint64_t count = 3 + chance(writer) % 9; count > 0; count--)
            add(writer, "%s ", word(writer));
        if (chance(writer) % 16 == 0)
            add(writer, "\xc3\xbc\xd0\xb6\xe4\xb8\x96");
        add(writer, "%s\r\n", after);
    }
}

static void base64(struct writer *writer, size_t until)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while (writer->size < until) {
        char line[77];
        for (int i = 0; i < 76; i++)
            line[i] = digits[chance(writer) % 64];
        line[76] = '\0';
        add(writer, "%s\r\n", line);
    }
}

static size_t real_size(struct writer *writer)
{
    /* Log-normal around 12 KB; its mean is 35 KB with sigma^2 = 2 ln(35/12). */
    double u1 = ((double)(chance(writer) >> 11) + 1) / 9007199254740993.0;
    double u2 = (double)(chance(writer) >> 11) / 9007199254740992.0;
    double normal = sqrt(-2 * log(u1)) * cos(2 * 3.14159265358979 * u2);
    double size = 12000 * exp(1.463 * normal);
    return size < 1000 ? 1000 : size > 5e6 ? 5000000 : (size_t)size;
}

struct message message_make(uint64_t seed, uint64_t number, size_t size)
{
    struct writer writer = {.state = seed * 0x100000001b3u + number};
    size_t until = size != 0 ? size : real_size(&writer);
    const char *charset = charsets[chance(&writer) % (sizeof(charsets) / sizeof(*charsets))];
    unsigned second = (unsigned)(number % 86400);
    add(&writer, "From: Sender %u <sender%u@example.org>\r\nTo: Someone <someone@example.net>\r\n",
        (unsigned)(number % 500), (unsigned)(number % 500));
    add(&writer, "Subject: %s ", word(&writer));
    add(&writer, "%s ", word(&writer));
    add(&writer, "number %llu\r\n", (unsigned long long)number);
    add(&writer, "Date: Sun, 22 Nov 2026 %02u:%02u:%02u +0000\r\n", second / 3600, second / 60 % 60,
        second % 60);
    add(&writer, "Message-ID: <%llu.%llu@bench.example.org>\r\nMIME-Version: 1.0\r\n",
        (unsigned long long)seed, (unsigned long long)number);
    add(&writer, "X-Mailer: bench\r\nReferences: <%llu.0@bench.example.org>\r\n",
        (unsigned long long)seed);
    switch (chance(&writer) % 4) {
    case 0:
        add(&writer, "Content-Type: text/plain; charset=%s\r\n\r\n", charset);
        text(&writer, until, "", "");
        break;
    case 1:
        add(&writer, "Content-Type: text/html; charset=%s\r\n\r\n<html><body>\r\n", charset);
        text(&writer, until, "<p class=\"x\">", "</p>");
        break;
    default:
        add(&writer, "Content-Type: multipart/mixed; boundary=\"b%llu\"\r\n\r\n--b%llu\r\n",
            (unsigned long long)number, (unsigned long long)number);
        add(&writer, "Content-Type: text/plain; charset=%s\r\n\r\n", charset);
        text(&writer, until / 3, "", "");
        add(&writer,
            "--b%llu\r\nContent-Type: application/pdf; name=\"file.pdf\"\r\n"
            "Content-Disposition: attachment; filename=\"file.pdf\"\r\n"
            "Content-Transfer-Encoding: base64\r\n\r\n",
            (unsigned long long)number);
        base64(&writer, until);
        add(&writer, "--b%llu--\r\n", (unsigned long long)number);
    }
    return (struct message){writer.bytes, writer.size};
}
