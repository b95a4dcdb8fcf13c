/*
 * Reads the pages of a mailbox into memory. Batches go on meanwhile: what becomes durable while
 * pages are read is kept aside (contents->late) and applied at the end; both ways may show the same
 * change, so applying is idempotent. An entry counts only below UIDNEXT as of the end.
 */
#include <stdlib.h>

#include "mailbox/mailbox_priv.h"

struct load {
    struct contents *contents;
    struct account *account;
    uint32_t box;
    bool corrupt;
};

static void load_scanned(void *arg, enum store_result result, const struct store_item *items,
                         size_t count, bool more);

static void load_scan(struct load *load, struct slice from)
{
    struct codec_key to = codec_key_number(KEY_PAGE, load->box + 1);
    store_scan(load->account->store, load->account->id, from, codec_key_slice(&to), 10000,
               load_scanned, load);
}

static void load_page(struct contents *contents, uint32_t page, struct slice value,
                      uint32_t dead_below)
{
    for (uint32_t slot = 0; slot < PAGE_ENTRIES; slot++) {
        struct mailbox_entry entry;
        uint32_t expunged;
        if (codec_entry_get(value.data + codec_entry_offset(slot), &entry, &expunged) &&
            expunged == 0 && entry.uid >= dead_below)
            contents_insert(contents, &entry, page, slot);
    }
}

static void load_end(struct load *load, enum mailbox_result result)
{
    struct contents *contents = load->contents;
    struct mailbox_entry *entry;

    if (contents->state == CONTENTS_DELETED)
        result = MAILBOX_NO_SUCH;
    else if (contents->state == CONTENTS_BROKEN)
        result = MAILBOX_BROKEN;
    if (result == MAILBOX_OK) {
        while ((entry = contents_next(contents, contents->box->durable.uidnext)) != NULL)
            contents_remove(contents, entry->uid);
        contents_apply_late(contents);
        contents->state = CONTENTS_LOADED;
    } else if (contents->box != NULL) {
        contents_detach(contents, CONTENTS_BROKEN);
    }
    struct account *account = load->account;
    struct mailbox_env *env = account->env;
    views_loaded(contents, result);
    contents_unuse(contents);
    views_notify(env);
    account_drop(account);
    free(load);
}

static void load_scanned(void *arg, enum store_result result, const struct store_item *items,
                         size_t count, bool more)
{
    struct load *load = arg;
    struct contents *contents = load->contents;
    enum mailbox_result answer = read_result(result);
    uint32_t page;

    if (contents->state != CONTENTS_LOADING)
        more = false, count = 0;
    for (size_t i = 0; i < count && answer == MAILBOX_OK; i++) {
        if (!codec_key_get_number(items[i].key, 1, &page) || !codec_page_valid(items[i].value))
            answer = MAILBOX_CORRUPT;
        else
            load_page(contents, page, items[i].value, contents->box->durable.dead_below);
    }
    if (answer == MAILBOX_CORRUPT)
        log_error("mailbox_damaged", "account=%s mailbox=%u", id_text(load->account->id).text,
                  load->box);
    if (answer == MAILBOX_OK && more) {
        struct buf from = {0};
        buf_add_slice(&from, items[count - 1].key);
        buf_u8(&from, 0);
        load_scan(load, buf_slice(&from));
        buf_finish(&from);
        return;
    }
    load_end(load, answer);
}

void contents_load(struct contents *contents)
{
    struct load *load = MEM_NEW(struct load);
    struct codec_key from = codec_key_number(KEY_PAGE, contents->box->id);

    load->contents = contents;
    load->account = contents->account;
    load->box = contents->box->id;
    contents->users++;
    account_hold(load->account);
    load_scan(load, codec_key_slice(&from));
}
