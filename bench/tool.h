/*
 * tool - sockets, times and arguments, for both programs
 *
 * What goes wrong here ends the program with "NAME: TEXT" and status 2.
 */
#pragma once

#include <stdint.h>

#define TOOL_NUMBER_MAX 100000000

struct tool_address {
	char host[64];
	uint16_t port;
};

/* "127.0.0.1:25" or "[::1]:25"; numeric addresses only. */
struct tool_address tool_parse_address(const char *text);

/* Non-blocking sockets, or -1 and errno. */
int tool_connect(const struct tool_address *address); /* may still be connecting */
int tool_listen(const struct tool_address *address, uint16_t *ret_port);

unsigned int tool_parse_number(const char *text); /* 0 to TOOL_NUMBER_MAX */

/* The index of text in words, which NULL ends. */
int tool_parse_word(const char *text, const char *const *words);

/* Seconds on the monotonic clock, which all processes of one machine share. */
double tool_now(void);

/* CPU time that this process has used, in seconds. */
double tool_cpu(void);

void tool_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
