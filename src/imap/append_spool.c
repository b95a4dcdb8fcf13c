/*
 * The messages of an APPEND on their way in: each literal goes into a buffer, and when it is not a
 * short one into a memfd that is sealed when it is whole, line ends made CRLF (the stored form is
 * the wire form). All messages of one APPEND together
 * may be as large as one message may be, so a session cannot hold more memory than that; all
 * sessions of the process together may hold SPOOLED_MESSAGES of that size, what is beyond fails.
 *
 * What can be refused is refused before the client sends it (RFC 3501 6.3.11, 7.5): no such
 * mailbox, too large, no room.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"
#include "imap/append.h"
#include "io/fd.h"

enum { PIECE = IPC_SHORT, SPOOLED_MESSAGES = 16 };

static uint64_t spooled; /* bytes in memory, of all sessions */

struct message {
    int fd;        /* -1: all of it is in data */
    uint8_t *data; /* of a short one, when it is whole */
    uint64_t size;
    bool failed;
};

struct imap_spool {
    struct message messages[IMAP_SPOOLED_MAX];
    size_t count;
    uint64_t announced; /* bytes of all literals */
    uint64_t most;      /* of `spooled` */
    uint8_t *piece;     /* of the message being read; not yet written */
    size_t piece_size;
    bool after_cr;
};

/* Gives back what is in memory of one that will not be kept. */
static void fail(struct message *message)
{
    message->failed = true;
    if (message->fd >= 0 && message->size > 0 && ftruncate(message->fd, 0) == 0) {
        spooled -= message->size;
        message->size = 0;
    }
}

static bool has_room(const struct imap_spool *spool)
{
    return spooled + spool->piece_size <= spool->most;
}

static void write_piece(struct imap_spool *spool)
{
    struct message *message = &spool->messages[spool->count - 1];
    size_t written = 0;
    if (message->fd < 0 && !message->failed)
        message->fd = fd_memory_create("append");
    if (message->fd < 0 || (!message->failed && !has_room(spool)))
        fail(message);
    while (!message->failed && written < spool->piece_size) {
        int fault = fault_hit("imap.spool");
        ssize_t size =
            fault != 0 ? -1
                       : write(message->fd, spool->piece + written, spool->piece_size - written);
        if (size < 0 && fault == 0 && errno == EINTR)
            continue;
        message->failed = size < 0;
        written += size < 0 ? 0 : (size_t)size;
    }
    message->size += written;
    spooled += written;
    spool->piece_size = 0;
}

static void add(struct imap_spool *spool, struct slice bytes)
{
    while (bytes.size > 0) {
        struct slice part = slice_sub(bytes, 0, PIECE - spool->piece_size);
        memcpy(spool->piece + spool->piece_size, part.data, part.size);
        spool->piece_size += part.size;
        bytes = slice_sub(bytes, part.size, bytes.size);
        if (spool->piece_size == PIECE)
            write_piece(spool);
    }
}

static bool take(void *arg, struct slice bytes)
{
    struct imap_spool *spool = arg;
    while (bytes.size > 0) {
        size_t end = slice_find(bytes, '\n');
        struct slice line = slice_sub(bytes, 0, end);
        add(spool, line);
        if (line.size > 0)
            spool->after_cr = line.data[line.size - 1] == '\r';
        if (end < bytes.size) {
            add(spool, spool->after_cr ? SLICE_LITERAL("\n") : SLICE_LITERAL("\r\n"));
            spool->after_cr = false;
            end++;
        }
        bytes = slice_sub(bytes, end, bytes.size);
    }
    return !spool->messages[spool->count - 1].failed;
}

static void seal(struct message *message)
{
    if (!message->failed && fcntl(message->fd, F_ADD_SEALS,
                                  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        message->failed = true;
}

/* A short one stays where it is. */
static void keep(struct imap_spool *spool, struct message *message)
{
    if (!has_room(spool) || fault_hit("imap.spool") != 0) {
        message->failed = true;
        return;
    }
    message->data = mem_realloc(spool->piece, spool->piece_size + 1);
    message->size = spool->piece_size;
    spooled += message->size;
    spool->piece = NULL;
}

void imap_spool_seal(struct imap_spool *spool)
{
    if (spool == NULL || spool->piece == NULL)
        return;
    struct message *message = &spool->messages[spool->count - 1];
    if (message->fd < 0 && !message->failed) {
        keep(spool, message);
    } else {
        write_piece(spool);
        seal(message);
    }
    free(spool->piece);
    spool->piece = NULL;
    if (message->failed)
        log_error("append_spool", "reason=%s", "memory");
}

static void begin(struct imap_session *session, uint64_t size)
{
    if (session->spool == NULL)
        session->spool = MEM_NEW(struct imap_spool);
    struct imap_spool *spool = session->spool;
    imap_spool_seal(spool);
    struct message *message = &spool->messages[spool->count++];
    message->fd = -1;
    spool->announced += size;
    spool->most = session->host->settings->message_size * SPOOLED_MESSAGES;
    spool->piece = mem_alloc(PIECE);
    spool->piece_size = 0;
    spool->after_cr = false;
    imap_reader_spool(&session->reader, take, spool);
}

static const char *why_not(struct imap_session *session, const struct imap_append *append)
{
    const struct imap_reader *reader = &session->reader;
    uint64_t size = reader->literal_size;
    uint64_t before = session->spool == NULL ? 0 : session->spool->announced;
    uint64_t most = session->host->settings->message_size;
    struct mailbox_info info;
    struct mailbox_usage usage;
    if (size > most || before + size > most)
        return "NO [TOOBIG] The message is too large.";
    if (!reader->literal_sync)
        return NULL; /* its bytes come anyway; the mailbox answers */
    if (!mailbox_find(session->account, append->name, &info))
        return "NO [TRYCREATE] There is no such mailbox.";
    mailbox_account_usage(session->account, &usage);
    if (usage.quota != 0 && usage.bytes + before + size > usage.quota)
        return "NO [OVERQUOTA] The account has no room left.";
    return NULL;
}

bool imap_spool_announced(struct imap_session *session, struct imap_parser *parser,
                          const char **refusal)
{
    struct imap_append append = {0};
    parser->spooled = session->reader.spooled;
    parser->spooled_count = session->reader.spooled_count;
    if (!imap_append_check(parser, false, &append) ||
        append.messages[append.count - 1].place != session->reader.spooled_count)
        return false;
    *refusal = why_not(session, &append);
    if (*refusal == NULL)
        begin(session, session->reader.literal_size);
    return true;
}

bool imap_spool_message(const struct imap_spool *spool, size_t i, struct mailbox_bytes *bytes)
{
    const struct message *message = &spool->messages[i];
    *bytes = (struct mailbox_bytes){message->fd, message->data, message->size};
    return !message->failed;
}

void imap_spool_destroy(struct imap_spool **spool)
{
    if (*spool == NULL)
        return;
    for (size_t i = 0; i < (*spool)->count; i++) {
        spooled -= (*spool)->messages[i].size;
        if ((*spool)->messages[i].fd >= 0)
            close((*spool)->messages[i].fd);
        free((*spool)->messages[i].data);
    }
    free((*spool)->piece);
    free(*spool);
    *spool = NULL;
}
