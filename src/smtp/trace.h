/* The lines that a delivery puts ahead of a message (RFC 5321 4.4). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { TRACE_MAX = 2048 };

struct trace {
    struct slice from;     /* reverse-path without <>; "" for the null path */
    struct slice to;       /* Delivered-To: the account's name */
    struct slice helo;     /* as the client called itself */
    struct slice client;   /* its address, or "unix" */
    struct slice hostname; /* ours */
    struct slice id;
    bool tls, utf8;
    uint64_t now_us; /* since 1970 */
};

/* Return-Path, Delivered-To and Received, CRLF each, at most TRACE_MAX bytes in all. */
void trace_write(const struct trace *trace, struct buf *out);
