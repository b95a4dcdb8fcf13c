/*
 * See fold.h. ICU is asked once for a character; what it said is kept in a table that forgets: mail
 * in one language has few characters.
 */
#include "message/fold.h"

#include <stdlib.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>
#include <unicode/utf16.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "base/utf8.h"

enum {
    SLOTS = 4096,
    ENTRY_MAX = 75, /* U+FDFA is 18 characters; every other one is shorter */
    UNITS_MAX = 64,
};

struct entry {
    uint32_t character; /* 0: none yet */
    uint8_t size;
    uint8_t bytes[ENTRY_MAX];
};

struct fold {
    const UNormalizer2 *nfkd;
    struct entry entries[SLOTS];
};

struct fold *fold_create(void)
{
    UErrorCode status = U_ZERO_ERROR;
    struct fold *fold = MEM_NEW(struct fold);
    struct fold_state state = {0};
    struct buf out = {0};
    fold->nfkd = unorm2_getNFKDInstance(&status);
    if (U_FAILURE(status)) {
        fold_destroy(&fold);
        return NULL;
    }
    fold_text(fold, &state, SLICE_LITERAL("\xc3\x84"), &out);
    buf_finish(&out);
    return fold;
}

void fold_destroy(struct fold **fold)
{
    free(*fold);
    *fold = NULL;
}

static bool is_unseen(UChar32 c)
{
    return u_hasBinaryProperty(c, UCHAR_DEFAULT_IGNORABLE_CODE_POINT);
}

static void keep(struct entry *entry, struct slice utf8)
{
    uint32_t c;
    size_t length;
    for (; (length = utf8_decode(utf8, &c)) > 0; utf8 = slice_sub(utf8, length, utf8.size)) {
        if (is_unseen((UChar32)c) || entry->size + 4 > ENTRY_MAX)
            continue;
        bool blank = c <= ' ' || u_isUWhiteSpace((UChar32)c);
        entry->size += (uint8_t)utf8_encode(blank ? ' ' : c, entry->bytes + entry->size);
    }
}

/* Folded before it is decomposed and after: what a decomposition yields may have case (U+210C). */
static void ask(const struct fold *fold, uint32_t c, struct entry *entry)
{
    UErrorCode status = U_ZERO_ERROR;
    UChar title[2], folded[UNITS_MAX], parts[UNITS_MAX];
    char utf8[UNITS_MAX * 3 + 1];
    int32_t size = 0;
    entry->character = c;
    entry->size = 0;
    U16_APPEND_UNSAFE(title, size, u_totitle((UChar32)c));
    size = u_strFoldCase(folded, UNITS_MAX, title, size, U_FOLD_CASE_DEFAULT, &status);
    size = unorm2_normalize(fold->nfkd, folded, size, parts, UNITS_MAX, &status);
    size = u_strFoldCase(folded, UNITS_MAX, parts, size, U_FOLD_CASE_DEFAULT, &status);
    u_strToUTF8(utf8, sizeof(utf8), &size, folded, size, &status);
    if (U_FAILURE(status))
        entry->size = (uint8_t)utf8_encode(c, entry->bytes);
    else
        keep(entry, slice_make(utf8, (size_t)size));
}

static inline void put_space(struct fold_state *state, struct buf *out)
{
    if (!state->space)
        buf_u8(out, ' ');
    state->space = true;
}

static void put_other(struct fold *fold, struct fold_state *state, uint32_t c, struct buf *out)
{
    struct entry *entry = &fold->entries[c % SLOTS];
    if (entry->character != c)
        ask(fold, c, entry);
    for (size_t i = 0; i < entry->size; i++) {
        if (entry->bytes[i] == ' ') {
            put_space(state, out);
        } else {
            buf_u8(out, entry->bytes[i]);
            state->space = false;
        }
    }
}

void fold_character(struct fold *fold, struct fold_state *state, uint32_t c, struct buf *out)
{
    if (c <= ' ' || c == 0x7f) {
        put_space(state, out);
    } else if (c < 0x80) {
        buf_u8(out, ascii_lower((uint8_t)c));
        state->space = false;
    } else {
        put_other(fold, state, c, out);
    }
}

/* Printable ASCII where no two blanks meet, which is most of all text, can be taken as it is. */
static bool is_plain(const struct fold_state *state, uint64_t eight)
{
    uint64_t blanks = bytes_mark(eight, ' ');
    return (eight & BYTES_MARK) == 0 && bytes_any_below(eight, ' ') == 0 &&
           bytes_mark(eight, 0x7f) == 0 && (blanks & blanks << 8) == 0 &&
           !(state->space && (blanks & 0x80) != 0);
}

/* As much of it as s begins with. */
static size_t put_plain(struct fold_state *state, struct slice s, struct buf *out)
{
    uint8_t *to = buf_extend(out, s.size);
    size_t size = 0;
    for (; s.size - size >= 8; size += 8) {
        uint64_t eight = bytes_get_le64(s.data + size);
        if (!is_plain(state, eight))
            break;
        bytes_put_le64(to + size, bytes_lower(eight));
        state->space = s.data[size + 7] == ' ';
    }
    for (; size < s.size; size++) {
        uint8_t c = s.data[size];
        if (c < ' ' || c >= 0x7f || (c == ' ' && state->space))
            break;
        to[size] = ascii_lower(c);
        state->space = c == ' ';
    }
    out->size -= s.size - size;
    return size;
}

void fold_text(struct fold *fold, struct fold_state *state, struct slice utf8, struct buf *out)
{
    for (size_t i = 0; i < utf8.size;) {
        struct slice rest = slice_sub(utf8, i, utf8.size);
        size_t size = put_plain(state, rest, out);
        if (size == 0) {
            uint32_t c = rest.data[0];
            size = c < 0x80 ? 1 : utf8_decode(slice_sub(rest, 0, 4), &c);
            fold_character(fold, state, size == 0 ? 0xfffd : c, out);
            size += size == 0;
        }
        i += size;
    }
}
