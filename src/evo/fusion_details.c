/* SPDX-License-Identifier: Apache-2.0 */
/* Scores are computed again rule by rule, which costs little beside the fits. */
#include "evo/fusion_details.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

void ww_fusion_details_free(struct ww_fusion_details *d)
{
    if (!d) {
        return;
    }
    for (size_t i = 0; d->members && i < d->n_members; i++) {
        ww_free(d->members[i]);
    }
    for (size_t i = 0; d->tasks && i < d->n_tasks; i++) {
        ww_free(d->tasks[i].name);
        ww_free(d->tasks[i].rules);
        ww_free(d->tasks[i].members);
    }
    ww_free(d->members);
    ww_free(d->weights);
    ww_free(d->tasks);
    ww_free(d);
}

static void add_weights(const struct ww_rule *rule, const struct ww_pool_set *set,
                        double *out)
{
    double w[WW_POOL_MAX_MEMBERS];
    double sum = 0;
    if (rule->id == WW_RULE_BEST_SINGLE) {
        out[rule->member] = 1;
        return;
    }
    if (!ww_rule_is_linear(rule->id)) {
        memcpy(out, rule->w, set->k * sizeof(*out));
        return;
    }
    for (size_t t = 0; t < set->n; t++) {
        ww_pool_linear_weights(&rule->linear, &set->at[t], w);
        sum += set->at[t].weight;
        for (uint32_t m = 0; m < set->k; m++) {
            out[m] += set->at[t].weight * w[m];
        }
    }
    for (uint32_t m = 0; m < set->k && sum > 0; m++) {
        out[m] /= sum;
    }
}

static enum ww_err name_members(const struct ww_fusion_fitted *fit,
                                struct ww_fusion_details *d, struct ww_error *err)
{
    const size_t k = fit->members->k;
    bool good = true;
    d->members = ww_calloc(k, sizeof(char *));
    d->weights = ww_calloc(fit->n_rules * k, sizeof(*d->weights));
    good = d->members && d->weights;
    d->n_members = good ? k : 0;
    for (size_t i = 0; i < d->n_members; i++) {
        d->members[i] = ww_strdup(fit->members->member[i].name);
        good = good && d->members[i];
    }
    return good ? WW_OK : WW_FAIL_MEMORY(err, "members' weights");
}

/* Group of every item, in the order in which tasks are first named. */
static enum ww_err group(const struct ww_fusion_fitted *fit, size_t *group_of,
                         struct ww_fusion_details *d, struct ww_error *err)
{
    d->tasks = ww_calloc(WW_FUSION_MAX_TASKS, sizeof(*d->tasks));
    if (!d->tasks) {
        return WW_FAIL_MEMORY(err, "tasks");
    }
    for (size_t i = 0; i < fit->tasks->n; i++) {
        const char *name = fit->tasks->item[i].task;
        size_t g = 0;
        while (g < d->n_tasks && strcmp(d->tasks[g].name, name) != 0) {
            g++;
        }
        if (g == WW_FUSION_MAX_TASKS) {
            g--;
        } else if (g == d->n_tasks) {
            d->tasks[g].name =
                ww_strdup(g + 1 < WW_FUSION_MAX_TASKS ? name : "all other tasks");
            if (!d->tasks[g].name) {
                return WW_FAIL_MEMORY(err, "tasks");
            }
            d->n_tasks++;
        }
        group_of[i] = g;
        d->tasks[g].items++;
    }
    for (size_t g = 0; g < d->n_tasks; g++) {
        struct ww_fusion_task *t = &d->tasks[g];
        t->has_intervals = fit->confirmed && t->items >= WW_CONFIRM_LEAST;
        t->rules = ww_calloc(fit->n_rules, sizeof(*t->rules));
        t->members = ww_calloc(fit->members->k, sizeof(*t->members));
        if (!t->rules || !t->members) {
            return WW_FAIL_MEMORY(err, "tasks");
        }
    }
    return WW_OK;
}

