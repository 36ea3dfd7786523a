/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Ancestors of a model as facts, from the signed provenance that its folder carries.
 */
#ifndef WW_TRUST_LINEAGE_H
#define WW_TRUST_LINEAGE_H

#include "evidence/chain.h"
#include "trust/facts.h"

/** The policies that the payload of such a record names. WW_E_BUNDLE. */
enum ww_err ww_decision_parse(const uint8_t *text, size_t len,
                              struct ww_source_facts *out,
                              struct ww_error *err) WW_MUST_USE;

/** Policies under which a signed record of a decision was made, as needs of the facts. A
 *  record by a key that is not among these says nothing, nor does one that the root
 *  revokes as a statement. WW_E_SIGNATURE, WW_E_BUNDLE. */
enum ww_err ww_decision_read(const struct ww_trust *trust,
                             const struct ww_chain_keys *keys, const struct ww_buf *text,
                             struct ww_source_facts *out,
                             struct ww_error *err) WW_MUST_USE;

/** Keys of the root that may sign models now, and the revoked ones, so that a decision
 * can name those. Borrowed from the root. */
enum ww_err ww_lineage_keys(const struct ww_trust *trust, struct ww_chain_keys *out,
                            struct ww_error *err) WW_MUST_USE;

/**
 * Fill ancestors and lineage_known of out->model, whose own root and OMS root were
 * verified. What is missing is told in out->why and leaves the lineage unknown; what is
 * wrong is an error. Needs of ancestors are added to out->needs.
 */
enum ww_err ww_lineage_read(const struct ww_trust *trust, int dirfd,
                            const uint8_t oms_root[WW_SHA256_BYTES],
                            struct ww_source_facts *out,
                            struct ww_error *err) WW_MUST_USE;

/** Say what is missing, unless something was said before. */
void ww_facts_missing(struct ww_source_facts *facts, const char *what);

#endif
