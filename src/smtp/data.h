/*
 * The end of DATA and dot-unstuffing (RFC 5321 4.5.2), as a machine that takes bytes as they come.
 */
#pragma once
#include <stdbool.h>

#include "base/slice.h"

enum smtp_data_state {
    SMTP_DATA_LINE, /* at the beginning of a line: the state to begin with */
    SMTP_DATA_TEXT,
    SMTP_DATA_CR,     /* behind a CR in a line */
    SMTP_DATA_DOT,    /* behind a dot that began a line */
    SMTP_DATA_DOT_CR, /* behind that dot and a CR */
    SMTP_DATA_END,
};

/*
 * Takes a run of message bytes off *input and gives it in *piece (a part of the input or a
 * constant; valid as long as the input; may be empty). Call until *input is empty or the state is
 * SMTP_DATA_END: then what is left of *input are the next commands.
 */
void smtp_data_next(enum smtp_data_state *state, struct slice *input, struct slice *piece);
