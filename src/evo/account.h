/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What the candidates of a search have spent together: one small file beside the answers,
 * written before a call is sent, so that a run that is killed has spent what it may have.
 * One run has it at a time; others wait. The layout is in docs/formats/answer-cache.md.
 */
#ifndef WW_EVO_ACCOUNT_H
#define WW_EVO_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "weightward/run.h"

struct ww_spent {
    uint64_t calls;
    uint64_t tokens;
    double cost;
    double seconds;
};

#define WW_SPENT_BYTES 64 /* of the file */

/** What the bytes of an account say, none being a new one; path is for texts.
 *  WW_E_MALFORMED for what no account was written as. */
enum ww_err ww_spent_read(const uint8_t *bytes, size_t len, const char *path,
                          struct ww_spent *out, struct ww_error *err) WW_MUST_USE;
void ww_spent_write(const struct ww_spent *spent, uint8_t out[WW_SPENT_BYTES]);

struct ww_account {
    int fd;
    char *path;
};

/** Open the account in folder dir, both made where they are not there, and say what was
 *  spent. Waits for another run; its progress is told as "waiting", and WW_E_CANCELLED.
 *  WW_E_MALFORMED for a file that is none. */
enum ww_err ww_account_open(const char *dir, const struct ww_run_options *run,
                            struct ww_account *out, struct ww_spent *spent,
                            struct ww_error *err) WW_MUST_USE;
/** What is spent now, calls under way at the most that they may cost. */
enum ww_err ww_account_note(const struct ww_account *account,
                            const struct ww_spent *spent,
                            struct ww_error *err) WW_MUST_USE;
/** What was noted is on the disk. */
enum ww_err ww_account_flush(const struct ww_account *account,
                             struct ww_error *err) WW_MUST_USE;
void ww_account_close(struct ww_account *account);

#endif
