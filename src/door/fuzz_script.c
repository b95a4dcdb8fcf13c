/*
 * The grammar: every table is one rule, %x in a text stands for the rule with that letter. It knows
 * how things are spelled, not what they mean; what a server must answer is its caller's business.
 */
#include "door/fuzz_script.h"

#include <string.h>

enum { DEPTH_MAX = 5 };

#define RULE(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}

RULE(commands, "NOOP", "SELECT %m", "EXAMINE %m", "SELECT %m (CONDSTORE)",
     "SELECT %m (QRESYNC (%n %n))", "SELECT %m (QRESYNC (%n %n %s (%s %s)))", "CREATE %m",
     "CREATE %m (USE (\\Junk))", "DELETE %m", "RENAME %m %m", "SUBSCRIBE %m", "UNSUBSCRIBE %m",
     "LIST \"\" %p", "LIST (%o) %m %p RETURN (%o STATUS (%x))", "LSUB \"\" %p", "STATUS %m (%x %x)",
     "APPEND %m %t", "APPEND %m (%f) %t", "APPEND %m (%f) \"17-Jul-1996 02:44:25 -0700\" %t %t",
     "APPEND %m UTF8 (~%t)", "FETCH %s %i", "UID FETCH %s %i",
     "UID FETCH %s (%j %j) (CHANGEDSINCE %n)", "UID FETCH %s FLAGS (CHANGEDSINCE %n VANISHED)",
     "STORE %s %a (%f)", "UID STORE %s %a (%f)", "UID STORE %s (UNCHANGEDSINCE %n) %a (%f)",
     "COPY %s %m", "UID COPY %s %m", "MOVE %s %m", "UID MOVE %s %m", "EXPUNGE", "UID EXPUNGE %s",
     "SEARCH %k", "UID SEARCH %k %k", "SEARCH RETURN (%r %r) %k",
     "UID SEARCH RETURN (%r SAVE) CHARSET %c %k", "CLOSE", "UNSELECT", "CHECK", "IDLE\r\nDONE",
     "ENABLE CONDSTORE", "ENABLE QRESYNC", "ENABLE UTF8=ACCEPT IMAP4rev2", "CAPABILITY",
     "NAMESPACE", "ID NIL", "ID (\"name\" %q)", "LOGOUT", "%q %q", "FETCH %i %s");
RULE(door_commands, "NOOP", "CAPABILITY", "ID (\"name\" %q \"x\" NIL)", "LOGIN alice wrong",
     "LOGIN {5+}\r\nalice {5+}\r\nwrong", "LOGIN %q %q", "LOGIN busy secret",
     "AUTHENTICATE PLAIN AGFsaWNlAHdyb25n", "AUTHENTICATE PLAIN =", "AUTHENTICATE PLAIN\r\n*",
     "AUTHENTICATE PLAIN\r\nAGFsaWNlAHdyb25n",
     "AUTHENTICATE TEST\r\nd29ybGQ=", "AUTHENTICATE TEST\r\n%q", "AUTHENTICATE NOSUCH x",
     "LOGIN alice secret", "SELECT %m", "STARTTLS", "LOGOUT", "%q %q", "LOGIN {%n}\r\nx");
RULE(pop3_door_commands, "NOOP", "CAPA", "USER alice", "USER %q", "PASS wrong", "PASS %q",
     "USER alice\r\nPASS wrong", "AUTH", "AUTH PLAIN =", "AUTH PLAIN AGFsaWNlAHdyb25n",
     "AUTH PLAIN\r\n*", "AUTH PLAIN\r\nAGFsaWNlAHdyb25n",
     "AUTH TEST\r\nd29ybGQ=", "AUTH TEST\r\n%q", "AUTH NOSUCH", "USER alice\r\nPASS secret",
     "USER busy\r\nPASS x", "STLS", "QUIT", "STAT", "%q %q");
RULE(pop3_commands, "STAT", "LIST", "LIST %n", "RETR %n", "TOP %n %n", "DELE %n", "UIDL", "UIDL %n",
     "NOOP", "RSET", "CAPA", "QUIT", "NOSUCH", "retr %n", "LIST %n %n", "DELE", "TOP %n", "LAST");
