/*
 * Logins on their way: one SASL exchange for each connection of a door that asked, from auth_start
 * to auth_done. The order on success is a promise: the worker has the ticket in its socket before
 * the door hears of it, so a handover never comes before its ticket.
 */
#pragma once
#include "auth/auth.h"

enum { LOGINS_OF_DOOR_MAX = 20000 }; /* at the same time; more are answered UNAVAILABLE */

/* Handlers of messages from doors; context: struct auth. */
void login_start(void *context, struct ipc_channel *channel, struct ipc_auth_start *message);
void login_response(void *context, struct ipc_channel *channel, struct ipc_auth_response *message);
void login_cancel(void *context, struct ipc_channel *channel, struct ipc_auth_cancel *message);

/* The door is gone, and with it everything it asked for. */
void logins_of_door_end(struct auth *auth, uint32_t door);
/* Logins of this account that wait for their answer will fail. */
void logins_revoke(struct auth *auth, struct id account);
void logins_end(struct auth *auth);

/* May a secret travel in the clear from there? */
bool login_clear_allowed(const struct auth *auth, struct slice client);
