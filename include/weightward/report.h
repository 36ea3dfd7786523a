/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Answers as text for people and as one JSON object for programs.
 *
 * Every ww_report_ function gives a string that the caller frees with ww_string_free, and
 * borrows what it is given. Errors: WW_E_NOMEM, WW_E_LIMIT for a text beyond its cap,
 * WW_E_MALFORMED for a name that JSON cannot hold; *out is NULL then. JSON objects start
 * with "schema": "weightward.VERB/1"; members may be added later, never renamed. The same
 * report gives the same bytes.
 */
#ifndef WEIGHTWARD_REPORT_H
#define WEIGHTWARD_REPORT_H

#include "weightward/attack.h"
#include "weightward/catalogue.h"
#include "weightward/evidence.h"
#include "weightward/evo.h"
#include "weightward/extract.h"
#include "weightward/fusion.h"
#include "weightward/lineage.h"
#include "weightward/lock.h"
#include "weightward/logits.h"
#include "weightward/merge.h"
#include "weightward/package.h"
#include "weightward/package_inspect.h"
#include "weightward/trace.h"
#include "weightward/policy.h"
#include "weightward/seal.h"
#include "weightward/search.h"
#include "weightward/serve.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Text of others as a terminal, a log or a page may show it: what moves a cursor, starts
 * a line or turns the reading direction (Unicode TR 36) becomes \uNNNN, a byte that is no
 * UTF-8 becomes \xNN; line feeds and tabs stay, so JSON stays the JSON that it was.
 * Writes at most out_bytes to out, without a NUL, and returns how many. *taken: how many
 * bytes of text these stand for, fewer than len where out is full or text ends within a
 * character.
 */
WW_API size_t ww_text_shown(const char *text, size_t len, char *out, size_t out_bytes,
                            size_t *taken);

/** Version of the library, "0.1.0"; static. */
WW_API const char *ww_version(void);

/** What inspect found out about a folder. layout and moves are absent when the model
 *  cannot be resolved; then why says so. */