RULE(mailboxes, "INBOX", "inbox", "a", "a/b", "\"x y\"", "{3+}\r\na/c", "&AOQ-", "nosuch", "Trash",
     "INBOX/in", "\"\"", "a/b/c/d", "\"&\"", "Junk");
RULE(patterns, "*", "%%", "a/%%", "\"\"", "INBOX", "(a* %%)", "{1+}\r\n*", "%%/%%", "*b*");
RULE(sets, "1", "1:*", "*", "2:3", "4,1:2", "$", "%n", "%n:%n", "*:%n", "%n,%n:*,%n");
RULE(numbers, "1", "2", "3", "0", "5", "7", "100", "4294967295", "4294967296",
     "18446744073709551615");
RULE(flags, "\\Seen", "\\Deleted", "\\Flagged \\Answered", "$Forwarded", "key%n", "\\Recent", "",
     "$MDNSent $Junk \\Draft", "\\Deleted \\Seen k");
RULE(store_items, "+FLAGS", "-FLAGS", "FLAGS", "+FLAGS.SILENT", "-FLAGS.SILENT", "FLAGS.SILENT");
RULE(keys, "ALL", "SEEN", "NOT %k", "OR %k %k", "(%k %k)", "UID %s", "%s", "SUBJECT %q", "BODY %q",
     "TEXT %q", "HEADER %h %q", "FROM %q", "SINCE %d", "SENTBEFORE %d", "LARGER %n", "SMALLER %n",
     "KEYWORD key1", "UNKEYWORD $Junk", "MODSEQ %n", "OLDER %n", "YOUNGER %n", "$", "NEW", "RECENT",
     "UNDELETED", "SAVEDSINCE %d", "ON %d", "HEADER %h \"\"");
RULE(returns, "ALL", "MIN", "MAX", "COUNT", "");
RULE(charsets, "UTF-8", "us-ascii", "iso-8859-1", "utf-16", "%q");
RULE(texts, "hello", "\"x y\"", "\"\"", "%l", "{2+}\r\n\xc3\xa9", "a", "\"\\\"\\\\\"", "%%");
RULE(fields, "Subject", "\"X-A\"", "{2+}\r\nTo", "Content-Type", "From");
RULE(dates, "1-Jan-1996", "\"17-Jul-1996\"", "01-Feb-2030", "31-Feb-2000");
RULE(items, "FLAGS", "(FLAGS UID)", "ALL", "FULL", "FAST", "%j", "(UID %j %j)", "(%j %j %j)");
RULE(item, "BODY.PEEK[]", "ENVELOPE", "BODY", "BODYSTRUCTURE", "RFC822.SIZE", "BODY[]<%n.%n>",
     "BODY[HEADER]", "BODY[%n.%n.MIME]", "BODY[TEXT]", "BODY.PEEK[HEADER.FIELDS (%h %h)]",
     "BODY[1.HEADER.FIELDS.NOT (%h)]", "BINARY[%n]", "BINARY.PEEK[1]<%n.%n>", "BINARY.SIZE[%n]",
     "INTERNALDATE", "MODSEQ", "RFC822", "RFC822.TEXT", "RFC822.HEADER", "EMAILID", "THREADID",
     "SAVEDATE", "UID", "BODY[%n.TEXT]");
RULE(status, "MESSAGES", "UIDNEXT", "UNSEEN", "HIGHESTMODSEQ", "SIZE", "DELETED", "UIDVALIDITY",
     "RECENT", "APPENDLIMIT", "MAILBOXID");
RULE(list_options, "SUBSCRIBED", "CHILDREN", "RECURSIVEMATCH SUBSCRIBED", "SPECIAL-USE", "REMOTE",
     "");
