/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Decision tables: requests with the facts about their models and what should come out.
 * docs/formats/policy.md has the members. Tables are for tests and for "what if"; facts
 * in them are claims, not evidence.
 */
#ifndef WW_POLICY_TABLE_H
#define WW_POLICY_TABLE_H

#include "policy/policy.h"

/** One case, evaluated. Strings are borrowed from the table. */
struct ww_table_result {
    const char *name;
    const char *expect_reason; /* NULL: none expected */
    const char *expect;        /* "permit", "deny", or NULL */
    struct ww_decision decision;
    bool as_expected;
};

struct ww_table;

enum ww_err ww_table_read(const uint8_t *text, size_t len, struct ww_table **out,
                          struct ww_error *err) WW_MUST_USE;
void ww_table_free(struct ww_table *table);
size_t ww_table_count(const struct ww_table *table);

/** Evaluate case i under the policies. */
enum ww_err ww_table_run(const struct ww_table *table, size_t i,
                         const struct ww_policy *const *policies, size_t n_policies,
                         struct ww_table_result *out, struct ww_error *err) WW_MUST_USE;

#endif
