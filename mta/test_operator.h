/* test_operator - an operator at the queue of a rig */
#pragma once

#include "mta/test_rig.h"
#include "queue/action.h"

/*
 * Act on the one recipient that matches a pattern. Then it is for the test to
 * call mta_look() or one like it.
 */
void operator_act(struct rig *rig, enum queue_action_kind kind, const char *recipient);

/* Until nobody works on any message, and all outcomes are recorded. */
void operator_wait_unclaimed(struct rig *rig);
