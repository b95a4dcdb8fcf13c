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
    /* RFC 5258 3.1: it widens another selection and is none by itself. */
    if (list->recursive && !list->subscribed && !list->special)
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
    struct slice *selected; /* names of the selection, sorted; in the command's arena */
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
            memcpy(larger, listing->selected, listing->count * sizeof(*larger));
        listing->selected = larger;
        listing->room = room;
    }
    listing->selected[listing->count++] = arena_copy(arena, name);
}

/* By itself, not for what is below it. */
static bool is_selected(const struct list *list, const struct mailbox_info *info)
{
    return (!list->subscribed || info->subscribed) && (!list->special || info->special != 0);
}

static void collect_one(void *arg, const struct mailbox_info *info)
{
    struct listing *listing = arg;
    if (is_selected(listing->list, info))
        collect(listing, info->name);
}

static int by_name(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* Names that are subscribed, of mailboxes that exist or not; only those with a special use exist.
 */
static void collect_selected(struct listing *listing)
{
    if (listing->list->special)
        mailbox_list(listing->session->account, collect_one, listing);
    else
        mailbox_list_subscriptions(listing->session->account, collect, listing);
    if (listing->count > 1)
        qsort(listing->selected, listing->count, sizeof(struct slice), by_name);
}

/* A mailbox of the selection below this one. */
static bool selected_below(const struct listing *listing, struct slice name)
{
    struct slice prefix = slice_str(
        arena_printf(&listing->session->arena, "%.*s%c", SLICE_PRINT(name), MAILBOX_SEPARATOR));
    size_t low = 0, high = listing->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(listing->selected[middle], prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < listing->count && slice_starts(listing->selected[low], prefix);
}

/* child_info: NULL, or the selection that what is below it meets (RFC 5258 3.5). */
static void put_line(struct imap_session *session, const char *answer, const char *attributes,
                     struct slice name, const char *child_info)
{
    imap_printf(session, "* %s (%s) \"%c\" ", answer, attributes + (*attributes == ' '),
                MAILBOX_SEPARATOR);
    imap_put_mailbox(session, name);
    if (child_info != NULL)
        imap_printf(session, " (\"CHILDINFO\" (%s))", child_info);
    imap_printf(session, "\r\n");
}

static const char *child_info(const struct listing *listing, struct slice name)
{
    const struct list *list = listing->list;
    if (!list->recursive || !selected_below(listing, name))
        return NULL;
    return !list->special     ? "\"SUBSCRIBED\""
           : list->subscribed ? "\"SUBSCRIBED\" \"SPECIAL-USE\""
                              : "\"SPECIAL-USE\"";
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
    if (!matches(list, info->name))
        return;
    const char *below = child_info(listing, info->name);
    if (!is_selected(list, info) && below == NULL)
        return;
    put_line(listing->session, "LIST", attributes_of(listing, info), info->name, below);
    if (list->status != 0 && info->selectable && is_selected(list, info))
        imap_put_status(listing->session, info, list->status);
}

/* Names above one of the selection that match, and are told for its sake. LSUB (RFC 3501 6.3.9):
 * those not subscribed. LIST with RECURSIVEMATCH (RFC 5258 4): of these, those that do not exist.
 */
static void put_parents(const struct listing *listing, size_t place, bool lsub)
{
    struct slice name = listing->selected[place];
    struct slice before = place == 0 ? SLICE_NONE : listing->selected[place - 1];
    struct mailbox_info info;
    for (size_t i = 1; i < name.size; i++) {
        struct slice parent = slice_sub(name, 0, i);
        bool told = slice_starts(before, slice_sub(name, 0, i + 1)) || slice_equal(before, parent);
        if (name.data[i] != MAILBOX_SEPARATOR || told || !matches(listing->list, parent) ||
            bsearch(&parent, listing->selected, listing->count, sizeof(parent), by_name))
            continue;
        if (lsub)
            put_line(listing->session, "LSUB", "\\Noselect", parent, NULL);
        else if (!mailbox_find(listing->session->account, parent, &info))
            put_line(listing->session, "LIST", "\\NonExistent", parent,
                     child_info(listing, parent));
    }
}

static enum imap_step list_proceed(struct imap_session *session, void *own)
{
    const struct list *list = own;
    struct listing listing = {.session = session, .list = list};
    if (list->root) {
        put_line(session, "LIST", "\\Noselect", SLICE_LITERAL(""), NULL);
        return IMAP_DONE;
    }
    if (list->subscribed || list->recursive)
        collect_selected(&listing);
    mailbox_list(session->account, list_one, &listing);
    for (size_t i = 0; i < listing.count; i++) {
        struct mailbox_info info;
        struct slice name = listing.selected[i];
        if (list->recursive)
            put_parents(&listing, i, false);
        if (matches(list, name) && !mailbox_find(session->account, name, &info))
            put_line(session, "LIST", "\\NonExistent \\Subscribed", name,
                     child_info(&listing, name));
    }
    return IMAP_DONE;
}

static enum imap_step lsub_proceed(struct imap_session *session, void *own)
{
    const struct list *list = own;
    struct listing listing = {.session = session, .list = list};
    struct slice pattern = list->patterns[0];
    bool parents = pattern.size > 0 && pattern.data[pattern.size - 1] == '%';
    collect_selected(&listing);
    for (size_t i = 0; i < listing.count; i++) {
        if (parents)
            put_parents(&listing, i, true);
        if (matches(list, listing.selected[i]))
            put_line(session, "LSUB", "", listing.selected[i], NULL);
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