RULE(pieces, "hello world\r\n", "\r\n", "Subject: hello\r\n", "From: A <a@b.example>\r\n",
     "To: (c) x@y, z@w;\r\n", "Content-Type: multipart/mixed; boundary=b\r\n", "--b\r\n",
     "--b--\r\n", "Content-Type: message/rfc822\r\n", "Content-Transfer-Encoding: base64\r\n",
     "aGVsbG8=\r\n", "Content-Transfer-Encoding: quoted-printable\r\n", "a=20b=\r\n=C3=A9\r\n",
     "Content-Type: text/plain; charset=utf-16\r\n", "Subject: =?utf-8?q?=C3=A9?=\r\n",
     "t1 OK x\r\n", ".\r\n", "X-A: 1\r\n folded\r\n", "Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n",
     "%z\r\n");

static const struct {
    char letter;
    const char *const *rule;
} rules[] = {{'m', mailboxes}, {'p', patterns},    {'s', sets},   {'n', numbers},
             {'f', flags},     {'a', store_items}, {'k', keys},   {'r', returns},
             {'c', charsets},  {'q', texts},       {'h', fields}, {'d', dates},
             {'i', items},     {'j', item},        {'x', status}, {'o', list_options}};

bool script_over(const struct script *script)
{
    return script->at >= script->size;
}

unsigned script_pick(struct script *script, unsigned count)
{
    return script_over(script) ? 0 : script->data[script->at++] % count;
}

static void raw(struct script *script, struct buf *out)
{
    for (unsigned left = script_pick(script, 8); left > 0 && !script_over(script); left--) {
        uint8_t byte = script->data[script->at++];
        /* Literals of IMAP are without NUL; a tag like those of the commands would mislead. */
        buf_u8(out, byte == 0 ? ' ' : byte == 't' ? 'T' : byte);
    }
}

static void literal(struct script *script, struct buf *out,
                    void (*content)(struct script *script, struct buf *out))
{
    struct buf bytes = {0};
    content(script, &bytes);
    buf_printf(out, "{%zu+}\r\n", bytes.size);
    buf_add_slice(out, buf_slice(&bytes));
    buf_finish(&bytes);
}

static void expand(struct script *script, struct buf *out, const char *const *rule, unsigned depth)
{
    unsigned count = 0;
    while (rule[count] != NULL)
        count++;
    const char *text = rule[depth == DEPTH_MAX ? 0 : script_pick(script, count)];
    for (; *text != '\0'; text++) {
        if (*text != '%') {
            buf_u8(out, (uint8_t)*text);
            continue;
        }
        char letter = *++text;
        if (letter == '%')
            buf_u8(out, '%');
        else if (letter == 'l')
            literal(script, out, raw);
        else if (letter == 't')
            literal(script, out, script_message);
        else if (letter == 'z')
            raw(script, out);
        else
            for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
                if (rules[i].letter == letter)
                    expand(script, out, rules[i].rule, depth + 1);
    }
}

void script_message(struct script *script, struct buf *out)
{
    for (unsigned left = 1 + script_pick(script, 12); left > 0; left--)
        expand(script, out, pieces, 0);
}

void script_imap(struct script *script, struct buf *out)
{
    expand(script, out, commands, 0);
    buf_add_str(out, "\r\n");
}

void script_imap_door(struct script *script, struct buf *out)
{
    expand(script, out, door_commands, 0);
    buf_add_str(out, "\r\n");
}

void script_pop3_door(struct script *script, struct buf *out)
{
    expand(script, out, pop3_door_commands, 0);
    buf_add_str(out, "\r\n");
}

void script_pop3(struct script *script, struct buf *out, bool *many)
{
    size_t start = out->size;
    expand(script, out, pop3_commands, 0);
    struct slice text = slice_sub(buf_slice(out), start, out->size);
    *many = slice_equal_str(text, "LIST") || slice_equal_str(text, "UIDL") ||
            slice_equal_str(text, "CAPA") ||
            slice_equal_nocase_str(slice_sub(text, 0, 4), "RETR") ||
            slice_starts(text, SLICE_LITERAL("TOP "));
    buf_add_str(out, "\r\n");
}

void script_damage(struct script *script, struct buf *bytes)
{
    for (unsigned left = 1 + script_pick(script, 2); left > 0 && bytes->size > 0; left--) {
        size_t at = script_pick(script, 256) * 7 % bytes->size;
        uint8_t byte = (uint8_t)script_pick(script, 256);
        bytes->data[at] = byte;
    }
}
