/*
 * How answers are written (RFC 3501 7 and 9): untagged lines go to the output as they come, the
 * tagged one is kept until the command is done. A string is quoted where it may be and a literal
 * where it must be.
 */
#include <stdarg.h>

#include "base/bytes.h"
#include "imap/imap_priv.h"
#include "imap/utf7.h"

void imap_printf(struct imap_session *session, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    evbuffer_add_vprintf(imap_out(session), format, arguments);
    va_end(arguments);
}

void imap_put(struct imap_session *session, struct slice bytes)
{
    evbuffer_add(imap_out(session), bytes.data, bytes.size);
}

void imap_reply(struct imap_session *session, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    if (size >= (int)sizeof(text)) { /* COPYUID of a wild set */
        va_end(arguments);
        char *long_text = arena_alloc(&session->arena, (size_t)size + 1);
        va_start(arguments, format);
        vsnprintf(long_text, (size_t)size + 1, format, arguments);
        session->work.reply = long_text;
    } else {
        session->work.reply = arena_strdup(&session->arena, slice_str(text));
    }
    va_end(arguments);
}

enum imap_step imap_reply_result(struct imap_session *session, enum mailbox_result result)
{
    const char *code = mailbox_result_code(result);
    if (result == MAILBOX_BROKEN)
        return IMAP_CLOSE;
    imap_reply(session, *code == 0 ? "NO %s%s" : "NO [%s] %s", code, mailbox_result_text(result));
    return IMAP_DONE;
}

enum imap_step imap_reply_target(struct imap_session *session, enum mailbox_result result)
{
    if (result != MAILBOX_NO_SUCH)
        return imap_reply_result(session, result);
    imap_reply(session, "NO [TRYCREATE] %s", mailbox_result_text(result));
    return IMAP_DONE;
}

void imap_mailbox_done(void *arg, enum mailbox_result result)
{
    struct imap_session *session = arg;
    session->work.result = result;
    imap_wake(session);
}

enum imap_step imap_wait_store(struct imap_session *session, const char *what)
{
    session->work.asked = true;
    session->work.wait = what;
    return IMAP_WAIT_STORE;
}

/* ---- values -------------------------------------------------------------------------------- */

static bool may_be_quoted(struct slice string)
{
    size_t i = 0;
    if (string.size > 4000)
        return false;
    for (; string.size - i >= 8; i += 8) {
        uint64_t eight = bytes_get_le64(string.data + i);
        uint64_t bad = (eight & BYTES_MARK) | bytes_mark(eight, 0) | bytes_mark(eight, '\r') |
                       bytes_mark(eight, '\n');
        if (bad != 0)
            return false;
    }
    for (; i < string.size; i++)
        if (string.data[i] == 0 || string.data[i] == '\r' || string.data[i] == '\n' ||
            string.data[i] >= 0x80)
            return false;
    return true;
}

static void put_quoted(struct buf *out, struct slice string)
{
    size_t most = string.size * 2 + 2, i = 0;
    uint8_t *begin = buf_extend(out, most), *at = begin;
    *at++ = '"';
    while (i < string.size) {
        uint64_t eight = string.size - i >= 8 ? bytes_get_le64(string.data + i) : BYTES_ALL('"');
        if ((bytes_mark(eight, '"') | bytes_mark(eight, '\\')) == 0) {
            bytes_put_le64(at, eight);
            at += 8;
            i += 8;
            continue;
        }
        if (string.data[i] == '"' || string.data[i] == '\\')
            *at++ = '\\';
        *at++ = string.data[i++];
    }
    *at++ = '"';
    out->size -= most - (size_t)(at - begin);
}

void imap_put_string(struct buf *out, struct slice string)
{
    if (string.data == NULL) {
        buf_add_str(out, "NIL");
    } else if (may_be_quoted(string)) {
        put_quoted(out, string);
    } else {
        buf_add_str(out, "{");
        buf_number(out, string.size);
        buf_add_str(out, "}\r\n");
        buf_add_slice(out, string);
    }
}

/* A name has no control characters: mailbox/name.c. */
void imap_put_mailbox(struct imap_session *session, struct slice name)
{
    struct buf utf7 = {0}, text = {0};
    if (session->utf8) {
        put_quoted(&text, name);
    } else {
        utf7_encode(name, &utf7);
        imap_put_string(&text, utf7.data == NULL ? SLICE_LITERAL("") : buf_slice(&utf7));
    }
    imap_put(session, buf_slice(&text));
    buf_finish(&text);
    buf_finish(&utf7);
}

static const char *const flag_names[] = {"\\Seen", "\\Answered", "\\Flagged", "\\Deleted",
                                         "\\Draft"};

void imap_put_flags(struct buf *out, struct mailbox_account *account,
                    const struct mailbox_entry *entry)
{
    const struct slice *keywords;
    size_t begin = out->size;
    for (uint32_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
        if ((entry->flags & 1u << i) == 0)
            continue;
        buf_add(out, " ", 1);
        buf_add_str(out, flag_names[i]);
    }
    size_t count = mailbox_keywords(account, entry->keyword_set, &keywords);
    for (size_t i = 0; i < count; i++) {
        buf_add(out, " ", 1);
        buf_add_slice(out, keywords[i]);
    }
    if (out->size == begin)
        buf_add(out, "(", 1);
    else
        out->data[begin] = '(';
    buf_add(out, ")", 1);
}

void imap_put_flags_known(struct imap_session *session, bool star)
{
    const struct slice *keywords;
    struct evbuffer *out = imap_out(session);
    evbuffer_add_printf(out, "(%s %s %s %s %s", flag_names[1], flag_names[2], flag_names[3],
                        flag_names[0], flag_names[4]);
    size_t count = mailbox_view_keywords(session->view, &keywords);
    for (size_t i = 0; i < count; i++)
        evbuffer_add_printf(out, " %.*s", SLICE_PRINT(keywords[i]));
    evbuffer_add_printf(out, star ? " \\*)" : ")");
}

void imap_put_set(struct evbuffer *out, const struct uidset *set)
{
    struct buf text = {0};
    uidset_print(set, &text);
    evbuffer_add(out, text.data, text.size);
    buf_finish(&text);
}
