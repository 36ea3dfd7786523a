/* SPDX-License-Identifier: Apache-2.0 */
/* Readers for the members that policy documents share. */
#ifndef WW_POLICY_WORDS_H
#define WW_POLICY_WORDS_H

#include "policy/policy.h"

/** Where a reader is, for error texts, and who owns the lists it makes. */
struct ww_reading {
    const char *what; /* "rule 'r1' of policy 'open'" */
    void ***lists;
    size_t *n_lists;
};

enum ww_err ww_read_name(const struct ww_reading *at, const struct ww_jnode *object,
                         const char *key, bool optional, const char **out,
                         struct ww_error *err) WW_MUST_USE;
/** Decimal text: JSON numbers beyond 2^53 would differ between readers. */
enum ww_err ww_read_number(const struct ww_reading *at, const struct ww_jnode *object,
                           const char *key, uint64_t *out,
                           struct ww_error *err) WW_MUST_USE;
enum ww_err ww_read_time(const struct ww_reading *at, const struct ww_jnode *object,
                         const char *key, bool optional, int64_t *out,
                         struct ww_error *err) WW_MUST_USE;
/** A list of at least one string without repeats; absent leaves *out empty. */
enum ww_err ww_read_words(const struct ww_reading *at, const struct ww_jnode *object,
                          const char *key, bool optional, struct ww_words *out,
                          struct ww_error *err) WW_MUST_USE;
/** Memory that the document owns from now on. */
enum ww_err ww_read_own(const struct ww_reading *at, void *memory,
                        struct ww_error *err) WW_MUST_USE;
/** Parse and demand the type. */
enum ww_err ww_read_document(const uint8_t *payload, size_t len, const char *type,
                             struct ww_json **json, struct ww_error *err) WW_MUST_USE;

bool ww_words_have(const struct ww_words *words, const char *word);

#endif
