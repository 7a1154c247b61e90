/*
 * test_rig - a whole mta in the test's process: workers, a queue in a
 * directory of its own, a log that tests wait on, and a policy that is easy
 * to please
 *
 * Mail for "local" goes to a deliver() of the rig's, mail for "refused" is
 * not taken, and where everything else goes is for the test to say. The disk
 * can be made slow: fdatasync() and fsync() of the process wait at a gate.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "mta/mta.h"

#define RIG_PATIENCE_S 60 /* nothing takes that long when all is well */

struct rig;

/* routes: lines of a transport map; formatted. Not started, so that the options can be changed. */
struct rig *rig_new(const char *routes, ...) __attribute__((format(printf, 1, 2)));
struct mta_options *rig_options(struct rig *rig);
void rig_start(struct rig *rig);
struct mta *rig_mta(struct rig *rig);

/*
 * Go on with other routes, and what else was changed in rig_options(). What
 * the old routes are read from is freed when the mta has released them.
 */
void rig_reload(struct rig *rig, const char *routes, ...) __attribute__((format(printf, 2, 3)));
int rig_try_reload(struct rig *rig, struct error *err); /* the same routes */
void rig_wait_released(struct rig *rig, unsigned int reloads);
unsigned int rig_released(struct rig *rig);

/* A new port, to be used after the next reload; clients connect to the newest. */
void rig_open_port(struct rig *rig, bool close_others);

/* Ask to stop, and wait for it. grace_ms as both in mta_stop(). */
void rig_stop(struct rig *rig, int64_t grace_ms);
void rig_stop_begin(struct rig *rig, int64_t grace_ms);
void rig_stop_in_turn(struct rig *rig, int64_t grace_ms, int64_t answer_ms); /* begins, too */
void rig_stop_wait(struct rig *rig);

/* A fresh mta on the same queue, after rig_stop(). */
void rig_restart(struct rig *rig);

/* Stops if that was not done, and removes everything. */
void rig_free(struct rig *rig);

/* Wait for a line with this text in it; it may be there already. Returns a copy in the rig. */
const char *rig_wait_log(struct rig *rig, const char *text);
bool rig_has_logged(struct rig *rig, const char *text);
unsigned int rig_count_logged(struct rig *rig, const char *text);

/* Put the clock on the wall forward. Timers run on another one, and do not notice. */
void rig_advance(struct rig *rig, int64_t ms);

/* As of the last commit. */
int64_t rig_queued(struct rig *rig);
void rig_wait_queued(struct rig *rig, int64_t messages);

/* The bodies that are in files are gone, as by an operator's hand. */
void rig_remove_bodies(struct rig *rig);
void rig_truncate_bodies(struct rig *rig); /* cut to nothing */

/* While closed, whoever syncs a file waits. */
void rig_close_gate(void);
void rig_wait_at_gate(void); /* somebody does */
void rig_open_gate(void);
void rig_fail_syncs(bool fail); /* as on a disk that is broken */

/* What the rig's deliver() says; code 0: it waits until another status is set. */
void rig_set_local_status(struct rig *rig, int code);
void rig_wait_local(struct rig *rig, unsigned int count); /* deliveries that have begun */

/* Small buffers of the kernel for the connections that come, so that it is soon our turn. */
void rig_set_small_buffers(struct rig *rig);

/* A client: a blocking socket that fails the test rather than wait for ever. */
int client_connect(struct rig *rig);
void client_send(int fd, const char *text);
void client_send_bytes(int fd, const void *bytes, size_t len);

/* Read one reply, all of its lines, which must begin with this. Returns the last line. */
const char *client_expect(int fd, const char *start);
void client_expect_end(int fd);

/* EHLO, MAIL, and a RCPT for each word of recipients; DATA and 354. */
void client_begin(int fd, const char *recipients);

/* A whole session with a small message, or one of size bytes. */
void rig_submit(struct rig *rig, const char *recipients);
void rig_submit_large(struct rig *rig, const char *recipients, size_t size);
