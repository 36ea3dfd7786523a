/* SPDX-License-Identifier: Apache-2.0 */
/* A journal in memory and its lines. Internal to the journal's files. */
#ifndef WW_EVO_JOURNAL_INT_H
#define WW_EVO_JOURNAL_INT_H

#include "evo/journal.h"
#include "util/buf.h"

#define WW_JOURNAL_SCHEMA "weightward.evo-journal/1"
#define WW_JOURNAL_CHECK 16 /* hex digits */
#define WW_JOURNAL_MAX_TRIALS 1000000u

struct ww_journal {
    char *path;
    int fd;
    uint64_t size_bytes;
    char check[WW_JOURNAL_CHECK + 1]; /* of the last line */
    struct ww_journal_entry *entry;   /* [room] */
    uint32_t room;
    size_t n;
};

/** Take the file's bytes: entries, size_bytes up to the last whole line, check. */
enum ww_err ww_journal_read(struct ww_journal *journal, const uint8_t *text, size_t len,
                            const uint8_t run[32], struct ww_error *err) WW_MUST_USE;

/** The line of a trial, or of the head where entry is NULL, with its check. */
enum ww_err ww_journal_line(const struct ww_journal *journal, uint32_t trial,
                            const struct ww_journal_entry *entry, const uint8_t run[32],
                            struct ww_buf *line, struct ww_error *err) WW_MUST_USE;

/** Keep a copy. */
enum ww_err ww_journal_keep(struct ww_journal *journal, uint32_t trial,
                            const struct ww_journal_entry *entry,
                            struct ww_error *err) WW_MUST_USE;

#endif
