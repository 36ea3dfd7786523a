/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Policies: who may do what with which model, as documents that can be read, tested and
 * explained. What they are worth is said in docs/threat-model.md: on somebody else's
 * machine only the custody of keys enforces anything.
 */
#ifndef WEIGHTWARD_POLICY_H
#define WEIGHTWARD_POLICY_H

#include <stdbool.h>
#include <stddef.h>

#include "weightward/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The effective rules of a policy file, one line each in order of id; free *text with
 *  ww_policy_text_free. WW_E_POLICY, WW_E_VERSION. */
WW_API enum ww_err ww_policy_explain(const char *path, char **text,
                                     struct ww_error *err) WW_MUST_USE;
WW_API void ww_policy_text_free(char *text);

/** One case of a decision table. */
struct ww_policy_case {
    char *name;
    bool permit;
    char reason[32];  /* a stable word: docs/formats/policy.md */
    char **rules;     /* ids of the rules that decided */
    size_t n_rules;
    char failed[32];  /* the condition of the nearest permit that did not hold, or "" */
    char model[65];   /* tensor root of the model that was denied, or "" */
    bool as_expected; /* true when nothing was expected */
};

struct ww_policy_test_report {
    struct ww_policy_case *cases;
    size_t n_cases;
    size_t n_wrong; /* other than expected */
};
WW_API void ww_policy_test_report_release(struct ww_policy_test_report *report);

/** Evaluate a table of requests under policies. The facts in a table are claims. WW_OK also
 *  when cases come out otherwise: see n_wrong. */
WW_API enum ww_err ww_policy_test(const char *table, const char *const *policies,
                                  size_t n_policies, struct ww_policy_test_report *report,
                                  struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
