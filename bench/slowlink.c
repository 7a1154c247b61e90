/*
 * slowlink - a network link that takes its time
 *
 * The same as tc netem with a delay, for kernels without it: two TUN devices,
 * each in a network namespace of its own, opened by whoever starts this.
 * Every packet that comes out of one is put into the other a while later. The
 * delay is the same for all, so those on their way are a ring whose head is
 * due first. Nothing is lost while the ring has room; a TCP of today keeps a
 * few megabytes on the way at most, and the ring holds 96 in full packets.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "bench/tool.h"

#define PACKET_SIZE 1504 /* MTU of 1500, and the four bytes that TUN puts in front */
#define RING_SIZE   65536

struct packet {
	double due;
	size_t len;
	char bytes[PACKET_SIZE];
};

struct direction {
	int from_fd, to_fd;
	struct packet *ring;
	unsigned int head, tail; /* the packets are ring[head..tail), modulo its size */
};

static bool is_full(const struct direction *d)
{
	return d->tail - d->head == RING_SIZE;
}

static void take_in(struct direction *d, double delay_s)
{
	while (!is_full(d)) {
		struct packet *p = &d->ring[d->tail % RING_SIZE];
		ssize_t n = read(d->from_fd, p->bytes, sizeof(p->bytes));

		if (n <= 0)
			return;
		p->len = (size_t)n;
		p->due = tool_now() + delay_s;
		d->tail++;
	}
}

static void let_out(struct direction *d)
{
	while (d->head != d->tail) {
		const struct packet *p = &d->ring[d->head % RING_SIZE];

		if (p->due > tool_now())
			return;
		if (write(d->to_fd, p->bytes, p->len) < 0 && errno == EAGAIN)
			return;
		d->head++;
	}
}

/* Until the next packet is due. */
static struct timespec time_left(const struct direction *d, double longest_s)
{
	double left_s = longest_s;

	if (d->head != d->tail) {
		left_s = d->ring[d->head % RING_SIZE].due - tool_now();
		if (left_s < 0)
			left_s = 0;
	}
	return (struct timespec){ .tv_sec = (time_t)left_s,
				  .tv_nsec = (long)((left_s - (double)(time_t)left_s) * 1e9) };
}

static void run_link(struct direction directions[2], double delay_s)
{
	for (;;) {
		struct pollfd fds[2];
		struct timespec first = time_left(&directions[0], 1);
		struct timespec second = time_left(&directions[1], 1);
		bool is_second = second.tv_sec < first.tv_sec ||
				 (second.tv_sec == first.tv_sec && second.tv_nsec < first.tv_nsec);

		for (int i = 0; i < 2; i++)
			fds[i] = (struct pollfd){ .fd = directions[i].from_fd,
						  .events = is_full(&directions[i]) ? 0 : POLLIN };
		if (ppoll(fds, 2, is_second ? &second : &first, NULL) < 0 && errno != EINTR)
			tool_die("ppoll: %s", strerror(errno));
		for (int i = 0; i < 2; i++) {
			take_in(&directions[i], delay_s);
			let_out(&directions[i]);
		}
	}
}

static struct direction new_direction(const char *from, const char *to)
{
	struct direction d = { .from_fd = (int)tool_parse_number(from),
			       .to_fd = (int)tool_parse_number(to) };

	if (fcntl(d.from_fd, F_SETFL, O_NONBLOCK) < 0)
		tool_die("descriptor %s: %s", from, strerror(errno));
	d.ring = calloc(RING_SIZE, sizeof(d.ring[0]));
	if (!d.ring)
		tool_die("out of memory");
	return d;
}

int main(int argc, char **argv)
{
	struct direction directions[2];

	if (argc != 4) {
		fputs("Usage: slowlink MILLISECONDS DESCRIPTOR DESCRIPTOR\n"
		      "Carries packets between two TUN devices, delayed by so much each way, until "
		      "it is ended\nor its parent ends.\n",
		      stderr);
		return 2;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody else would ever end it */
	directions[0] = new_direction(argv[2], argv[3]);
	directions[1] = new_direction(argv[3], argv[2]);
	run_link(directions, tool_parse_number(argv[1]) / 1e3);
	return 0;
}
