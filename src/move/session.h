/* Import and export as the worker serves them; see wire.h. */
#pragma once
#include "worker/session.h"

extern const struct session_protocol move_session;
