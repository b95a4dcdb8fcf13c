/*
 * The MIME fields of a part: Content-Type and Content-Disposition with their parameters (RFC 2045
 * 5.1, RFC 2183, RFC 2231), and lists of languages (RFC 3282). Everything is accepted; deviations
 * are in doc/real-mail.md.
 */
#pragma once
#include "base/arena.h"
#include "message/summary.h"

enum {
    CONTENT_PARAMETERS_MAX = 100,
    CONTENT_LANGUAGES_MAX = 50,
};

/* Sets type, subtype and parameters. False when there is no type/subtype: the field is then to be
 * treated as missing (RFC 2045 5.2). */
bool content_type_parse(struct slice value, struct arena *arena, struct summary_part *part);
/* Sets disposition and its parameters. */
void content_disposition_parse(struct slice value, struct arena *arena, struct summary_part *part);
void content_language_parse(struct slice value, struct arena *arena, struct summary_part *part);
/* The first word: 7BIT when there is none. */
void content_encoding_parse(struct slice value, struct arena *arena, struct summary_part *part);

/* The value of a parameter, data NULL when there is none. */
struct slice content_parameter(const struct summary_parameter *list, uint32_t count,
                               const char *name);
