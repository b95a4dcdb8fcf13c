/*
 * LIST and LSUB (RFC 3501 6.3.8, 6.3.9), with the selections and returns of RFC 5258, STATUS of RFC
 * 5819, special use of RFC 6154. Answered from memory in one step.
 *
 * Special use and \HasChildren stand in every LIST: clients ask for them by looking.
 */
#include <stdlib.h>

#include "imap/cmd.h"
#include "imap/pattern.h"
#include "imap/status.h"

enum { PATTERNS_MAX = 20, PATTERN_BYTES_MAX = 1000 };

struct list {
    struct slice patterns[PATTERNS_MAX]; /* behind the reference, UTF-8 */
    size_t count;
    bool root;       /* LIST "" "": only the separator is wanted */
    bool subscribed; /* select */
    bool special;
    bool recursive; /* RECURSIVEMATCH */
    bool return_subscribed;
    uint32_t status; /* items; 0: none */
};

/* ---- arguments ----------------------------------------------------------------------------- */

static bool parse_selection(struct imap_parser *parser, struct list *list)
{
    if (!imap_parse_open(parser))
        return false;
    while (!imap_parse_sees(parser, ')')) {
        if (imap_parse_keyword(parser, "SUBSCRIBED"))
            list->subscribed = true;
        else if (imap_parse_keyword(parser, "RECURSIVEMATCH"))
            list->recursive = true;
        else if (imap_parse_keyword(parser, "SPECIAL-USE"))
            list->special = true;
        else if (!imap_parse_keyword(parser, "REMOTE"))
            return imap_parse_fail(parser, "There is no such selection of LIST.");
        if (!imap_parse_sees(parser, ')') && !imap_parse_space(parser))
            return false;
    }
    /* RFC 5258 3: it widens another selection and is none by itself. */
    if (list->recursive && !list->subscribed)
        return imap_parse_fail(parser, "RECURSIVEMATCH needs another selection.");
    return imap_parse_close(parser) && imap_parse_space(parser);
}

static bool parse_return(struct imap_parser *parser, struct list *list)
{
    if (!imap_parse_keyword(parser, "RETURN") || !imap_parse_space(parser))
        return imap_parse_fail(parser, "RETURN is missing.");
    if (!imap_parse_open(parser))
        return false;
    while (!imap_parse_sees(parser, ')')) {
        if (imap_parse_keyword(parser, "STATUS")) {
            if (!imap_parse_space(parser) || !imap_parse_status_items(parser, &list->status))
                return false;
        } else if (imap_parse_keyword(parser, "SUBSCRIBED")) {
            list->return_subscribed = true;
        } else if (!imap_parse_keyword(parser, "CHILDREN") &&
                   !imap_parse_keyword(parser, "SPECIAL-USE")) {
            return imap_parse_fail(parser, "LIST cannot return that.");
        }
        if (!imap_parse_sees(parser, ')') && !imap_parse_space(parser))
            return false;
    }
    return imap_parse_close(parser);
}

static bool parse_pattern(struct imap_parser *parser, struct slice reference, struct list *list)
{
    struct slice wire, pattern;
    if (!imap_parse_pattern(parser, &wire) || !imap_decode_mailbox(parser, wire, &pattern))
        return false;
    if (list->count == PATTERNS_MAX || pattern.size + reference.size > PATTERN_BYTES_MAX)
        return imap_parse_fail(parser, "The patterns are too long.");
    list->root = list->root || pattern.size == 0;
    uint8_t *whole = arena_alloc(parser->arena, reference.size + pattern.size + 1);
    memcpy(whole, reference.data, reference.size);
    if (pattern.size > 0)
        memcpy(whole + reference.size, pattern.data, pattern.size);
    list->patterns[list->count] = slice_make(whole, reference.size + pattern.size);
    pattern_inbox(list->patterns[list->count++], whole);
    return true;
}

