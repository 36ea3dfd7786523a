/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_evo_odd FAMILY [DRAWS]: pools that are not as one would wish, each fitted to
 * DRAWS drawings of few or many items, and what then holds on 512 others. For the
 * adaptive rule: bits over the best single member of the fitted items, how often they are
 * more than that member's, and what confirming makes of it: how often the rule is kept
 * although it is worse on another 512 items, and how often it is given up.
 *
 * Members: experts of rev, caesar, sort and swap, the base, a sibling of another task, an
 * unrelated model, one that says the same of every token, one that is sure of random
 * tokens. Tasks mixed.
 */
#include "ww_amber.h"
#include "ww_random.h"

#include "evo/confirm.h"

#define TASKS 4
#define ROWS 128 /* of each task and part */
#define TOP 20
#define REAL 7
#define ALL 9

static const char *const tasks[TASKS] = {"rev", "caesar", "sort", "swap"};
static const char *const folders[REAL] = {"expert-rev",  "expert-caesar", "expert-sort",
                                          "expert-swap", "base",          "sibling-dup",
                                          "unrelated"};
enum { REV, CAESAR, SORT, SWAP, BASE, DUP, OTHER, FLAT, SURE };

static const struct odd_pool {
    const char *name;
    uint32_t k, member[8];
    uint32_t items; /* fitted; 0: as many as there are */
    uint32_t top;
    uint32_t one_task; /* 1 + task */
} pools[] = {
    {"four experts", 4, {REV, CAESAR, SORT, SWAP}, 0, TOP, 0},
    {"four experts, 20 items", 4, {REV, CAESAR, SORT, SWAP}, 20, TOP, 0},
    {"four experts, lists of 5, 20 items", 4, {REV, CAESAR, SORT, SWAP}, 20, 5, 0},
    {"one much better, three of no use", 4, {REV, BASE, DUP, OTHER}, 0, TOP, 1},
    {"the same, 20 items", 4, {REV, BASE, DUP, OTHER}, 20, TOP, 1},
    {"experts and one flat", 5, {REV, CAESAR, SORT, SWAP, FLAT}, 20, TOP, 0},
    {"experts and one sure of nonsense", 5, {REV, CAESAR, SORT, SWAP, SURE}, 20, TOP, 0},
    {"one expert, one sure of nonsense", 2, {REV, SURE}, 20, TOP, 1},
    {"nonsense and flat alone", 2, {SURE, FLAT}, 20, TOP, 0},
    {"one expert twice, its task", 2, {REV, REV}, 20, TOP, 1},
    {"one expert twice and another", 3, {REV, REV, CAESAR}, 20, TOP, 0},
    {"of no use, all three", 3, {BASE, DUP, OTHER}, 20, TOP, 0},
    {"one member", 1, {REV}, 20, TOP, 0},
};

/* What all members say of one part. */
static enum ww_err ask(const char *family, const char *split, size_t from,
                       struct ww_answers *out, struct ww_error *err)
{
    char *owned[REAL];
    struct amber_row *row = ww_calloc((size_t)TASKS * ROWS, sizeof(*row));
    enum ww_err rc = row ? WW_OK : WW_E_NOMEM;
    for (unsigned m = 0; m < REAL; m++) {
        owned[m] = ww_asprintf("%s/%s", family, folders[m]);
    }
    for (unsigned t = 0; t < TASKS && !rc; t++) {
        char *path = ww_asprintf("%s/tasks/%s.%s.jsonl", family, tasks[t], split);
        rc = amber_rows(owned[0], path, from, ROWS, row + (size_t)t * ROWS, err);
        ww_free(path);
    }
    if (!rc) {
        rc = amber_answers((const char *const *)owned, REAL, row, (size_t)TASKS * ROWS,
                           TOP, out, err);
    }
    for (unsigned m = 0; m < REAL; m++) {
        ww_free(owned[m]);
    }
    ww_free(row);
    return rc;
}

/* A member that is no model; lists [TOP] are the caller's. */
static void make_up(uint32_t kind, uint32_t gold, uint32_t v, uint64_t *seed,
                    uint32_t *token, double *logprob, struct ww_answer_at *at)
{
    const uint32_t from = (uint32_t)(fx_random(seed) % v);
    const double first = kind == FLAT ? 1.0 / v : 0.98;
    const double rest = kind == FLAT ? 1.0 / v : 0.02 / (v - 1);
    at->gold = log(rest);
    for (uint32_t i = 0; i < TOP; i++) {
        token[i] = (from + i) % v;
        logprob[i] = log(i == 0 ? first : rest);
        at->gold = token[i] == gold ? logprob[i] : at->gold;
    }
    at->top = (struct ww_pool_list){token, logprob, TOP};
}

