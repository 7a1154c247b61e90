/*
 * tool - sockets, times and arguments, for both programs
 */
#include "bench/tool.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct tool_address tool_parse_address(const char *text)
{
	struct tool_address address = { 0 };
	const char *colon = strrchr(text, ':');
	const char *host = text, *host_end = colon;
	long port = colon ? strtol(colon + 1, NULL, 10) : -1;

	if (colon && *text == '[' && colon > text + 1 && colon[-1] == ']') {
		host++;
		host_end--;
	}
	if (port < 0 || port > UINT16_MAX || host_end - host >= (ptrdiff_t)sizeof(address.host))
		tool_die("%s: expected ADDRESS:PORT or [ADDRESS]:PORT", text);
	memcpy(address.host, host, (size_t)(host_end - host));
	address.port = (uint16_t)port;
	return address;
}

/* A socket and the address to use it with; numeric addresses only. */
static int new_socket(const struct tool_address *address, struct sockaddr_storage *ret_addr,
		      socklen_t *ret_len)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *found;
	char port[8];
	int r, fd;

	snprintf(port, sizeof(port), "%u", address->port);
	r = getaddrinfo(address->host, port, &hints, &found);
	if (r != 0)
		tool_die("%s: %s", address->host, gai_strerror(r));
	memcpy(ret_addr, found->ai_addr, found->ai_addrlen);
	*ret_len = found->ai_addrlen;
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	freeaddrinfo(found);
	return fd;
}

int tool_connect(const struct tool_address *address)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd = new_socket(address, &addr, &len);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, len) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

int tool_listen(const struct tool_address *address, uint16_t *ret_port)
{
	struct sockaddr_storage addr;
	socklen_t len;
	int fd = new_socket(address, &addr, &len), on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 1024) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0) {
		close(fd);
		return -1;
	}
	*ret_port = ntohs(addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port
						     : ((struct sockaddr_in *)&addr)->sin_port);
	return fd;
}

unsigned int tool_parse_number(const char *text)
{
	char *text_end;
	unsigned long n = strtoul(text, &text_end, 10);

	if (!*text || *text_end || *text == '-' || n > TOOL_NUMBER_MAX)
		tool_die("%s: expected a number up to %d", text, TOOL_NUMBER_MAX);
	return (unsigned int)n;
}

int tool_parse_word(const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++) {
		if (strcmp(text, words[i]) == 0)
			return i;
	}
	tool_die("%s: not one of the words that go here; -h lists them", text);
}

double tool_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

double tool_cpu(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void tool_die(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}
