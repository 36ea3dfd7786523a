/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a package on their way into a merge. */
#ifndef WW_RMM_MIX_H
#define WW_RMM_MIX_H

#include "cli_rmm.h"

struct cli_mix {
    struct ww_pack_report package; /* what there is */
    bool *used;                    /* per member of it */
    char *members;                 /* the folder where they are restored */
    char *recipe;                  /* the file that names them there */
    bool base_unknown;             /* adapters are added to a base of which the package
                                      does not say whether it is theirs */
};

/** Write the recipe into the members' folder, and note whom it uses. */
enum ww_err cli_mix_recipe(const struct cli_rmm *opt, struct cli_mix *mix,
                           struct ww_error *err);
/** Members go to "OUT.members"; false without memory. free mix->members. */
bool cli_mix_name(struct cli_mix *mix, const char *out);
/** That folder, for its owner alone; it must not be there. */
enum ww_err cli_mix_make(const struct cli_mix *mix, struct ww_error *err);
enum ww_err cli_mix_restore(const struct cli_mix *mix, const char *package,
                            const char *name, const struct ww_unpack_options *options,
                            struct ww_error *err);
/** With all that is in it. */
enum ww_err cli_mix_remove(const struct cli_mix *mix, struct ww_error *err);
/** An error's text as one of what the user gave: members as member:NAME, and the recipe
 * as its file. */
void cli_mix_tell(const struct cli_mix *mix, const struct cli_rmm *opt,
                  struct ww_error *err);
/** "OUT.members/NAME", or NULL; free. */
char *cli_mix_path(const struct cli_mix *mix, const char *name);
/** Set the error; its code. */
enum ww_err cli_rmm_error(struct ww_error *err, enum ww_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
