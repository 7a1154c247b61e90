/*
 * throwaway - a directory of certificates, made when a test starts
 *
 * tests/support/make-certs.sh lists what is in it. Everything that goes wrong
 * here ends the test.
 */
#pragma once

/* A new directory with all the files; the caller gives it to throwaway_remove(). */
char *throwaway_certs(void);

/* Deletes what is in the directory, and itself; frees the string. */
void throwaway_remove(char *directory);

/* "DIRECTORY/NAME"; one of a few strings that are used in turn. */
const char *throwaway_path(const char *directory, const char *name);
