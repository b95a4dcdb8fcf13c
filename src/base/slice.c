#include "base/slice.h"

#include "base/mem.h"

struct slice slice_sub(struct slice s, size_t offset, size_t size)
{
    if (offset > s.size)
        offset = s.size;
    if (size > s.size - offset)
        size = s.size - offset;
    return (struct slice){s.data == NULL ? NULL : s.data + offset, size};
}

bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    if (a.size != b.size)
        return false;
    for (size_t i = 0; i < a.size; i++)
        if (ascii_lower(a.data[i]) != ascii_lower(b.data[i]))
            return false;
    return true;
}

bool slice_equal_str(struct slice a, const char *text)
{
    return slice_equal(a, slice_str(text));
}

bool slice_equal_nocase_str(struct slice a, const char *text)
{
    return slice_equal_nocase(a, slice_str(text));
}

bool slice_starts(struct slice s, struct slice prefix)
{
    return slice_equal(slice_sub(s, 0, prefix.size), prefix);
}

size_t slice_find(struct slice s, uint8_t byte)
{
    const uint8_t *found = s.size == 0 ? NULL : memchr(s.data, byte, s.size);
    return found == NULL ? s.size : (size_t)(found - s.data);
}

struct slice slice_split(struct slice *s, uint8_t separator)
{
    size_t end = slice_find(*s, separator);
    struct slice head = slice_sub(*s, 0, end);
    *s = slice_sub(*s, end + 1, s->size);
    return head;
}

struct slice slice_trim(struct slice s)
{
    while (s.size > 0 && (s.data[0] == ' ' || s.data[0] == '\t'))
        s = slice_sub(s, 1, s.size);
    while (s.size > 0 && (s.data[s.size - 1] == ' ' || s.data[s.size - 1] == '\t'))
        s.size--;
    return s;
}

bool slice_u64(struct slice s, uint64_t *value)
{
    uint64_t sum = 0;
    if (s.size == 0)
        return false;
    for (size_t i = 0; i < s.size; i++) {
        if (!ascii_is_digit(s.data[i]) || __builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)(s.data[i] - '0'), &sum))
            return false;
    }
    *value = sum;
    return true;
}

bool slice_u32(struct slice s, uint32_t *value)
{
    uint64_t wide;
    if (!slice_u64(s, &wide) || wide > UINT32_MAX)
        return false;
    *value = (uint32_t)wide;
    return true;
}

char *slice_strdup(struct slice s)
{
    char *copy = mem_alloc(s.size + 1);
    if (s.size > 0)
        memcpy(copy, s.data, s.size);
    copy[s.size] = '\0';
    return copy;
}
