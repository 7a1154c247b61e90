/*
 * passwd - users and their passwords, in a file of Dovecot's passwd-file format
 *
 * Lines as edge/passwd_line.h has them; of what is behind the password only
 * the extra fields count. An empty password is an account with a mailbox that
 * nobody can log in by. Names are compared without regard to case. Safe on all
 * threads.
 */
#pragma once

#include "edge/accounts.h"

struct passwd;

/* Errors name the file and line. */
int passwd_open(const char *file, struct passwd **ret_passwd, struct error *err);
void passwd_free(struct passwd *passwd);
DEFINE_CLEANUP(struct passwd *, passwd_free);

/* Reports every bad line, and what passwd_open() would take but is likely not what is wanted. */
void passwd_diagnose(const char *file, map_report *report, void *arg);

/* Whether passwd_open() would take a file of this text; name is what errors call it. */
int passwd_validate(struct slice text, const char *name, struct error *err);

/* As those of edge/accounts.h; passwd_find() gives no errors. */
int passwd_refresh(struct passwd *passwd, struct error *err);
int passwd_refresh_at(struct passwd *passwd, int64_t wall_ms, struct error *err);
int passwd_find(struct passwd *passwd, const char *user, struct arena *arena, struct account *ret);
bool passwd_has_user(struct passwd *passwd, const char *user);
unsigned int passwd_secrets(struct passwd *passwd);
struct slice passwd_decoy(struct passwd *passwd, struct arena *arena);