static bool parse_list(struct imap_parser *parser, struct list *list, bool extended)
{
    struct slice reference;
    if (!imap_parse_space(parser))
        return false;
    if (extended && imap_parse_sees(parser, '(') && !parse_selection(parser, list))
        return false;
    if (!imap_parse_mailbox(parser, &reference) || !imap_parse_space(parser))
        return false;
    if (!extended || !imap_parse_sees(parser, '('))
        return parse_pattern(parser, reference, list);
    if (!imap_parse_open(parser))
        return false;
    do {
        if (!parse_pattern(parser, reference, list))
            return false;
    } while (imap_parse_optional(parser, ' '));
    list->root = false;
    return imap_parse_close(parser);
}

static bool list_check(struct imap_parser *parser, bool uid, void *own)
{
    struct list *list = own;
    return parse_list(parser, list, true) &&
           (!imap_parse_optional(parser, ' ') || parse_return(parser, list));
}

static bool lsub_check(struct imap_parser *parser, bool uid, void *own)
{
    return parse_list(parser, own, false);
}

/* ---- answers ------------------------------------------------------------------------------- */

struct listing {
    struct imap_session *session;
    const struct list *list;
    struct slice *subscriptions; /* sorted; in the command's arena */
    size_t count, room;
};

static bool matches(const struct list *list, struct slice name)
{
    for (size_t i = 0; i < list->count; i++)
        if (pattern_match(list->patterns[i], name))
            return true;
    return false;
}

static void collect(void *arg, struct slice name)
{
    struct listing *listing = arg;
    struct arena *arena = &listing->session->arena;
    if (listing->count == listing->room) {
        size_t room = listing->room == 0 ? 64 : listing->room * 2;
        struct slice *larger = arena_array(arena, room, sizeof(*larger));
        if (listing->count > 0)
            memcpy(larger, listing->subscriptions, listing->count * sizeof(*larger));
        listing->subscriptions = larger;
        listing->room = room;
    }
    listing->subscriptions[listing->count++] = arena_copy(arena, name);
}

