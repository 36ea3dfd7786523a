/* SPDX-License-Identifier: Apache-2.0 */
/* What whoever packs should know of a member, and may not have meant. */
#include <unistd.h>

#include "model/adapter_lock.h"
#include "rmm/packing.h"
#include "util/fail.h"
#include "util/str.h"
#include "weightward/key.h"
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

/* Does an adapter follow the lock of this base? Where one of them does not say which, it
 * does not. */
static bool follows(const struct ww_member *m, const struct ww_model *base)
{
    struct ww_key_binding binding;
    struct ww_adapter_lock lock;
    char lock_id[2 * sizeof(binding.lock_id) + 1];
    bool same = false;

    if (ww_adapter_lock_read(m->dirfd, m->name, &lock, NULL)) {
        return false;
    }
    if (!ww_lock_binding_of(base->path, NULL, &binding, NULL)) {
        ww_hex(lock_id, binding.lock_id, sizeof(binding.lock_id));
        same = ww_str_eq(lock.lock_id, lock_id);
    }
    ww_adapter_lock_release(&lock);
    return same;
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

/* One line about a member, of those that are asked for. */
struct doubt {
    bool is;
    const char *text;
};

static enum ww_err add_doubts(const struct ww_packing *p, const struct ww_member *m,
                              struct ww_pack_report *report, struct ww_error *err)
{
    const bool beside = p->base && !p->options->inverses;
    const bool locked_base = beside && ww_model_is_locked(p->base);
    const bool open_base = beside && !locked_base;
    const bool changed = m->error > 0 || m->loose;
    const bool locked = (changed || beside) && is_locked(m);
    const struct doubt doubts[] = {
        {changed && locked, "is locked and comes back changed, so it cannot be unlocked "
                            "any more: for that pack it exactly"},
        {open_base && locked && !m->adapter,
         "is locked and the base is not, which tells next to nothing of its weights: the "
         "base locked with the same key does"},
        {open_base && locked && m->adapter,
         "follows a lock and the base is not locked, so it is not this one's: the base "
         "locked with the same key is"},
        {locked_base && !locked && !m->adapter,
         "is not locked and the base is, which tells next to nothing of its weights: the "
         "base before it was locked does"},
        {locked_base && !locked && m->adapter,
         "follows no lock and the base is locked, so it is not this one's: the base "
         "before it was locked is"},
        {locked_base && locked && m->adapter && !follows(m, p->base),
         "follows another lock than the base's, so it is not this one's: the base that "
         "it "
         "was locked with is"},
        {m->adapter && m->error > 0 && !m->opened,
         "is an adapter with settings that are not understood, so all of it is packed "
         "exactly"},
    };
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(doubts) && !rc; i++) {
        if (doubts[i].is) {
            rc = ww_lines_add(&report->warnings, &report->n_warnings, err,
                              "member '%.120s' %s", m->name, doubts[i].text);
        }
    }
    return rc;
}

enum ww_err ww_packing_doubts(const struct ww_packing *p, struct ww_pack_report *report,
                              struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < p->n_given && !rc; i++) {
        const struct ww_member *m = &p->members[i];
        const unsigned share = p->base && !m->adapter ? predicted(m) : 100;
        rc = add_doubts(p, m, report, err);
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