/* Room for the scores of one group's items, of a rule and of the best single member. */
struct room {
    struct ww_item_score *score;         /* all items */
    struct ww_item_score *rule, *single; /* the group's */
    size_t *group_of;
};

static enum ww_err score_task(const struct ww_fusion_fitted *fit, const struct room *r,
                              size_t g, const struct ww_fusion_task *task,
                              const char *name, struct ww_fusion_rule *out,
                              struct ww_error *err)
{
    struct ww_confirm c = {0};
    size_t n = 0;
    for (size_t i = 0; i < fit->tasks->n; i++) {
        if (r->group_of[i] == g) {
            r->rule[n] = r->score[i];
            r->single[n++] = fit->single[i];
        }
    }
    const struct ww_score score = ww_score_mean(r->rule, NULL, n);
    *out = (struct ww_fusion_rule){.name = name,
                                   .bits = score.bits,
                                   .next = score.next,
                                   .whole = score.whole,
                                   .gain = ww_score_mean(r->single, NULL, n).bits -
                                           score.bits};
    if (!task->has_intervals) {
        return WW_OK;
    }
    enum ww_err rc = ww_confirm(r->rule, r->single, n, fit->seed, &c, err);
    out->low = c.bits.low;
    out->high = c.bits.high;
    return rc;
}

/* One rule, or one member alone, in all tasks. */
static enum ww_err score_tasks(const struct ww_fusion_fitted *fit, const struct room *r,
                               const struct ww_rule *rule, bool member, size_t at,
                               struct ww_fusion_details *d, struct ww_error *err)
{
    enum ww_err rc = ww_score_items(rule, fit->scored, r->score, err);
    for (size_t g = 0; g < d->n_tasks && !rc; g++) {
        struct ww_fusion_task *t = &d->tasks[g];
        rc = score_task(fit, r, g, t, member ? d->members[at] : ww_rule_name(rule->id),
                        member ? &t->members[at] : &t->rules[at], err);
    }
    return rc;
}

static enum ww_err score_all(const struct ww_fusion_fitted *fit,
                             struct ww_fusion_details *d, struct ww_error *err)
{
    const size_t n = fit->scored->items;
    struct room r = {.score = ww_calloc(n, sizeof(*r.score)),
                     .rule = ww_calloc(n, sizeof(*r.rule)),
                     .single = ww_calloc(n, sizeof(*r.single)),
                     .group_of = ww_calloc(n, sizeof(*r.group_of))};
    enum ww_err rc = r.score && r.rule && r.single && r.group_of
                         ? group(fit, r.group_of, d, err)
                         : WW_FAIL_MEMORY(err, "%zu scores", n);
    for (size_t i = 0; i < fit->n_rules && !rc; i++) {
        rc = score_tasks(fit, &r, fit->rules[i], false, i, d, err);
    }
    for (uint32_t m = 0; m < fit->members->k && !rc; m++) {
        const struct ww_rule alone = {
            .id = WW_RULE_BEST_SINGLE, .k = fit->members->k, .member = m};
        rc = score_tasks(fit, &r, &alone, true, m, d, err);
    }
    ww_free(r.score);
    ww_free(r.rule);
    ww_free(r.single);
    ww_free(r.group_of);
    return rc;
}

enum ww_err ww_fusion_details_make(const struct ww_fusion_fitted *fit,
                                   struct ww_fusion_details **out, struct ww_error *err)
{
    struct ww_fusion_details *d = ww_calloc(1, sizeof(*d));
    enum ww_err rc = d ? WW_OK : WW_FAIL_MEMORY(err, "a fit's details");
    if (!rc) {
        rc = name_members(fit, d, err);
    }
    for (size_t i = 0; i < fit->n_rules && !rc; i++) {
        add_weights(fit->rules[i], fit->scored, d->weights + i * d->n_members);
    }
    if (!rc) {
        rc = score_all(fit, d, err);
    }
    if (!rc && fit->confirmed) {
        rc = ww_fusion_curve(fit, d, err);
    }
    if (rc) {
        ww_fusion_details_free(d);
        d = NULL;
    }
    *out = d;
    return rc;
}
