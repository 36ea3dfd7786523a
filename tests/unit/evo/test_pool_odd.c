/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that are not as one would wish: whatever is in them, the adaptive rule is not
 * worse than the best single member by more than chance, and nothing is confirmed that is
 * not better. */
#include "pool_world.h"

#include "evo/confirm.h"

#define FEW 20
#define HELD 90
#define SEEDS 3
#define NOTHING                                                                          \
    0.01 /* bits per token: what it costs to have others in the pool at all              \
          */

enum kind { ONE_KNOWS, TWINS, NONSENSE, LISTS_OF_5 };

/* Member m says that a token drawn at random is next, and is sure of it. */
static void be_sure(struct pool_world *w, size_t i, uint32_t p, uint32_t m,
                    uint64_t *seed)
{
    const uint32_t said = (uint32_t)(fx_random(seed) % V);
    struct ww_answer_at *at = &w->at[i][p * K + m];
    at->gold = log(w->gold[i][p] == said ? 0.98 : 0.02 / (V - 1));
    for (uint32_t v = 0; v < V; v++) {
        w->token[i][p][m][v] = (said + v) % V;
        w->logprob[i][p][m][v] = log(v == 0 ? 0.98 : 0.02 / (V - 1));
    }
}

static void make(struct pool_world *w, enum kind kind, size_t n, uint64_t seed)
{
    world_make(w, n, 30, kind == LISTS_OF_5 ? 5 : V, seed);
    for (size_t i = 0; i < n; i++) {
        for (uint32_t p = 0; p < LONG; p++) {
            if (kind == ONE_KNOWS || kind == TWINS) {
                world_say(w, i, p, 0, 30, V, &seed);
                world_say(w, i, p, 1, 0, V, &seed);
                world_say(w, i, p, 2, 0, V, &seed);
            }
            if (kind == TWINS) {
                w->at[i][p * K + 1] = w->at[i][p * K];
                w->at[i][p * K + 2] = w->at[i][p * K];
            }
            if (kind == NONSENSE) {
                be_sure(w, i, p, 2, &seed);
            }
        }
    }
}

static struct ww_confirm gain_of(enum kind kind, uint64_t seed)
{
    static struct pool_world fitted, held;
    static struct ww_item_score single[HELD], rule[HELD];
    const struct ww_rule_fit options = {.seed = 1};
    struct ww_pool_set fit_set, held_set;
    struct ww_error err = {0};
    struct ww_rule r;
    struct ww_confirm c;
    make(&fitted, kind, FEW, seed);
    make(&held, kind, HELD, seed + 100);
    OK(ww_pool_set_make(&fitted.answers, &fit_set, &err));
    OK(ww_pool_set_make(&held.answers, &held_set, &err));
    OK(ww_rule_fit(WW_RULE_BEST_SINGLE, &fit_set, &options, &r, &err));
    OK(ww_score_items(&r, &held_set, single, &err));
    OK(ww_rule_fit(WW_RULE_ADAPTIVE, &fit_set, &options, &r, &err));
    OK(ww_score_items(&r, &held_set, rule, &err));
    OK(ww_confirm(rule, single, HELD, 1, &c, &err));
    ww_pool_set_release(&fit_set);
    ww_pool_set_release(&held_set);
    return c;
}

static void twenty_items_do_no_harm(void **state)
{
    (void)state;
    static const enum kind kinds[] = {ONE_KNOWS, NONSENSE, LISTS_OF_5};
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            const struct ww_confirm c = gain_of(kinds[k], seed);
            if (c.bits.high < -NOTHING) {
                fail_msg("pool %zu, seed %d: %.3f bits worse", k, (int)seed,
                         -c.bits_gain);
            }
        }
    }
    assert_true(gain_of(NONSENSE, 1).better); /* two know half of the items each */
}

static void what_is_no_better_is_not_confirmed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        assert_false(gain_of(TWINS, seed).better);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(twenty_items_do_no_harm),
        cmocka_unit_test(what_is_no_better_is_not_confirmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
