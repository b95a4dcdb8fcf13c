/* Postfix' and others' question whether a password is right; see auth_door.c. */
#pragma once
#include "door/door.h"

extern const struct door_protocol auth_door;
