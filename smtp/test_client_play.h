/*
 * test_client_play - plays scripts of conversations with the client engine
 *
 * A script begins with "# LABEL" and maybe "! lmtp", "! no pipelining", "! limits"
 * (time limits other than the default), "! discard" (of some EHLO keywords), and
 * "! one piece" (see below). Then each line is one of:
 *	S TEXT		the server sends a line; lines that follow each other come at once
 *	C TEXT		the next line that the client has sent
 *	E TEXT		the next event that it has told, as the functions below write it
 *	O ACTION	the owner does something
 *	W EVENT ACTION	the owner does it inside of the next such event
 *	T SECONDS STAGE	what smtp_client_timeout_ms() and smtp_client_stage() say
 *	+ FRAGMENT	lines that many scripts share
 * What is not in the script must not happen. Each conversation is run twice:
 * with what the server sends at once in one piece, and byte by byte; except
 * where the point is that something is there too early.
 */
#pragma once

#include <stddef.h>

/* Fails the running test, naming the script, where a script and the client differ. */
void play_all(const char *const *scripts, size_t count);
