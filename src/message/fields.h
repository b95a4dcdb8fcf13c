/*
 * The fields of a header (RFC 5322 2.2), one after another, by offsets: nothing is copied or
 * decoded. Lines end in CRLF or LF; a line that begins with a space or tab belongs to the field
 * before it (2.2.3). Lines that are no field are passed over. This is all that a worker needs of a
 * header (BODY[HEADER.FIELDS]); it has no limits of its own and its cost is linear.
 */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

struct field {
    struct slice name;  /* without the spaces that RFC 5322 4.5 allows before the colon */
    struct slice value; /* as it stands, folded, without the last line end */
    struct slice lines; /* name, value and line ends: what HEADER.FIELDS shows */
};

struct fields {
    struct slice rest;
};

/* header: with or without its empty line, which ends it. */
static inline struct fields fields_make(struct slice header)
{
    return (struct fields){header};
}

/* Slices point into the header. False at the end. */
bool fields_next(struct fields *fields, struct field *field);

/* The first field of that name, whatever the case; false when there is none. */
bool fields_find(struct slice header, const char *name, struct field *field);

/* Bytes of the header that a message begins with, with its empty line; all of it when it has no
 * empty line. */
size_t fields_header_size(struct slice message);
