/*
 * Every message of the table: round trip with random and with the largest fields, every truncation,
 * one byte too many, missing and surplus descriptors, fields over their limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "io/fd.h"
#include "ipc/ipc_priv.h"

static uint8_t stuff[IPC_CHUNK];
static bool largest; /* how fill_* makes fields */

static void fill_u32(uint32_t *value, size_t limit)
{
    *value = (uint32_t)rand();
}

static void fill_u64(uint64_t *value, size_t limit)
{
    *value = (uint64_t)rand() << 33 | (uint64_t)rand();
}

static void fill_id(struct id *value, size_t limit)
{
    *value = id_random();
}

static void fill_bytes(struct slice *value, size_t limit)
{
    *value = slice_make(stuff, largest ? limit : (size_t)rand() % (limit < 30 ? limit + 1 : 30));
}

static void fill_text(struct slice *value, size_t limit)
{
    fill_bytes(value, limit);
}

static void fill_fd(int *value, size_t limit)
{
    *value = rand() % 1000;
}

static void same_u32(uint32_t a, uint32_t b)
{
    assert_int_equal(a, b);
}

static void same_u64(uint64_t a, uint64_t b)
{
    assert_true(a == b);
}

static void same_id(struct id a, struct id b)
{
    assert_true(id_equal(a, b));
}

static void same_bytes(struct slice a, struct slice b)
{
    assert_true(slice_equal(a, b));
}

static void same_text(struct slice a, struct slice b)
{
    assert_true(slice_equal(a, b));
}

static void same_fd(int a, int b)
{
    assert_int_equal(a, b);
}

static void fill(enum ipc_type type, union ipc_message *any)
{
    switch (type) {
#define F(kind, name, limit) fill_##kind(&m->name, limit);
#define M(name_, from, to, often, fields)                                                          \
    case IPC_TYPE_##name_: {                                                                       \
        struct ipc_##name_ *m = &any->name_;                                                       \
        m->ipc_end_ = 0;                                                                           \
        fields break;                                                                              \
    }
        IPC_MESSAGES(M)
#undef M
#undef F
    case IPC_TYPE_NONE:
    case IPC_TYPE_COUNT:
        fail();
    }
}

static void compare(enum ipc_type type, const union ipc_message *x, const union ipc_message *y)
{
    switch (type) {
#define F(kind, name, limit) same_##kind(a->name, b->name);
#define M(name_, from, to, often, fields)                                                          \
    case IPC_TYPE_##name_: {                                                                       \
        const struct ipc_##name_ *a = &x->name_, *b = &y->name_;                                   \
        assert_int_equal(a->ipc_end_, b->ipc_end_);                                                \
        fields break;                                                                              \
    }
        IPC_MESSAGES(M)
#undef M
#undef F
    case IPC_TYPE_NONE:
    case IPC_TYPE_COUNT:
        fail();
    }
}

static void check_one(enum ipc_type type)
{
    union ipc_message in, out;
    struct buf packet = {0};
    int fds[FD_PASS_MAX + 1], fd_count;
    enum ipc_type got;
    fill(type, &in);
    ipc_encode(type, &in, &packet, fds, &fd_count);
    assert_true(packet.size <= IPC_PACKET_MAX);
    struct slice whole = buf_slice(&packet);
    assert_true(ipc_decode(whole, fds, fd_count, &got, &out));
    assert_int_equal(got, type);
    compare(type, &in, &out);

    fds[fd_count] = 5;
    assert_false(ipc_decode(whole, fds, fd_count + 1, &got, &out));
    if (fd_count > 0)
        assert_false(ipc_decode(whole, fds, fd_count - 1, &got, &out));
    size_t step = whole.size > 200 ? whole.size / 100 : 1;
    for (size_t size = 0; size < whole.size; size += step) {
        void *cut = mem_dup(whole.data, size); /* on the heap, so that a sanitizer sees overruns */
        assert_false(ipc_decode(slice_make(cut, size), fds, fd_count, &got, &out));
        free(cut);
    }
    buf_u8(&packet, 0);
    assert_false(ipc_decode(buf_slice(&packet), fds, fd_count, &got, &out));
    buf_finish(&packet);
}

static void every_message(void **state)
{
    for (size_t i = 0; i < sizeof(stuff); i++)
        stuff[i] = (uint8_t)(i % 255 + 1);
    for (int type = 1; type < IPC_TYPE_COUNT; type++) {
        largest = true;
        check_one((enum ipc_type)type);
        largest = false;
        for (int i = 0; i < 20; i++)
            check_one((enum ipc_type)type);
    }
}

static void unknown_types(void **state)
{
    const uint32_t types[] = {0, IPC_TYPE_COUNT, IPC_TYPE_COUNT + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        struct buf packet = {0};
        enum ipc_type type;
        union ipc_message out;
        buf_u32(&packet, types[i]);
        assert_false(ipc_decode(buf_slice(&packet), NULL, 0, &type, &out));
        buf_finish(&packet);
    }
}

/* tls_cancel is u64 only, auth_response u64 and bytes of at most 16384, end_sessions has a text. */
static void wrong_fields(void **state)
{
    struct buf packet = {0};
    enum ipc_type type;
    union ipc_message out;
    buf_u32(&packet, IPC_TYPE_auth_response);
    buf_u64(&packet, 1);
    buf_packed(&packet, slice_make(stuff, 16385));
    assert_false(ipc_decode(buf_slice(&packet), NULL, 0, &type, &out));
    buf_clear(&packet);
    buf_u32(&packet, IPC_TYPE_end_sessions);
    buf_add(&packet, stuff, 16);
    buf_packed(&packet, SLICE_LITERAL("a\0b"));
    assert_false(ipc_decode(buf_slice(&packet), NULL, 0, &type, &out));
    buf_clear(&packet);
    buf_u32(&packet, IPC_TYPE_end_sessions);
    buf_add(&packet, stuff, 16);
    buf_u32(&packet, UINT32_MAX); /* a length that would overflow */
    buf_add_str(&packet, "ab");
    assert_false(ipc_decode(buf_slice(&packet), NULL, 0, &type, &out));
    buf_finish(&packet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fuzz target's property over every message with bytes flipped, without a fuzzer. */
static void mutations(void **state)
{
    largest = false;
    for (int i = 0; i < 20000; i++) {
        enum ipc_type type = (enum ipc_type)(1 + i % (IPC_TYPE_COUNT - 1));
        union ipc_message in;
        struct buf packet = {0};
        int fds[FD_PASS_MAX], fd_count;
        fill(type, &in);
        ipc_encode(type, &in, &packet, fds, &fd_count);
        for (int flips = i % 4; flips > 0; flips--)
            packet.data[(size_t)rand() % packet.size] = (uint8_t)rand();
        LLVMFuzzerTestOneInput(packet.data, packet.size);
        buf_finish(&packet);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message),
        cmocka_unit_test(unknown_types),
        cmocka_unit_test(wrong_fields),
        cmocka_unit_test(mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
