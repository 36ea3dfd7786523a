/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What a search has paid for: one line per trial, appended and flushed to the disk before
 * the trial counts. A run that ended anywhere is run again from its beginning and finds
 * here what it would have to ask for, so it needs no state of its own. Format:
 * docs/formats/search.md.
 *
 *     line   CHECK ' ' JSON '\n'; CHECK: the first 16 hex digits of SHA-256 over the
 *            check of the line before and the JSON
 *     first  {"schema": "weightward.evo-journal/1", "run": HEX}
 *     trial  {"trial": N, "what": HEX, "attempts": N, "scores": [16 hex digits, ...]} or
 *            "why" in place of "scores"; scores are the bits of IEEE doubles
 */
#ifndef WW_EVO_JOURNAL_H
#define WW_EVO_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

struct ww_journal_entry {
    bool known;
    uint8_t what[32]; /* digest of everything that the trial is of */
    uint32_t attempts;
    uint32_t n;     /* scores; 0: failed */
    double *scores; /* [n] */
    char *why;      /* of a failure; else NULL */
};

struct ww_journal;

/**
 * Open for a run, or begin. An unfinished last line is cut off. WW_E_EXISTS for a journal
 * of another run, WW_E_MALFORMED for a damaged one, WW_E_IO while another process has it.
 */
enum ww_err ww_journal_open(const char *path, const uint8_t run[32],
                            struct ww_journal **out, struct ww_error *err) WW_MUST_USE;
void ww_journal_close(struct ww_journal *journal);

/** NULL when the trial is not known. Borrowed until the next addition. */
const struct ww_journal_entry *ww_journal_find(const struct ww_journal *journal,
                                               uint32_t trial);
size_t ww_journal_count(const struct ww_journal *journal);

/** Append and flush; the entry is copied. */
enum ww_err ww_journal_add(struct ww_journal *journal, uint32_t trial,
                           const struct ww_journal_entry *entry,
                           struct ww_error *err) WW_MUST_USE;

#endif
