/* SPDX-License-Identifier: Apache-2.0 */
/* merge --reversible: the package that gives the sources of a merge back. */
#ifndef WW_CLI_REVERSIBLE_H
#define WW_CLI_REVERSIBLE_H

#include "cli.h"
#include "cli_guard.h"
#include "weightward/merge.h"

struct cli_reversible {
    char *path;
    char **to;
};

/* Before anything is merged: can this recipe be solved, is the package's name free? */
enum ww_err cli_reversible_check(const struct cli_reversible *opt, const char *recipe,
                                 const struct ww_merge_options *options,
                                 struct ww_error *err);
/* Are its sources permitted to be handed on? Before anything is merged too. The decision
 * goes beside the package: that of the merge has the place of --decision.
 * key: whose decision it is, which that of the merge has opened. */
enum ww_err cli_reversible_ask(const struct cli_reversible *opt,
                               const struct cli_guard *guard,
                               const struct cli_common *common, const char *recipe,
                               const struct ww_merge_options *options,
                               struct ww_signkey *key, struct cli_verdict *verdict,
                               struct ww_error *err);
/* Have all sources but a base that is no input coded while the merge is computed, which
 * takes half of the memory that the options say. *out is to be freed on failure too. */
struct cli_reversing;
enum ww_err cli_reversible_begin(const struct cli_reversible *opt, const char *recipe,
                                 struct ww_merge_options *options,
                                 struct cli_reversing **out, struct ww_error *err);
void cli_reversible_free(struct cli_reversing *reversing);
/* The package of the merged folder. */
enum ww_err cli_reversible_write(const struct cli_reversible *opt,
                                 const struct cli_common *common,
                                 struct cli_reversing *reversing, const char *merged,
                                 const struct ww_merge_options *options,
                                 const struct cli_verdict *verdict, struct ww_error *err);

#endif
