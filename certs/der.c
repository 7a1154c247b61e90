/*
 * der - lengths are checked against what is left before anything is returned,
 * and must be in the shortest form, as DER asks for. What is written gets its
 * length when its end is known, and moves to make room for it.
 */
#include "certs/der.h"

#include <string.h>

#define LONG_FORM 0x80u

/* The bytes of the length field behind the tag, or 0 when it is none of ours. */
static size_t read_length(struct slice s, size_t *ret_length)
{
	size_t count, length = 0;
	unsigned char first;

	if (s.len == 0)
		return 0;
	first = (unsigned char)s.ptr[0];
	if (first < LONG_FORM) {
		*ret_length = first;
		return 1;
	}

	count = first & ~LONG_FORM;
	if (count == 0 || count > 4 || s.len < 1 + count)
		return 0;
	for (size_t i = 1; i <= count; i++)
		length = length << 8 | (unsigned char)s.ptr[i];
	if (length < LONG_FORM || (unsigned char)s.ptr[1] == 0)
		return 0;
	*ret_length = length;
	return 1 + count;
}

bool der_next(struct slice *rest, struct der_item *ret_item)
{
	struct slice s = *rest;
	size_t header, length;
	unsigned char tag;

	if (s.len < 2)
		return false;
	tag = (unsigned char)s.ptr[0];
	if ((tag & 0x1f) == 0x1f) /* a tag of several bytes */
		return false;
	header = read_length(slice_skip(s, 1), &length);
	if (header == 0 || length > s.len - 1 - header)
		return false;

	ret_item->tag = tag;
	ret_item->content = slice_of(s.ptr + 1 + header, length);
	ret_item->whole = slice_of(s.ptr, 1 + header + length);
	*rest = slice_skip(s, ret_item->whole.len);
	return true;
}

bool der_take(struct slice *rest, unsigned int tag, struct slice *ret_content)
{
	struct slice before = *rest;
	struct der_item item;

	if (!der_next(rest, &item))
		return false;
	if (item.tag != tag) {
		*rest = before;
		return false;
	}
	*ret_content = item.content;
	return true;
}

size_t der_begin(struct buf *out, unsigned int tag)
{
	*buf_reserve(out, 1) = (char)tag;
	buf_commit(out, 1);
	return buf_len(out);
}

void der_end(struct buf *out, size_t begun)
{
	size_t length = buf_len(out) - begun, count = 0;
	char header[1 + sizeof(length)];
	char *content;

	if (length < LONG_FORM) {
		header[0] = (char)length;
	} else {
		for (size_t rest = length; rest > 0; rest >>= 8)
			count++;
		header[0] = (char)(LONG_FORM | count);
		for (size_t i = 0; i < count; i++)
			header[1 + i] = (char)(length >> (8 * (count - 1 - i)));
	}
	buf_reserve(out, 1 + count);
	content = out->mem + out->start + begun;
	memmove(content + 1 + count, content, length);
	memcpy(content, header, 1 + count);
	buf_commit(out, 1 + count);
}

void der_put(struct buf *out, unsigned int tag, struct slice content)
{
	size_t begun = der_begin(out, tag);

	buf_append_slice(out, content);
	der_end(out, begun);
}