static int by_name(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static void collect_subscriptions(struct listing *listing)
{
    mailbox_list_subscriptions(listing->session->account, collect, listing);
    if (listing->count > 1)
        qsort(listing->subscriptions, listing->count, sizeof(struct slice), by_name);
}

/* A subscribed mailbox below this one. */
static bool subscribed_below(const struct listing *listing, struct slice name)
{
    struct slice prefix = slice_str(
        arena_printf(&listing->session->arena, "%.*s%c", SLICE_PRINT(name), MAILBOX_SEPARATOR));
    size_t low = 0, high = listing->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(listing->subscriptions[middle], prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < listing->count && slice_starts(listing->subscriptions[low], prefix);
}

static void put_line(struct imap_session *session, const char *answer, const char *attributes,
                     struct slice name, bool child_info)
{
    imap_printf(session, "* %s (%s) \"%c\" ", answer, attributes + (*attributes == ' '),
                MAILBOX_SEPARATOR);
    imap_put_mailbox(session, name);
    imap_printf(session, child_info ? " (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n" : "\r\n");
}

static const char *attributes_of(const struct listing *listing, const struct mailbox_info *info)
{
    static const char *const uses[] = {" \\Drafts",  " \\Sent",    " \\Trash", " \\Junk",
                                       " \\Archive", " \\Flagged", " \\All"};
    const struct list *list = listing->list;
    struct buf text = {0};
    if (!info->selectable)
        buf_add_str(&text, " \\Noselect");
    buf_add_str(&text, info->children ? " \\HasChildren" : " \\HasNoChildren");
    if (info->subscribed && (list->subscribed || list->return_subscribed))
        buf_add_str(&text, " \\Subscribed");
    for (uint32_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
        if ((info->special & 1u << i) != 0)
            buf_add_str(&text, uses[i]);
    const char *attributes = arena_strdup(&listing->session->arena, buf_slice(&text));
    buf_finish(&text);
    return attributes;
}

void imap_put_list(struct imap_session *session, const struct mailbox_info *info,
                   struct slice given)
{
    struct list list = {.return_subscribed = true};
    struct listing listing = {.session = session, .list = &list};
    imap_printf(session, "* LIST (%s) \"%c\" ", attributes_of(&listing, info) + 1,
                MAILBOX_SEPARATOR);
    imap_put_mailbox(session, info->name);
    if (!slice_equal(info->name, given)) {
        imap_printf(session, " (\"OLDNAME\" (");
        imap_put_mailbox(session, given);
        imap_printf(session, "))");
    }
    imap_printf(session, "\r\n");
}

static void list_one(void *arg, const struct mailbox_info *info)
{
    struct listing *listing = arg;
    const struct list *list = listing->list;
    if (!matches(list, info->name) || (list->special && info->special == 0))
        return;
    bool child_info = list->recursive && subscribed_below(listing, info->name);
    if (list->subscribed && !info->subscribed && !child_info)
        return;
    put_line(listing->session, "LIST", attributes_of(listing, info), info->name, child_info);
    bool matched = !list->subscribed || info->subscribed; /* not for its children only */
    if (list->status != 0 && info->selectable && matched)
        imap_put_status(listing->session, info, list->status);
}

/* Names above a subscription that match, and are told for its sake. LSUB (RFC 3501 6.3.9): those
 * not subscribed. LIST with RECURSIVEMATCH (RFC 5258 4): of these, those that do not exist. */
static void put_parents(const struct listing *listing, size_t place, bool lsub)
{
    struct slice name = listing->subscriptions[place];
    struct slice before = place == 0 ? SLICE_NONE : listing->subscriptions[place - 1];
    struct mailbox_info info;
    for (size_t i = 1; i < name.size; i++) {
        struct slice parent = slice_sub(name, 0, i);
        bool told = slice_starts(before, slice_sub(name, 0, i + 1)) || slice_equal(before, parent);
        if (name.data[i] != MAILBOX_SEPARATOR || told || !matches(listing->list, parent) ||
            bsearch(&parent, listing->subscriptions, listing->count, sizeof(parent), by_name))
            continue;
        if (lsub)
            put_line(listing->session, "LSUB", "\\Noselect", parent, false);
        else if (!mailbox_find(listing->session->account, parent, &info))
            put_line(listing->session, "LIST", "\\NonExistent", parent, true);
    }
}

static enum imap_step list_proceed(struct imap_session *session, void *own)
{
    const struct list *list = own;
    struct listing listing = {.session = session, .list = list};
    if (list->root) {
        put_line(session, "LIST", "\\Noselect", SLICE_LITERAL(""), false);
        return IMAP_DONE;
    }
    if (list->subscribed)
        collect_subscriptions(&listing);
    mailbox_list(session->account, list_one, &listing);
    for (size_t i = 0; i < listing.count && !list->special; i++) {
        struct mailbox_info info;
        struct slice name = listing.subscriptions[i];
        if (list->recursive)
            put_parents(&listing, i, false);
        if (matches(list, name) && !mailbox_find(session->account, name, &info))
            put_line(session, "LIST", "\\NonExistent \\Subscribed", name,
                     list->recursive && subscribed_below(&listing, name));
    }
    return IMAP_DONE;
}

static enum imap_step lsub_proceed(struct imap_session *session, void *own)
{
    const struct list *list = own;
    struct listing listing = {.session = session, .list = list};
    struct slice pattern = list->patterns[0];
    bool parents = pattern.size > 0 && pattern.data[pattern.size - 1] == '%';
    collect_subscriptions(&listing);
    for (size_t i = 0; i < listing.count; i++) {
        if (parents)
            put_parents(&listing, i, true);
        if (matches(list, listing.subscriptions[i]))
            put_line(session, "LSUB", "", listing.subscriptions[i], false);
    }
    return IMAP_DONE;
}

const struct imap_command imap_cmd_list = {.name = "LIST",
                                           .states = IMAP_AUTHENTICATED,
                                           .size = sizeof(struct list),
                                           .check = list_check,
                                           .proceed = list_proceed};
const struct imap_command imap_cmd_lsub = {.name = "LSUB",
                                           .states = IMAP_AUTHENTICATED,
                                           .size = sizeof(struct list),
                                           .check = lsub_check,
                                           .proceed = lsub_proceed};
