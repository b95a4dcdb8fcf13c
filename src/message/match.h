/*
 * Does a message hold a text? Substrings without regard to case (message/fold.h), in what a reader
 * of the message would see: transfer encodings, character sets, encoded words and HTML are decoded
 * (RFC 3501 6.4.4, RFC 5051). Runs in readers, tools and tests.
 *
 * What is looked through:
 * - envelope needles and fields: the decoded text of each such field; addresses as
 *   "name <mailbox@host>". An empty needle is found where there is such a field.
 * - BODY: the text of every text and message part, and of any other part whose decoded bytes are
 *   UTF-8; headers of messages inside. Not the headers of parts, not what stands outside of parts.
 * - TEXT: that, the header of the message and those of all parts (so the names of files).
 */
#pragma once
#include "message/fold.h"
#include "message/needle.h"
#include "message/summary.h"

struct match;

enum match_problem { MATCH_PROBLEM_NONE, MATCH_PROBLEM_CHARSET, MATCH_PROBLEM_MALFORMED };

/* packed: needles (message/needle.h), their texts in charset (empty: UTF-8, or what they look
 * like). NULL, with the reason. fold must outlive it. */
struct match *match_create(struct fold *fold, struct slice charset, struct slice packed,
                           enum match_problem *problem);
/* Accepts NULL. */
void match_destroy(struct match **match);
size_t match_count(const struct match *match); /* needles */

/* Sets the bits of the needles that are found; bits: needle_bits_size() bytes, cleared by the
 * caller. Of a summary: envelope needles alone. */
void match_summary(struct match *match, const struct summary *summary, uint8_t *bits);
void match_message(struct match *match, struct slice bytes, uint8_t *bits);

/* A whole batch (message/needle.h): appends the bits of its records to bits; false, with what came
 * before, when it is malformed or has not that many records. Of no records: the needles, folded and
 * packed, or nothing when they are too large for that. */
/* Appends the folded texts of a summary's envelope (message/needle.h), of which there may be none.
 * What needle_folded_look() finds in them is what match_summary() finds. False: they are too many.
 */
bool match_fold(struct fold *fold, const struct summary *summary, struct buf *folded);

bool match_batch(struct match *match, struct slice batch, uint32_t records, struct buf *bits);
