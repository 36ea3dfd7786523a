/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts: what the resolver asks about a model, by name. Each has a built-in expression
 * that a descriptor may override. The names are listed in docs/formats/descriptor.md.
 */
#ifndef WW_ARCH_FACTS_H
#define WW_ARCH_FACTS_H

#include "arch/expr.h"

/** No count or size of a model is larger: products of two and sums of eight cannot wrap.
 */
#define WW_FACT_MAX ((uint64_t)1 << 28)

/** A whole number from 0 to WW_FACT_MAX; WW_E_CONFIG when absent or anything else. */
enum ww_err ww_fact_u64(const struct ww_scope *scope, const char *name, uint64_t *out,
                        struct ww_error *err) WW_MUST_USE;
/** As above, and at least 1. */
enum ww_err ww_fact_size(const struct ww_scope *scope, const char *name, uint64_t *out,
                         struct ww_error *err) WW_MUST_USE;
/** A finite number; 0 when absent. */
enum ww_err ww_fact_double(const struct ww_scope *scope, const char *name, double *out,
                           struct ww_error *err) WW_MUST_USE;
enum ww_err ww_fact_bool(const struct ww_scope *scope, const char *name, bool *out,
                         struct ww_error *err) WW_MUST_USE;
/** A text of at most size - 1 bytes; "" when absent. */
enum ww_err ww_fact_text(const struct ww_scope *scope, const char *name, char *out,
                         size_t size, struct ww_error *err) WW_MUST_USE;
/** One of words (n of them): its index. */
enum ww_err ww_fact_word(const struct ww_scope *scope, const char *name,
                         const char *const *words, size_t n, unsigned *out,
                         struct ww_error *err) WW_MUST_USE;

/** Where a fact comes from, for error texts: "num_attention_heads", "default of d_kv",
 *  "hidden / heads". */
void ww_fact_origin(const struct ww_scope *scope, const char *name,
                    char out[WW_ORIGIN_BYTES]);

/** True for a built-in name, or a helper of the descriptor's own ("x_..."). */
bool ww_fact_known(const char *name);
/** The built-in names, for "did you mean". */
const char *ww_fact_nearest(const char *name);

#endif
