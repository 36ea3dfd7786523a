/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What reversible merging by rows gives back, as adapters that can be tried: the paper's
 * claims are read on the same task and by the same bytes as ours. Each module of all
 * adapters goes there and back before the next one is read.
 */
#include <math.h>
#include <string.h>

#include "rmm/as_factors.h"
#include "rmm/rows_set.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/new_folder.h"

struct writing {
    struct ww_rows_set set;
    struct ww_peek *peeks;
    struct ww_extracting *made;
    struct ww_extract_report *reports;
    size_t n_room;
    double norm2;
    double error2;
};

static enum ww_err add_member(struct writing *w, const char *path, const char *name,
                              const struct ww_unpack_options *how, struct ww_error *err)
{
    struct ww_peek *peek = &w->peeks[w->set.n];
    enum ww_err rc = ww_peek_open(path, name, how, peek, err);

    if (!rc && !peek->adapter) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "member '%s' is no adapter; name those that are, 'weightward rmm "
                     "list' shows them",
                     name);
    }
    if (!rc) {
        rc = ww_inspect_check_pairs(peek, err);
    }
    if (rc) {
        ww_peek_close(peek);
        return rc;
    }
    return ww_rows_set_add(&w->set, peek, err);
}

static enum ww_err add_members(struct writing *w, const char *path,
                               const struct ww_pack_rows_options *options,
                               struct ww_error *err)
{
    const struct ww_unpack_options how = {.unsealer = options->unsealer,
                                          .public_key = options->public_key};
    struct ww_pack_report all = {0};
    enum ww_err rc = ww_pack_list(path, &all, err);
    const size_t n = options->names ? options->n_names : all.n_members;

    if (rc) {
        return rc;
    }
    if (n > WW_INSPECT_MEMBERS) {
        rc = WW_FAIL(err, WW_E_LIMIT, "%zu adapters, at most %d are taken together", n,
                     WW_INSPECT_MEMBERS);
    }
    w->n_room = n;
    w->peeks = ww_calloc(n, sizeof(*w->peeks));
    w->made = ww_calloc(n, sizeof(*w->made));
    w->reports = ww_calloc(n, sizeof(*w->reports));
    if (!rc && (!w->peeks || !w->made || !w->reports)) {
        rc = WW_FAIL_MEMORY(err, "adapters");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        if (options->names || all.members[i].adapter) {
            rc = add_member(w, path,
                            options->names ? options->names[i] : all.members[i].name,
                            &how, err);
        }
    }
    ww_pack_report_release(&all);
    return rc;
}

static uint64_t positions(const struct ww_rows_set *set)
{
    uint64_t n = 0;

    for (size_t k = 0; k < set->n_pairs; k++) {
        n += ww_rows_set_positions(set, k);
    }
    return n;
}

static enum ww_err choose(const struct ww_rows_set *set,
                          const struct ww_pack_rows_options *options,
                          struct ww_pack_rows_report *report, struct ww_error *err)
{
    const size_t most = ww_rows_set_most(set);
    const uint64_t n = positions(set);
    const size_t p = options->directions
                         ? options->directions
                         : ww_rows_within(set->n, set->r, n, options->bytes);
    const struct ww_rows rows = {.n = set->n, .r = set->r, .p = p};

    if (p == 0) {
        const struct ww_rows one = {.n = set->n, .r = set->r, .p = 1};
        return WW_FAIL(
            err, WW_E_LIMIT,
            "a budget of %llu bytes: one direction of %zu adapters takes %llu; "
            "allow more",
            (unsigned long long)options->bytes, set->n,
            (unsigned long long)(2 * n * ww_rows_numbers(&one)));
    }
    if (p > most) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "%zu directions of %zu adapters of rank %zu, expected 1 to %zu", p,
                       set->n, set->r, most);
    }
    report->adapters = set->n;
    report->directions = p;
    report->bytes = 2 * n * ww_rows_numbers(&rows);
    report->raw_bytes = 2 * n * set->n * set->r;
    return WW_OK;
}

static enum ww_err put(struct writing *w, size_t i, size_t k, struct ww_error *err)
{
    const struct ww_inspect_side *s = &w->set.back[i];
    const struct ww_lowrank f = {.rank = s->r,
                                 .a = ww_calloc(s->r * s->d, sizeof(*f.a)),
                                 .b = ww_calloc(s->r * s->m, sizeof(*f.b))};
    enum ww_err rc = f.a && f.b ? WW_OK : WW_FAIL_MEMORY(err, "adapters");

