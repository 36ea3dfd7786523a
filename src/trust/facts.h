/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Facts about a model from its verified evidence: who signed it, which weights it has,
 * what its card says, and what it was made of. What cannot be proven is absent, and what
 * is absent denies.
 */
#ifndef WW_TRUST_FACTS_H
#define WW_TRUST_FACTS_H

#include "trust/trust.h"
#include "util/str.h"

#define WW_FACTS_MAX_ANCESTORS 256
#define WW_REFERENCE_MAX_NEEDS 1024

/** A policy that a model asks for, in a version not below. */
struct ww_policy_need {
    const char *id;
    uint64_t version;
    bool was_used; /* a decision was made under it: another policy may have taken its
                      place, but no older version */
};

struct ww_source_facts {
    struct ww_model_facts model;
    bool locked;
    bool has_state;                   /* it lies where the action will find it */
    uint8_t state[WW_SHA256_BYTES];   /* of its folder, before it was read */
    struct ww_model_facts *ancestors; /* owned; model.ancestors */
    struct ww_policy_need *needs;     /* of the model and its ancestors */
    size_t n_needs;
    char why[WW_ERROR_TEXT_BYTES]; /* what is missing, for people; "" when nothing is */
    void **lists;
    size_t n_lists;
};

/**
 * Verify a model folder with the keys of the root: every file, every tensor against its
 * signed root, and the evidence of its ancestors. Evidence that is missing is no error
 * but a fact that is absent; evidence that is wrong is an error (the 5xx codes).
 */
enum ww_err ww_facts_read(const struct ww_policy_source *source,
                          const struct ww_trust *trust, const struct ww_run_options *run,
                          struct ww_source_facts *out, struct ww_error *err) WW_MUST_USE;
/** One more of the facts' needs; id is copied. */
enum ww_err ww_facts_need(struct ww_source_facts *facts, const char *id, uint64_t version,
                          bool was_used, struct ww_error *err) WW_MUST_USE;
void ww_facts_release(struct ww_source_facts *facts);

/** A digest over names, inodes, sizes and times of all files of a folder but git's: equal
 *  as long as nobody changes or exchanges one of them. */
enum ww_err ww_facts_folder_state(const char *path, uint8_t out[WW_SHA256_BYTES],
                                  struct ww_error *err) WW_MUST_USE;

/** Does the folder, or an ancestor whose evidence it carries, ask for a policy, whether
 * that can be proven or not? */
enum ww_err ww_facts_asks_for_policy(const char *path, bool *out,
                                     struct ww_error *err) WW_MUST_USE;

/** Tensor root as the folder's own statement has it, unverified; for making requests. */
enum ww_err ww_facts_root_of(const char *path, uint8_t root[WW_SHA256_BYTES],
                             struct ww_error *err) WW_MUST_USE;

/** What a model folder's card and policy reference say. The owner keeps the strings. */
struct ww_card_facts {
    const char *license;
    struct ww_words tags;
};
enum ww_err ww_card_facts_read(const uint8_t *text, size_t len,
                               struct ww_source_facts *owner, struct ww_card_facts *out,
                               struct ww_error *err) WW_MUST_USE;

/** A policy reference: {"type": "weightward.policy-reference/1", "policies": [{"id",
 *  "version"}]}, added to the owner's needs. WW_E_POLICY. */
enum ww_err ww_reference_read(const uint8_t *text, size_t len,
                              struct ww_source_facts *owner,
                              struct ww_error *err) WW_MUST_USE;
/** The text of one; WW_E_LIMIT for more than a reference may name. */
enum ww_err ww_reference_write(const struct ww_policy_need *needs, size_t n,
                               struct ww_buf *out, struct ww_error *err) WW_MUST_USE;

#endif
