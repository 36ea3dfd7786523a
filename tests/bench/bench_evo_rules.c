/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_evo_rules FAMILY [TOP] [DISTRACTOR...]
 *
 * All rules on four experts of a family (rev, caesar, sort, swap), tasks mixed: fitted to
 * 64 rows of each task's valid split, scored on 128 rows of each test split. Members are
 * run by the reference forward pass, lists are cut after TOP tokens (20). Distractors are
 * further folders of the family.
 */
#include "ww_amber.h"

#include "evo/confirm.h"

#define TASKS 4
#define FIT 64
#define HELD 128
#define MOST_MEMBERS 12
#define SEED 1

static const char *const tasks[TASKS] = {"rev", "caesar", "sort", "swap"};

static enum ww_err answers(const char *family, const char *split, size_t rows,
                           const char *const *folders, uint32_t k, uint32_t top,
                           struct ww_pool_set *set, struct ww_error *err)
{
    struct amber_row *row = ww_calloc(TASKS * rows, sizeof(*row));
    struct ww_answers said = {0};
    enum ww_err rc = row ? WW_OK : WW_E_NOMEM;
    for (unsigned t = 0; t < TASKS && !rc; t++) {
        char *path = ww_asprintf("%s/tasks/%s.%s.jsonl", family, tasks[t], split);
        rc = amber_rows(folders[0], path, 0, rows, row + t * rows, err);
        ww_free(path);
    }
    if (!rc) {
        rc = amber_answers(folders, k, row, TASKS * rows, top, &said, err);
    }
    if (!rc) {
        rc = ww_pool_set_make(&said, set, err);
    }
    amber_release(&said);
    ww_free(row);
    return rc;
}

static void tell(const char *name, const struct ww_item_score *items, size_t n)
{
    const struct ww_score s = ww_score_mean(items, NULL, n);
    printf("%-14s %.4f  %5.1f  %5.1f ", name, s.bits, 100 * s.next, 100 * s.whole);
}

static enum ww_err one_rule(enum ww_rule_id id, const struct ww_pool_set *fit,
                            const struct ww_pool_set *held, struct ww_item_score *single,
                            struct ww_item_score *score, struct ww_error *err)
{
    const struct ww_rule_fit options = {.seed = SEED};
    struct ww_rule rule;
    struct ww_confirm c;
    enum ww_err rc = ww_rule_fit(id, fit, &options, &rule, err);
    if (!rc) {
        rc = ww_score_items(&rule, held, score, err);
    }
    if (!rc && id == WW_RULE_BEST_SINGLE) {
        memcpy(single, score, held->items * sizeof(*score));
    }
    if (!rc) {
        rc = ww_confirm(score, single, held->items, SEED, &c, err);
    }
    if (rc) {
        return rc;
    }
    tell(ww_rule_name(id), score, held->items);
    printf(" gain %.3f [%.3f, %.3f]", c.bits_gain, c.bits.low, c.bits.high);
    if (id == WW_RULE_ADAPTIVE) {
        printf(" surprise %.3f entropy %.3f", rule.linear.a[0], rule.linear.a[1]);
    }
    printf("\n");
    return WW_OK;
}

int main(int argc, char **argv)
{
    struct ww_error err = {0};
    struct ww_pool_set fit = {0}, held = {0};
    char *owned[MOST_MEMBERS] = {0};
    const char *folders[MOST_MEMBERS];
    uint32_t k = 0;
    if (argc < 2 || argc - 3 + TASKS > MOST_MEMBERS) {
        fprintf(stderr, "usage: bench_evo_rules FAMILY [TOP] [DISTRACTOR...]\n");
        return 2;
    }
    const uint32_t top = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 20;
    for (; k < TASKS; k++) {
        owned[k] = ww_asprintf("%s/expert-%s", argv[1], tasks[k]);
    }
    for (int i = 3; i < argc; i++) {
        owned[k++] = ww_asprintf("%s/%s", argv[1], argv[i]);
    }
    memcpy(folders, owned, sizeof(folders));
    enum ww_err rc = answers(argv[1], "valid", FIT, folders, k, top, &fit, &err);
    if (!rc) {
        rc = answers(argv[1], "test", HELD, folders, k, top, &held, &err);
    }
    struct ww_item_score *single = ww_calloc(held.items, sizeof(*single));
    struct ww_item_score *score = ww_calloc(held.items, sizeof(*score));
    printf("%u members, lists of %u, %zu positions fitted, %zu held out\n", k, top, fit.n,
           held.n);
    printf("rule           bits    next %%  whole %%\n");
    for (unsigned id = 0; id < WW_RULE_COUNT && !rc; id++) {
        rc = one_rule((enum ww_rule_id)id, &fit, &held, single, score, &err);
    }
    if (!rc) {
        rc = ww_score_oracle(&held, score, &err);
    }
    if (!rc) {
        tell("oracle", score, held.items);
        printf("\n");
    } else {
        fprintf(stderr, "bench_evo_rules: %s\n", err.text);
    }
    ww_free(single);
    ww_free(score);
    ww_pool_set_release(&fit);
    ww_pool_set_release(&held);
    for (uint32_t i = 0; i < k; i++) {
        ww_free(owned[i]);
    }
    return rc ? 1 : 0;
}