    for (size_t n = 0; n < s->r * s->d && !rc; n++) {
        f.a[n] = (float)s->a[n];
    }
    for (size_t n = 0; n < s->r * s->m && !rc; n++) {
        f.b[n] = (float)s->b[n];
    }
    if (!rc) {
        rc = ww_as_put_pair(&w->made[i], w->set.pairs[i][k].module, s->m, s->d, &f, err);
    }
    ww_free(f.a);
    ww_free(f.b);
    return rc;
}

static enum ww_err module(struct writing *w, size_t k, size_t p, struct ww_error *err)
{
    enum ww_err rc = ww_rows_set_read(&w->set, k, err);

    if (!rc) {
        rc = ww_rows_set_go(&w->set, p, err);
    }
    for (size_t i = 0; i < w->set.n && !rc; i++) {
        double norm2 = 0;
        double error2 = 0;
        ww_rows_set_measure(&w->set, i, &norm2, &error2);
        w->norm2 += norm2;
        w->error2 += error2;
        rc = put(w, i, k, err);
    }
    ww_rows_set_drop(&w->set);
    return rc;
}

static enum ww_err begin(struct writing *w, const char *out_path,
                         const struct ww_run_options *run, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < w->n_room; i++) {
        w->made[i].fd = -1;
    }
    for (size_t i = 0; i < w->set.n && !rc; i++) {
        struct ww_extracting *x = &w->made[i];
        x->report = &w->reports[i];
        x->run = run;
        x->portable = true;
        x->fan_in_fan_out = w->set.peeks[i]->adapter->fan_in_fan_out;
        x->rank = w->set.r;
        if (!ww_jstr(ww_jget(ww_json_root(w->set.peeks[i]->adapter->config), "task_type"),
                     &x->task)) {
            x->task = NULL;
        }
        rc = ww_extract_scratch(out_path, &x->fd, err);
    }
    return rc;
}

static enum ww_err write_all(void *payload, const char *folder, struct ww_error *err)
{
    struct writing *w = payload;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < w->set.n && !rc; i++) {
        const struct ww_peek *peek = w->set.peeks[i];
        char *path = ww_path_join(folder, peek->run.view.member->name);
        w->made[i].card =
            "---\nlibrary_name: peft\n---\n\nAn adapter as reversible model "
            "merging by rows gives it back.\n";
        rc = path ? ww_extract_write(&w->made[i],
                                     peek->adapter->base ? peek->adapter->base : "", path,
                                     NULL, err)
                  : WW_FAIL_MEMORY(err, "adapters");
        ww_free(path);
    }
    return rc;
}

static enum ww_err make(struct writing *w, const char *out_path, size_t directions,
                        struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t k = 0; k < w->set.n_pairs && !rc; k++) {
        rc = module(w, k, directions, err);
    }
    return rc ? rc : ww_new_folder(out_path, write_all, w, err);
}

static void release(struct writing *w)
{
    ww_rows_set_release(&w->set);
    for (size_t i = 0; i < w->n_room && w->peeks && w->made && w->reports; i++) {
        ww_peek_close(&w->peeks[i]);
        ww_extracting_release(&w->made[i]);
        ww_extract_report_release(&w->reports[i]);
    }
    ww_free(w->peeks);
    ww_free(w->made);
    ww_free(w->reports);
}

enum ww_err ww_pack_rows(const char *path, const char *out_path,
                         const struct ww_pack_rows_options *options,
                         struct ww_pack_rows_report *report, struct ww_error *err)
{
    struct writing w = {.n_room = 0};
    const char *why = NULL;
    enum ww_err rc = ww_path_check_new(out_path, err);

    memset(report, 0, sizeof(*report));
    if (!rc) {
        rc = add_members(&w, path, options, err);
    }
    if (!rc) {
        why = ww_rows_set_why_not(&w.set);
        rc = why ? WW_FAIL(err, WW_E_UNSUPPORTED, "%s", why) : WW_OK;
    }
    if (!rc) {
        rc = choose(&w.set, options, report, err);
    }
    if (w.made) {
        const enum ww_err begun = begin(&w, out_path, &options->run, rc ? NULL : err);
        rc = rc ? rc : begun;
    }
    if (!rc) {
        rc = make(&w, out_path, report->directions, err);
    }
    report->error = w.norm2 > 0 ? sqrt(w.error2 / w.norm2) : 0;
    release(&w);
    return rc;
}
