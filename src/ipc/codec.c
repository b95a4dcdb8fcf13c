/*
 * From the table in messages.h to bytes and back. A message is the type as u32, then the fields in
 * the order of the row: integers little-endian, ids as they are, bytes and text with a u32 length;
 * descriptors travel beside it in the same order. One small function for each message and
 * direction is made from the row, so that the compiler checks the types.
 *
 * Decoding believes nothing: every length is checked against what is there and against the row's
 * limit, nothing may be left over, and the number of descriptors must be the row's. Slices point
 * into the packet.
 */
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "io/fd.h"
#include "ipc/ipc_priv.h"

/* ---- encoding ------------------------------------------------------------------------------ */

struct writer {
    struct buf *packet;
    int *fds;
    int fd_count;
};

static inline void put_u32(struct writer *w, uint32_t value, size_t limit)
{
    buf_u32(w->packet, value);
}

static inline void put_u64(struct writer *w, uint64_t value, size_t limit)
{
    buf_u64(w->packet, value);
}

static inline void put_id(struct writer *w, struct id value, size_t limit)
{
    buf_add(w->packet, value.bytes, sizeof(value.bytes));
}

static void put_bytes(struct writer *w, struct slice value, size_t limit)
{
    ASSERT(value.size <= limit);
    buf_packed(w->packet, value);
}

static void put_text(struct writer *w, struct slice value, size_t limit)
{
    ASSERT(slice_find(value, '\0') == value.size);
    put_bytes(w, value, limit);
}

static void put_fd(struct writer *w, int value, size_t limit)
{
    ASSERT(value >= 0 && w->fd_count < FD_PASS_MAX);
    w->fds[w->fd_count++] = value;
}

#define F(kind, name, limit) put_##kind(w, m->name, limit);
#define M(name, from, to, often, fields)                                                           \
    static void encode_##name(struct writer *w, const struct ipc_##name *m)                        \
    {                                                                                              \
        fields                                                                                     \
    }
IPC_MESSAGES(M)
#undef M
#undef F

void ipc_encode(enum ipc_type type, const union ipc_message *message, struct buf *packet, int *fds,
                int *fd_count)
{
    struct writer w = {.packet = packet, .fds = fds};
    buf_u32(packet, (uint32_t)type);
    switch (type) {
#define F(kind, name, limit)
#define M(name, from, to, often, fields)                                                           \
    case IPC_TYPE_##name:                                                                          \
        encode_##name(&w, &message->name);                                                         \
        break;
        IPC_MESSAGES(M)
#undef M
#undef F
    case IPC_TYPE_NONE:
    case IPC_TYPE_COUNT:
        ASSERT(type != IPC_TYPE_NONE && type != IPC_TYPE_COUNT);
    }
    *fd_count = w.fd_count;
}

/* ---- decoding ------------------------------------------------------------------------------ */

struct reader {
    struct cursor cursor;
    const int *fds;
    int fd_count, fd_used;
};

static inline void get_u32(struct reader *r, uint32_t *value, size_t limit)
{
    *value = cursor_u32(&r->cursor);
}

static inline void get_u64(struct reader *r, uint64_t *value, size_t limit)
{
    *value = cursor_u64(&r->cursor);
}

static void get_id(struct reader *r, struct id *value, size_t limit)
{
    struct slice bytes = cursor_bytes(&r->cursor, sizeof(value->bytes));
    memset(value, 0, sizeof(*value));
    if (bytes.size == sizeof(value->bytes))
        memcpy(value->bytes, bytes.data, bytes.size);
}

static void get_bytes(struct reader *r, struct slice *value, size_t limit)
{
    *value = cursor_packed(&r->cursor);
    if (value->size > limit)
        r->cursor.failed = true;
}

static void get_text(struct reader *r, struct slice *value, size_t limit)
{
    get_bytes(r, value, limit);
    if (slice_find(*value, '\0') < value->size)
        r->cursor.failed = true;
}

static void get_fd(struct reader *r, int *value, size_t limit)
{
    *value = r->fd_used < r->fd_count ? r->fds[r->fd_used] : -1;
    r->fd_used++;
}

#define F(kind, name, limit) get_##kind(r, &m->name, limit);
#define M(name, from, to, often, fields)                                                           \
    static void decode_##name(struct reader *r, struct ipc_##name *m)                              \
    {                                                                                              \
        m->ipc_end_ = 0;                                                                           \
        fields                                                                                     \
    }
IPC_MESSAGES(M)
#undef M
#undef F

bool ipc_decode(struct slice packet, const int *fds, int fd_count, enum ipc_type *type,
                union ipc_message *message)
{
    struct reader r = {.cursor = cursor_make(packet), .fds = fds, .fd_count = fd_count};
    uint32_t number = cursor_u32(&r.cursor);
    if (r.cursor.failed || number == IPC_TYPE_NONE || number >= IPC_TYPE_COUNT)
        return false;
    *type = (enum ipc_type)number;
    switch (*type) {
#define F(kind, name, limit)
#define M(name, from, to, often, fields)                                                           \
    case IPC_TYPE_##name:                                                                          \
        decode_##name(&r, &message->name);                                                         \
        break;
        IPC_MESSAGES(M)
#undef M
#undef F
    case IPC_TYPE_NONE:
    case IPC_TYPE_COUNT:
        return false;
    }
    return cursor_done(&r.cursor) && r.fd_used == fd_count;
}

/* ---- the rows ------------------------------------------------------------------------------ */

enum { ANY = false, ONCE = true };

#define FDS_u32
#define FDS_u64
#define FDS_id
#define FDS_bytes
#define FDS_text
#define FDS_fd +1
#define F(kind, name, limit) FDS_##kind
#define M(name_, from_, to_, often, fields)                                                        \
    {.name = #name_, .from = IPC_##from_, .to = IPC_##to_, .once = often, .descriptors = 0 fields},
static const struct ipc_row rows[] = {{.name = "none"}, IPC_MESSAGES(M)};
#undef M
#undef F

const struct ipc_row *ipc_row(enum ipc_type type)
{
    return &rows[(unsigned)type < IPC_TYPE_COUNT ? type : IPC_TYPE_NONE];
}

int ipc_descriptors(struct slice message)
{
    struct cursor cursor = cursor_make(message);
    uint32_t number = cursor_u32(&cursor);
    return ipc_row(number < IPC_TYPE_COUNT ? (enum ipc_type)number : IPC_TYPE_NONE)->descriptors;
}

const char *ipc_type_name(enum ipc_type type)
{
    return ipc_row(type)->name;
}

const char *ipc_role_name(enum ipc_role role)
{
    switch (role) {
    case IPC_MASTER:
        return "master";
    case IPC_TLS:
        return "tls";
    case IPC_DOOR:
        return "door";
    case IPC_AUTH:
        return "auth";
    case IPC_WORKER:
        return "worker";
    case IPC_READER:
        return "reader";
    case IPC_CONTROL:
        return "control";
    case IPC_ANY_ROLE:
        break;
    }
    return "nobody";
}
