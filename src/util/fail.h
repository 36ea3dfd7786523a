/* SPDX-License-Identifier: Apache-2.0 */
/* How library code reports a failure: fill the caller's record, yield the code. */
#ifndef WW_UTIL_FAIL_H
#define WW_UTIL_FAIL_H

#include <stddef.h>

#include "weightward/error.h"

/**
 * Fill err (may be NULL) and return code. First error wins: a record that already holds
 * a code keeps it, and the code already held is returned. Control characters and invalid
 * UTF-8 in the formatted text are escaped as \xNN. When sys_errno is not 0, its
 * description is added: write "cannot open 'x'", not "cannot open 'x': %s".
 */
enum ww_err ww_fail_at(struct ww_error *err, enum ww_err code, int sys_errno,
                       const char *file, int line, const char *fmt, ...) WW_PRINTF(6, 7);

/** Put "prefix: " in front of the text of a failed call, once. */
void ww_error_context(struct ww_error *err, const char *fmt, ...) WW_PRINTF(2, 3);

/** Text with words of others as one line of UTF-8: control characters, line ends, what
 *  turns the reading direction and what is no UTF-8 come out as \xNN, and what finds no
 *  room is left out from a whole character on. Error texts are written so. */
void ww_one_line(char *out, size_t out_bytes, const char *raw);

/* Usage: rc = WW_FAIL(err, WW_E_JSON, "..."); goto out; */
#define WW_FAIL(err, code, ...)                                                          \
    ww_fail_at((err), (code), 0, __FILE__, __LINE__, __VA_ARGS__)
#define WW_FAIL_SYS(err, code, sys, ...)                                                 \
    ww_fail_at((err), (code), (sys), __FILE__, __LINE__, __VA_ARGS__)
/* Usage: rc = WW_FAIL_MEMORY(err, "member '%s'", name); */
#define WW_FAIL_MEMORY(err, ...)                                                         \
    ww_fail_at((err), WW_E_NOMEM, 0, __FILE__, __LINE__, "out of memory for " __VA_ARGS__)

/** A broken internal invariant: never compiled out, prints and aborts. */
_Noreturn void ww_invariant_failed(const char *expr, const char *file, int line);
#define WW_INVARIANT(expr)                                                               \
    ((expr) ? (void)0 : ww_invariant_failed(#expr, __FILE__, __LINE__))

#define WW_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
