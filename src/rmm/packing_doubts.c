/* SPDX-License-Identifier: Apache-2.0 */
/* What whoever packs should know of a member, and may not have meant. */
#include <unistd.h>

#include "rmm/packing.h"
#include "util/str.h"
#include "weightward/lock.h"

#define FEW 50 /* percent of a model's bytes that a base should be able to tell */

static bool is_locked(const struct ww_member *m)
{
    struct ww_model *model = NULL;
    bool locked = false;

    if (m->adapter) {
        return faccessat(m->dirfd, WW_ADAPTER_LOCK, F_OK, 0) == 0;
    }
    if (!ww_model_open(m->path, &model, NULL)) {
        locked = ww_model_is_locked(model);
        ww_model_close(model);
    }
    return locked;
}

/* Of its tensors: percent of the bytes that are predicted by the base's. */
static unsigned predicted(const struct ww_member *m)
{
    uint64_t all = 0;
    uint64_t by_base = 0;

    for (uint32_t p = 0; p < m->table.n_parts; p++) {
        const struct ww_pack_table_part *part = &m->table.parts[p];
        all += part->tensor ? part->bytes : 0;
        by_base += part->tensor && m->base_tensors[p] != WW_NONE ? part->bytes : 0;
    }
    return all ? (unsigned)((double)by_base / (double)all * 100) : 100;
}

enum ww_err ww_packing_doubts(const struct ww_packing *p, struct ww_pack_report *report,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < p->n_given && !rc; i++) {
        const struct ww_member *m = &p->members[i];
        const bool changed = m->error > 0 || m->loose;
        const unsigned share = p->base && !m->adapter ? predicted(m) : 100;
        if (changed && is_locked(m)) {
            rc = ww_lines_add(&report->warnings, &report->n_warnings, err,
                              "member '%.120s' is locked and comes back changed, so it "
                              "cannot be unlocked any more: for that pack it exactly",
                              m->name);
        }
        if (!rc && share < FEW) {
            rc = ww_lines_add(&report->warnings, &report->n_warnings, err,
                              "member '%.120s': %u %% of its weights have names and "
                              "shapes of the base's, and its dtypes or others of BF16, "
                              "F16 and F32; the rest is coded exactly and without it",
                              m->name, share);
        }
    }
    return rc;
}