struct ww_inspection {
    const struct ww_model *model;
    const struct ww_layout *layout;
    const struct ww_block_moves *moves;
    size_t n_moves;
    const struct ww_check_report *check; /* NULL unless asked for */
    const struct ww_error *why;          /* what a lock would be refused with */
    uint64_t nonfinite;                  /* NaN and infinite elements, when counted */
    bool nonfinite_counted;
};
WW_API enum ww_err ww_report_inspect_json(const struct ww_inspection *in, char **out,
                                          struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_inspect_text(const struct ww_inspection *in, char **out,
                                          struct ww_error *err) WW_MUST_USE;

/** verb is "lock" or "unlock". */
WW_API enum ww_err ww_report_lock_json(const char *verb,
                                       const struct ww_lock_report *report, char **out,
                                       struct ww_error *err) WW_MUST_USE;
/** anchor: as the user named it. */
WW_API enum ww_err ww_report_attack_json(const char *anchor,
                                         const struct ww_attack_report *report,
                                         char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_sign_json(const struct ww_sign_report *report, char **out,
                                       struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_verify_json(const struct ww_verify_report *report,
                                         char **out, struct ww_error *err) WW_MUST_USE;
/** The same object with "chain": its links in the order of the report. */
WW_API enum ww_err ww_report_chain_json(const struct ww_chain_report *report, char **out,
                                        struct ww_error *err) WW_MUST_USE;
/** The same as one self-contained page with the ancestry as a picture. failure: why the
 *  chain does not hold, or NULL; the report then has the links before that. */
WW_API enum ww_err ww_report_chain_html(const struct ww_chain_report *report,
                                        const struct ww_error *failure, char **out,
                                        struct ww_error *err) WW_MUST_USE;
/** verb is "lock" or "unlock"; "level" is "sealed". */
WW_API enum ww_err ww_report_seal_json(const char *verb,
                                       const struct ww_seal_report *report, char **out,
                                       struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_recipients_json(const char *path,
                                             const struct ww_seal_access *access,
                                             char **out,
                                             struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_key_json(const char *verb, const char *path,
                                      const struct ww_key_info *info, char **out,
                                      struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_merge_json(const struct ww_merge_report *report, char **out,
                                        struct ww_error *err) WW_MUST_USE;
/** The merge as a page of its own, with pictures when layers were measured. */
WW_API enum ww_err ww_report_merge_html(const struct ww_merge_report *report, char **out,
                                        struct ww_error *err) WW_MUST_USE;
/** base: as the user named it. */
WW_API enum ww_err ww_report_decompose_json(const char *base,
                                            const struct ww_decompose_report *report,
                                            char **out, struct ww_error *err) WW_MUST_USE;
/** The report as a page of its own with pictures, and as JSON with every number. */
WW_API enum ww_err ww_report_lineage_html(const struct ww_lineage_report *report,
                                          char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_lineage_json(const struct ww_lineage_report *report,
                                          char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_index_json(const char *catalogue,
                                        const struct ww_index_report *report, char **out,
                                        struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_find_json(const struct ww_find_report *report, char **out,
                                       struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_logits_json(const struct ww_logits_report *report,
                                         char **out, struct ww_error *err) WW_MUST_USE;
/** path: of the plan that was written. */
WW_API enum ww_err ww_report_plan_json(const char *path,
                                       const struct ww_decompose_options *options,
                                       char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_replay_json(const struct ww_replay_report *report,
                                         char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err
ww_report_verify_lineage_json(const struct ww_verify_lineage_report *report, char **out,
                              struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_trace_json(const struct ww_trace_report *report, char **out,
                                        struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_extract_json(const struct ww_extract_report *report,
                                          char **out, struct ww_error *err) WW_MUST_USE;
/** output: where the result lies. */
WW_API enum ww_err ww_report_search_json(const char *output,
                                         const struct ww_search_report *report,
                                         char **out, struct ww_error *err) WW_MUST_USE;
/** The same as a page of its own: what was gained when, and the variables. */
WW_API enum ww_err ww_report_search_html(const struct ww_search_report *report,
                                         char **out, struct ww_error *err) WW_MUST_USE;
/** word: what was done with the package. */
WW_API enum ww_err ww_report_pack_json(const char *word,
                                       const struct ww_pack_report *report, char **out,
                                       struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err
ww_report_pack_inspect_json(const struct ww_pack_inspection *inspection, char **out,
                            struct ww_error *err) WW_MUST_USE;
/** The same as a page of its own with pictures. */
WW_API enum ww_err
ww_report_pack_inspect_html(const struct ww_pack_inspection *inspection, char **out,
                            struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_pack_rows_json(const struct ww_pack_rows_report *report,
                                            char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_policy_test_json(const struct ww_policy_test_report *report,
                                              char **out,
                                              struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_policy_sign_json(const struct ww_policy_signed *report,
                                              char **out,
                                              struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err
ww_report_policy_check_json(const struct ww_policy_check_report *report, char **out,
                            struct ww_error *err) WW_MUST_USE;
/** text: of ww_policy_explain. */
WW_API enum ww_err ww_report_policy_text_json(const char *text, char **out,
                                              struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_collect_json(const struct ww_collect_report *report,
                                          char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_probe_json(const struct ww_probe_report *report, char **out,
                                        struct ww_error *err) WW_MUST_USE;
/** word: "fit" or "run"; recipe: where it was written, or NULL. */
WW_API enum ww_err ww_report_fusion_json(const struct ww_fusion_report *report,
                                         const char *word, const char *recipe, char **out,
                                         struct ww_error *err) WW_MUST_USE;
/** The fit as a page of its own; WW_E_USAGE without the report's details. */
WW_API enum ww_err ww_report_fusion_html(const struct ww_fusion_report *report,
                                         char **out, struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_report_serve_json(const struct ww_serve_report *report, char **out,
                                        struct ww_error *err) WW_MUST_USE;
/** The object for a refusal or an error: schema and "error": {code, class, text}. */
WW_API enum ww_err ww_report_error_json(const char *verb, const struct ww_error *failure,
                                        char **out, struct ww_error *err) WW_MUST_USE;

/** Write a report's text as a new file, whole on the disk or not there. WW_E_EXISTS,
 *  WW_E_PATH, WW_E_NOSPACE, WW_E_IO. */
WW_API enum ww_err ww_report_save(const char *path, const char *text,
                                  struct ww_error *err) WW_MUST_USE;

/** Count NaN and infinite elements of all float tensors, reading every weight file once.
 *  WW_E_IO, WW_E_NOMEM. */
WW_API enum ww_err ww_inspect_nonfinite(const struct ww_model *model, uint64_t *count,
                                        struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