/* Those members, those items [n] of what all say. */
static enum ww_err choose(const struct ww_answers *all, const struct odd_pool *pool,
                          const size_t *items, size_t n, struct ww_pool_set *set,
                          struct ww_error *err)
{
    static uint32_t token[TASKS * ROWS * AMBER_MOST][TOP];
    static double logprob[TASKS * ROWS * AMBER_MOST][TOP];
    struct ww_answers a = {
        .k = pool->k, .top = pool->top, .n = n, .vocabulary = all->vocabulary};
    size_t made = 0;
    a.item = ww_calloc(n, sizeof(*a.item));
    for (size_t i = 0; i < n; i++) {
        const struct ww_answer_item *from = &all->item[items[i]];
        struct ww_answer_item *to = &a.item[i];
        uint64_t seed = 77 + items[i];
        *to = *from;
        to->at = ww_calloc((size_t)to->n * a.k, sizeof(*to->at));
        to->prompt_surprise = ww_calloc(a.k, sizeof(double));
        for (size_t p = 0; p < to->n; p++) {
            for (uint32_t m = 0; m < a.k; m++) {
                const uint32_t which = pool->member[m];
                struct ww_answer_at *at = &to->at[p * a.k + m];
                if (which >= REAL) {
                    make_up(which, to->gold[p], all->vocabulary, &seed, token[made],
                            logprob[made], at);
                    made++;
                } else {
                    *at = from->at[p * REAL + which];
                }
                at->top.n = at->top.n < pool->top ? at->top.n : pool->top;
            }
        }
    }
    enum ww_err rc = ww_pool_set_make(&a, set, err);
    for (size_t i = 0; i < n; i++) {
        ww_free(a.item[i].at);
        ww_free(a.item[i].prompt_surprise);
    }
    ww_free(a.item);
    return rc;
}

/* Items of the pool's tasks, in a drawn order; how many. */
static size_t draw(const struct odd_pool *pool, uint64_t seed, size_t *items)
{
    size_t n = 0;
    for (size_t i = 0; i < (size_t)TASKS * ROWS; i++) {
        if (!pool->one_task || i / ROWS == pool->one_task - 1) {
            items[n++] = i;
        }
    }
    for (size_t i = n; i > 1 && seed > 0; i--) {
        const size_t j = (size_t)(fx_random(&seed) % i);
        const size_t kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
    return n;
}

struct told {
    double gain, least; /* bits per token saved: mean over drawings, and the worst */
    unsigned worse, given_up, wrongly_kept;
};

static enum ww_err bits_of(enum ww_rule_id id, const struct ww_pool_set *fit,
                           const struct ww_pool_set *held, struct ww_item_score *out,
                           struct ww_error *err)
{
    const struct ww_rule_fit options = {.seed = 1};
    struct ww_rule rule;
    enum ww_err rc = ww_rule_fit(id, fit, &options, &rule, err);
    return rc ? rc : ww_score_items(&rule, held, out, err);
}

/* One drawing: fit, confirm on one part, look at another. */
static enum ww_err one(const struct ww_pool_set *fit, const struct ww_pool_set held[2],
                       struct told *told, struct ww_error *err)
{
    static struct ww_item_score single[TASKS * ROWS], rule[TASKS * ROWS];
    struct ww_confirm c[2];
    enum ww_err rc = WW_OK;
    for (int part = 0; part < 2 && !rc; part++) {
        rc = bits_of(WW_RULE_BEST_SINGLE, fit, &held[part], single, err);
        rc = rc ? rc : bits_of(WW_RULE_ADAPTIVE, fit, &held[part], rule, err);
        rc = rc ? rc : ww_confirm(rule, single, held[part].items, 1, &c[part], err);
    }
    if (!rc) {
        told->gain += c[1].bits_gain;
        told->least = c[1].bits_gain < told->least ? c[1].bits_gain : told->least;
        told->worse += c[1].bits.high < 0;
        told->given_up += !c[0].better;
        told->wrongly_kept += c[0].better && c[1].bits.high < 0;
    }
    return rc;
}

static enum ww_err try_pool(const struct odd_pool *pool, const struct ww_answers all[3],
                            unsigned draws, struct ww_error *err)
{
    static size_t items[TASKS * ROWS];
    struct ww_pool_set held[2] = {{0}, {0}};
    struct told told = {.least = INFINITY};
    const unsigned times = pool->items ? draws : 1;
    enum ww_err rc = WW_OK;
    for (int part = 0; part < 2 && !rc; part++) {
        const size_t n = draw(pool, 0, items);
        rc = choose(&all[1 + part], pool, items, n, &held[part], err);
    }
    for (unsigned d = 0; d < times && !rc; d++) {
        struct ww_pool_set fit = {0};
        const size_t n = draw(pool, 1000 + d, items);
        rc = choose(&all[0], pool, items, pool->items ? pool->items : n, &fit, err);
        rc = rc ? rc : one(&fit, held, &told, err);
        ww_pool_set_release(&fit);
    }
    if (!rc) {
        printf("%-36s %3u  %+8.4f  %+8.4f  %5u  %5u  %5u\n", pool->name, times,
               told.gain / times, told.least, told.worse, told.given_up,
               told.wrongly_kept);
        fflush(stdout);
    }
    ww_pool_set_release(&held[0]);
    ww_pool_set_release(&held[1]);
    return rc;
}

int main(int argc, char **argv)
{
    static const char *const split[] = {"valid", "test", "test"};
    struct ww_answers all[3] = {{0}, {0}, {0}};
    struct ww_error err = {0};
    enum ww_err rc = WW_OK;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_evo_odd FAMILY [DRAWS]\n");
        return 2;
    }
    const unsigned draws = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20;
    for (int part = 0; part < 3 && !rc; part++) {
        rc = ask(argv[1], split[part], part == 2 ? ROWS : 0, &all[part], &err);
    }
    printf("%-36s fits  gain, mean and least  worse  given up  wrongly kept\n", "pool");
    for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]) && !rc; i++) {
        rc = try_pool(&pools[i], all, draws, &err);
    }
    for (int part = 0; part < 3; part++) {
        amber_release(&all[part]);
    }
    if (rc) {
        fprintf(stderr, "bench_evo_odd: %s\n", err.text);
    }
    return rc ? 1 : 0;
}
