/* SPDX-License-Identifier: Apache-2.0 */
/* By which way a method merges adapters: sums, factors, or differences multiplied out. */
#include <string.h>

#include "merge/lora_job.h"
#include "util/fail.h"

const struct ww_lora_rule *ww_lora_rule_of(enum ww_lora_way way)
{
    static const struct ww_lora_rule rules[] = {
        [WW_LORA_FACTORS] = {WW_LORA_KEEP_ALL, false},
        [WW_LORA_FACTORS_TIES] = {WW_LORA_KEEP_LARGEST, true},
        [WW_LORA_FACTORS_PRUNED] = {WW_LORA_KEEP_LARGEST, false},
        [WW_LORA_FACTORS_DARE] = {WW_LORA_KEEP_BY_CHANCE, false},
        [WW_LORA_FACTORS_DARE_TIES] = {WW_LORA_KEEP_BY_CHANCE, true},
        [WW_LORA_WHOLE_TIES] = {WW_LORA_KEEP_LARGEST, true},
        [WW_LORA_WHOLE_PRUNED] = {WW_LORA_KEEP_LARGEST, false},
        [WW_LORA_WHOLE_DARE] = {WW_LORA_KEEP_BY_CHANCE, false},
        [WW_LORA_WHOLE_DARE_TIES] = {WW_LORA_KEEP_BY_CHANCE, true},
    };
    return &rules[way];
}

bool ww_lora_by_chance(enum ww_lora_way way)
{
    return way >= WW_LORA_FACTORS &&
           ww_lora_rule_of(way)->prune == WW_LORA_KEEP_BY_CHANCE;
}

static enum ww_err check_sign(const struct ww_lora_job *job, struct ww_error *err)
{
    const bool elects = job->way >= WW_LORA_FACTORS && ww_lora_rule_of(job->way)->elect;

    return job->recipe->adapter.by_count && !elects
               ? WW_FAIL(err, WW_E_RECIPE,
                         "line %zu: 'sign: frequency' is for methods that elect a sign: "
                         "ties and dare_ties by factors or whole",
                         job->recipe->adapter.line)
               : WW_OK;
}

enum combine { SUM, FACTORS, WHOLE };

enum ww_err ww_lora_choose_way(struct ww_lora_job *job, struct ww_error *err)
{
    static const struct {
        const char *method;
        enum combine combine;
        enum ww_lora_way way;
    } ways[] = {
        {"linear", SUM, WW_LORA_SUM},
        {"task_arithmetic", SUM, WW_LORA_SUM},
        {"knots", SUM, WW_LORA_KNOTS},
        {"core_space", SUM, WW_LORA_CORE},
        {"linear", FACTORS, WW_LORA_FACTORS},
        {"task_arithmetic", FACTORS, WW_LORA_FACTORS},
        {"ties", FACTORS, WW_LORA_FACTORS_TIES},
        {"breadcrumbs", FACTORS, WW_LORA_FACTORS_PRUNED},
        {"dare_linear", FACTORS, WW_LORA_FACTORS_DARE},
        {"dare_ties", FACTORS, WW_LORA_FACTORS_DARE_TIES},
        {"ties", WHOLE, WW_LORA_WHOLE_TIES},
        {"breadcrumbs", WHOLE, WW_LORA_WHOLE_PRUNED},
        {"dare_linear", WHOLE, WW_LORA_WHOLE_DARE},
        {"dare_ties", WHOLE, WW_LORA_WHOLE_DARE_TIES},
    };
    const struct ww_recipe *r = job->recipe;
    const enum combine combine = r->adapter.factors ? FACTORS
                                 : r->adapter.whole ? WHOLE
                                                    : SUM;

    for (size_t i = 0; i < WW_LEN(ways); i++) {
        if (strcmp(ways[i].method, r->method->name) == 0 && ways[i].combine == combine) {
            job->way = ways[i].way;
            return check_sign(job, err);
        }
    }
    return WW_FAIL(
        err, WW_E_UNSUPPORTED,
        "method '%s' does not merge adapters%s; linear, task_arithmetic, knots and "
        "core_space do, ties, breadcrumbs, dare_linear and dare_ties with 'combine: "
        "factors' or 'combine: whole', and any method merges models named BASE+ADAPTER",
        r->method->name,
        r->adapter.factors ? " by factors"
        : r->adapter.whole ? " by whole differences"
                           : "");
}
