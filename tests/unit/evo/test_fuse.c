/* SPDX-License-Identifier: Apache-2.0 */
/* A pool while it answers says what the same pool said when it was scored. */
#include "pool_world.h"

#include "evo/fuse.h"
#include "evo/score.h"

static struct pool_world w;

static struct ww_span letters(uint32_t token)
{
    static const uint8_t name[V][2] = {"a", "b", "c", "d", "e", "f",
                                       "g", "h", "i", "j", "k", "l"};
    return (struct ww_span){name[token], 1};
}

/* Item i as the members of a server would say it. */
static void lists_of(size_t i, uint32_t p, uint32_t top, struct ww_span (*token)[V],
                     struct ww_fuse_list *lists)
{
    for (uint32_t m = 0; m < K; m++) {
        for (uint32_t v = 0; v < top; v++) {
            token[m][v] = letters(w.token[i][p][m][v]);
        }
        lists[m] = (struct ww_fuse_list){token[m], w.logprob[i][p][m], top};
    }
}

static uint32_t entry_of(const struct ww_fuse *fuse, uint32_t token)
{
    for (uint32_t i = 0; i < fuse->n; i++) {
        if (fuse->list[i].token.data[0] == (uint8_t)('a' + token)) {
            return i;
        }
    }
    fail_msg("token %u is in no list", token);
    return 0;
}

static void serving_chooses_as_scoring_did(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_pool_set set;
    world_make(&w, 30, 8, V, 11);
    OK(ww_pool_set_make(&w.answers, &set, &err));
    for (unsigned id = 0; id < WW_RULE_COUNT; id++) {
        const struct ww_rule_fit options = {.seed = 5, .evaluations = 300};
        struct ww_item_score score[MOST];
        struct ww_rule rule;
        OK(ww_rule_fit((enum ww_rule_id)id, &set, &options, &rule, &err));
        OK(ww_score_items(&rule, &set, score, &err));
        for (size_t i = 0; i < 30; i++) {
            struct ww_span token[K][V];
            struct ww_fuse_list lists[K];
            struct ww_fuse fuse;
            uint32_t right = 0;
            double nats = 0;
            ww_fuse_begin(&fuse, &rule, V);
            for (uint32_t p = 0; p < LONG; p++) {
                lists_of(i, p, V, token, lists);
                OK(ww_fuse_next(&fuse, lists, &err));
                uint32_t gold = entry_of(&fuse, w.gold[i][p]);
                right += gold == 0;
                nats -= fuse.list[gold].logprob;
                ww_fuse_take(&fuse, gold);
            }
            assert_int_equal(right, score[i].right);
            NEAR(nats, score[i].nats, 1e-9);
            ww_fuse_release(&fuse);
        }
    }
    ww_pool_set_release(&set);
}

static void a_cut_list_is_ordered_and_sums_to_less_than_one(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_rule rule = {.id = WW_RULE_UNIFORM, .k = K, .linear.k = K};
    struct ww_span token[K][V];
    struct ww_fuse_list lists[K];
    struct ww_fuse fuse;
    world_make(&w, 30, 8, V, 12);
    ww_fuse_begin(&fuse, &rule, V);
    for (size_t i = 0; i < 30; i++) {
        double sum = 0;
        lists_of(i, 0, 4, token, lists);
        OK(ww_fuse_next(&fuse, lists, &err));
        for (uint32_t e = 0; e < fuse.n; e++) {
            assert_true(e == 0 || fuse.list[e].logprob <= fuse.list[e - 1].logprob);
            sum += exp(fuse.list[e].logprob);
        }
        assert_true(sum <= 1 + 1e-9 && fuse.n >= 4 && fuse.n <= 12);
    }
    ww_fuse_release(&fuse);
}

static void draws_follow_the_pool(void **state)
{
    (void)state;
    struct ww_fuse_token list[3] = {{.logprob = log(0.6)},
                                    {.logprob = log(0.2)},
                                    {.logprob = log(0.1)}}; /* 0.1 is in no list */
    const struct ww_fuse fuse = {.list = list, .n = 3};
    unsigned count[3] = {0};
    uint64_t seed = 3;
    assert_int_equal(ww_fuse_draw(&fuse, 0, 1, 0.999), 0);
    assert_int_equal(ww_fuse_draw(&fuse, 1, 0.5, 0.999), 0);
    assert_int_equal(ww_fuse_draw(&fuse, 1, 0.8, 0.999), 1);
    assert_int_equal(ww_fuse_draw(&fuse, 1, 1, 0), 0);
    assert_int_equal(ww_fuse_draw(&fuse, 1, 1, 0.9999999), 2);
    for (unsigned i = 0; i < 20000; i++) {
        count[ww_fuse_draw(&fuse, 1, 1, world_uniform(&seed) - 0x1p-53)]++;
    }
    NEAR(count[0] / 20000.0, 0.6 / 0.9, 0.02);
    NEAR(count[2] / 20000.0, 0.1 / 0.9, 0.02);
}

static void lists_without_sense_are_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_rule rule = {.id = WW_RULE_UNIFORM, .k = 2, .linear.k = 2};
    const struct ww_span one[2] = {letters(0), letters(1)},
                         same[2] = {letters(2), letters(2)};
    const struct ww_span two[2] = {letters(2), letters(3)};
    const double l[2] = {-1, -2};
    struct ww_fuse_list lists[2] = {{one, l, 2}, {two, l, 2}};
    struct ww_fuse fuse;
    ww_fuse_begin(&fuse, &rule, 3);
    FAILS(ww_fuse_next(&fuse, lists, &err), WW_E_MALFORMED); /* four tokens of three */
    lists[1].token = same;
    FAILS(ww_fuse_next(&fuse, lists, &err), WW_E_MALFORMED);
    lists[1].n = 4;
    FAILS(ww_fuse_next(&fuse, lists, &err), WW_E_MALFORMED);
    lists[0].n = lists[1].n = 0;
    FAILS(ww_fuse_next(&fuse, lists, &err), WW_E_MALFORMED);
    ww_fuse_release(&fuse);
}

/* Who lists nothing knows nothing: each of the four tokens has a quarter. */
static void a_list_of_nothing_leaves_all_mass(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_rule rule = {.id = WW_RULE_UNIFORM, .k = 2, .linear.k = 2};
    const struct ww_span token[2] = {letters(0), letters(1)};
    const double l[2] = {log(0.6), log(0.2)};
    const struct ww_fuse_list lists[2] = {{token, l, 2}, {NULL, NULL, 0}};
    struct ww_fuse fuse;
    ww_fuse_begin(&fuse, &rule, 4);
    OK(ww_fuse_next(&fuse, lists, &err));
    assert_int_equal(fuse.n, 2);
    NEAR(exp(fuse.list[0].logprob), (0.6 + 0.25) / 2, 1e-12);
    NEAR(exp(fuse.list[1].logprob), (0.2 + 0.25) / 2, 1e-12);
    ww_fuse_take(&fuse, 0);
    NEAR(fuse.surprise[1], log(4), 1e-12);
    ww_fuse_release(&fuse);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serving_chooses_as_scoring_did),
        cmocka_unit_test(a_cut_list_is_ordered_and_sums_to_less_than_one),
        cmocka_unit_test(draws_follow_the_pool),
        cmocka_unit_test(lists_without_sense_are_refused),
        cmocka_unit_test(a_list_of_nothing_leaves_all_mass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
