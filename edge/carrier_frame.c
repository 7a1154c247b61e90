/* Nothing is kept between two frames. */
#include "edge/carrier_frame.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

int carrier_send(int fd, const struct carrier_frame *frame, struct slice text)
{
	struct iovec parts[] = {
		{ .iov_base = (void *)frame, .iov_len = sizeof(*frame) },
		{ .iov_base = (void *)text.ptr, .iov_len = text.len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	while (sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int carrier_receive(int fd, struct carrier_frame *ret, char *text, size_t *ret_len)
{
	struct iovec parts[] = {
		{ .iov_base = ret, .iov_len = sizeof(*ret) },
		{ .iov_base = text, .iov_len = CARRIER_TEXT_MAX },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;

	do
		n = recvmsg(fd, &message, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	if ((size_t)n < sizeof(*ret) || message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
		return -EBADMSG;
	*ret_len = (size_t)n - sizeof(*ret);
	return 0;
}
