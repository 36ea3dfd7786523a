/* SPDX-License-Identifier: Apache-2.0 */
/* Screens, patience, penalties, crossover and surrogates, with a program that knows what
 * they should find. */
#include "search_place.h"

#include <math.h>
#include <stdio.h>

#include "evo/search_int.h"
#include "evo/surrogate.h"
#include "util/fail.h"
#include "ww_random.h"

#define SIX                                                                              \
    "recipe: 'x: [${a}, ${b}, ${c}, ${d}, ${e}, ${f}]'\nvariables:\n"                    \
    "  a: {low: -1.5, high: 1.5, start: 0, step: 0.15, level: 0.4}\n"                    \
    "  b: {low: -1.5, high: 1.5, start: 0, step: 0.15, level: 0.4}\n"                    \
    "  c: {low: -1.5, high: 1.5, start: 0, step: 0.15, level: 0.4}\n"                    \
    "  d: {low: -1.5, high: 1.5, start: 0, step: 0.15, level: 0.4}\n"                    \
    "  e: {low: -1.5, high: 1.5, start: 0, step: 0.15, level: 0.4}\n"                    \
    "  f: {low: -1.5, high: 1.5, start: 0, step: 0.15, level: 0.4}\n"

/* Ends with the same bytes when it was stopped on the way. */
static void resumes(const char *space, const char *mode, uint32_t evaluations)
{
    struct place p = make(space);
    struct ww_search_report r;
    OK(search(&p, mode, evaluations, 2, NULL, NULL, &r, &err));
    ww_search_report_release(&r);
    struct ww_buf want = contents(p.out);
    struct ww_buf journal = contents(p.journal);
    for (size_t cut = 1; cut < 4; cut++) {
        remove(p.out);
        OK(ww_file_write(p.journal, journal.data, journal.len * cut / 4, 0600, true,
                         &err));
        OK(search(&p, mode, evaluations, 1, NULL, NULL, &r, &err));
        assert_true(r.made > 0 && r.made < r.trials);
        ww_search_report_release(&r);
        struct ww_buf got = contents(p.out);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
        ww_buf_release(&got);
    }
    ww_buf_release(&want);
    ww_buf_release(&journal);
    done(&p);
}

static void a_screen_keeps_what_helps(void **state)
{
    (void)state;
    struct place p = make(SIX "screen: 1\nrepeats: 1\nleaders: 2\n");
    struct ww_search_report r;
    OK(search(&p, "few", 90, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.n_numbers == 6 && r.n_curve > 2);
    assert_string_equal(r.numbers[1].name, "b");
    assert_true(r.numbers[0].chosen > 0.4 && r.numbers[0].chosen < 0.8);
    assert_true(r.numbers[1].chosen > 0.4 && r.numbers[1].chosen < 0.8);
    for (int i = 2; i < 6; i++) {
        assert_true(r.numbers[i].chosen == 0);
    }
    ww_search_report_release(&r);
    struct ww_buf text = contents(p.out);
    assert_non_null(strstr(ww_buf_cstr(&text), "\"kept\": true"));
    assert_non_null(strstr(ww_buf_cstr(&text), "\"kept\": false"));
    ww_buf_release(&text);
    done(&p);
    p = make(SIX "screen: 5\n");
    FAILS(search(&p, "few", 16, 2, NULL, NULL, &r, &err), WW_E_USAGE); /* 7 + 4 + 6 */
    done(&p);
    resumes(SIX "screen: 1\nrepeats: 1\nleaders: 1\n", "few", 45);
}

/* What helps alone and only repeats another one goes; rounds end with the budget. */
static void a_screen_leaves_out_what_only_repeats(void **state)
{
    (void)state;
    struct place p = make(SIX "screen: 3\nrepeats: 1\nleaders: 1\n");
    struct ww_search_report r;
    OK(search(&p, "repeats", 60, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.numbers[2].chosen == 0);
    NEAR(r.numbers[0].chosen, 0.6, 0.2);
    NEAR(r.numbers[1].chosen, 0.6, 0.2);
    ww_search_report_release(&r);
    struct ww_buf text = contents(p.out);
    assert_non_null(strstr(ww_buf_cstr(&text), "\"screen_rounds\": 3"));
    ww_buf_release(&text);
    done(&p);
    /* 7 for the first round, 4 places and the last pair, no more */
    p = make(SIX "screen: 3\nrepeats: 1\nleaders: 1\n");
    OK(search(&p, "repeats", 13, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.trials == 13 && r.generations == 0);
    ww_search_report_release(&r);
    done(&p);
    p = make(SIX "screen: 3\nrepeats: 1\nleaders: 1\n");
    FAILS(search(&p, "repeats", 12, 2, NULL, NULL, &r, &err), WW_E_USAGE);
    done(&p);
}

/* Each kind of items needs a variable of its own; what helps all of them alone, by more
 * than chance, harms beside those. The budget ends behind the screen or goes on. */
static void a_screen_keeps_what_each_kind_of_items_needs(void **state)
{
    (void)state;
    static const uint32_t budgets[] = {40, 90};
    for (int k = 0; k < 2; k++) {
        struct place p = make(SIX "screen: 8\nrepeats: 1\nleaders: 1\n");
        struct ww_search_report r;
        OK(search(&p, "kinds", budgets[k], 2, NULL, NULL, &r, &err));
        assert_true(r.has_gain);
        /* what is left is for no generation and no row of places */
        assert_true(k > 0 || r.trials + 4 > budgets[k]);
        for (int i = 0; i < 6; i++) {
            NEAR(r.numbers[i].chosen, i < 3 ? 0.6 : 0, i < 3 ? 0.15 : 0);
        }
        ww_search_report_release(&r);
        struct ww_buf text = contents(p.out);
        const char *d = strstr(ww_buf_cstr(&text), "\"d\": {");
        assert_non_null(d); /* alone it helps */
        assert_true(strtod(strstr(d, "\"effect\": ") + 10, NULL) > 0.05);
        ww_buf_release(&text);
        done(&p);
    }
    resumes(SIX "screen: 8\nrepeats: 1\nleaders: 1\n", "kinds", 40);
}

/* A variable whose trials fail says nothing for itself, one that harms says more. */
static void a_screen_does_not_take_what_failed(void **state)
{
    (void)state;
    struct place p = make("recipe: 'x: [${a}, ${b}]'\nvariables:\n"
                          "  a: {low: 0, high: 2, start: 0, step: 0.2, level: 1}\n"
                          "  b: {low: 0, high: 2, start: 0.6, step: 0.2, level: 1}\n"
                          "screen: 1\nretries: 0\nrepeats: 1\nleaders: 1\n");
    struct ww_search_report r;
    OK(search(&p, "fails", 40, 2, NULL, NULL, &r, &err));
    assert_true(r.numbers[0].chosen == 0);
    ww_search_report_release(&r);
    struct ww_buf text = contents(p.out);
    const char *screen = strstr(ww_buf_cstr(&text), "\"b\": {");
    assert_non_null(screen);
    assert_non_null(strstr(screen, "\"kept\": true"));
    ww_buf_release(&text);
    done(&p);
}

/* From the end of the box the screen goes the other way. */
static void a_screen_looks_into_the_box(void **state)
{
    (void)state;
    struct place p = make("recipe: 'x: [${a}, ${b}]'\nvariables:\n"
                          "  a: {low: -1, high: 1.5, start: 1.5, step: 0.5}\n"
                          "  b: {low: -1, high: 1.5, start: -0.5, step: 0.5}\n"
                          "screen: 1\nrepeats: 1\nleaders: 1\n");
    struct ww_search_report r;
    OK(search(&p, "few", 60, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.numbers[0].chosen < 1);
    ww_search_report_release(&r);
    done(&p);
}

static void what_was_not_scored_again_is_not_compared(void **state)
{
    (void)state;
    struct place p = make(VARIABLES "retries: 0\nrepeats: 1\nleaders: 1\n");
    struct ww_search_report r;
    OK(search(&p, "early", 30, 2, NULL, NULL, &r, &err));
    assert_string_equal(r.chosen, "start");
    assert_true(!r.has_gain && isnan(r.gain) && isnan(r.score) && isnan(r.start_score));
    ww_search_report_release(&r);
    struct ww_buf text = contents(p.out);
    assert_non_null(strstr(ww_buf_cstr(&text), "\"start_score\": null"));
    assert_non_null(strstr(ww_buf_cstr(&text), "\"compared\": null"));
    ww_buf_release(&text);
    done(&p);
}

static void patience_ends_a_search(void **state)
{
    (void)state;
    struct place p = make(VARIABLES "patience: 3\nitems: same\n");
    struct ww_search_report r;
    OK(search(&p, "quadratic", 2000, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.score > -0.05);
    assert_true(r.trials < 600);
    ww_search_report_release(&r);
    done(&p);
}

/* -(x - 0.6)^2 - (y - 0.6)^2 ... and l1 (|x| + ...) / 6: each optimum of what helps is
 * 0.6 - l1 / 12, and where l1 / 6 outweighs 2 * 0.6 it is 0. */
static void a_penalty_shrinks(void **state)
{
    (void)state;
    struct place p = make(SIX "l1: 3.6\nitems: same\nrepeats: 1\n");
    struct ww_search_report r;
    OK(search(&p, "few", 250, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain);
    NEAR(r.numbers[0].chosen, 0.3, 0.1);
    NEAR(r.numbers[1].chosen, 0.3, 0.1);
    ww_search_report_release(&r);
    done(&p);
}

static void crossover_joins_what_parents_can_do(void **state)
{
    (void)state;
    static const char space[] =
        "recipe: 'x: ${x}'\nmethod: crossover\nleaders: 2\nrepeats: 1\n"
        "variables: {x: {low: -2, high: 2, start: -1, step: 0.2, values: 5}}\n";
    struct place p = make(space);
    struct ww_search_report r;
    OK(search(&p, "tasks", 220, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.score > 0.85); /* the best of 20 random points: 0.5 */
    assert_true(r.curve[0].best < 0.75);
    ww_search_report_release(&r);
    done(&p);
    p = make(space);
    FAILS(search(&p, "noise", 100, 2, NULL, NULL, &r, &err), WW_E_NO_MATCH);
    done(&p);
    p = make(space);
    FAILS(search(&p, "tasks", 20, 2, NULL, NULL, &r, &err), WW_E_USAGE);
    done(&p);
    resumes(space, "tasks", 40);
}

/* The rule of a cover as it is described, every variable asked each time. */
static void plain_cover(const struct ww_screen_gains *g, bool *stays)
{
    double *best = ww_calloc(g->items, sizeof(*best));
    double first = 0;
    for (;;) {
        double adds = 0;
        uint32_t next = 0;
        for (uint32_t v = 0; v < g->n; v++) {
            double mean = 0;
            double sum = 0;
            for (uint32_t i = 0; i < g->items; i++) {
                mean += g->gain[(size_t)i * g->n + v];
                sum += fmax(0, g->gain[(size_t)i * g->n + v] - best[i]);
            }
            if (mean > 0 && !stays[v] && sum > adds) {
                next = v;
                adds = sum;
            }
        }
        if (adds <= 0.01 * first) {
            break;
        }
        first = fmax(first, adds);
        stays[next] = true;
        for (uint32_t i = 0; i < g->items; i++) {
            best[i] = fmax(best[i], g->gain[(size_t)i * g->n + next]);
        }
    }
    ww_free(best);
}

static void a_cover_takes_what_adds_most(void **state)
{
    (void)state;
    static double gain[400 * 40];
    uint64_t seed = 9;
    for (uint32_t run = 0; run < 20; run++) {
        const struct ww_screen_gains g = {.n = 40, .items = 20 * (run + 1), .gain = gain};
        bool want[40] = {false};
        bool got[40] = {false};
        uint32_t n = 0;
        for (uint32_t i = 0; i < g.n * g.items; i++) { /* few values, so there are ties */
            gain[i] = (double)(fx_random(&seed) % 5) - 1.9;
        }
        plain_cover(&g, want);
        OK(ww_screen_cover(&g, got, &err));
        for (uint32_t v = 0; v < g.n; v++) {
            n += want[v];
            assert_int_equal(got[v], want[v]);
        }
        assert_true(n > 1 && n < g.n);
    }
}

/* The scores are quadratics, so the surrogate's front is the true one. */
static void a_surrogate_finds_the_front_with_few_trials(void **state)
{
    (void)state;
    static const char space[] =
        "recipe: 'x: ${x}'\nmethod: surrogate\nleaders: 4\n"
        "variables: {x: {low: -2, high: 2, start: 1.5, values: 2}}\n"
        "objectives: {loss: minimise, gain: maximise}\n";
    struct place p = make(space);
    struct ww_search_report r;
    OK(search(&p, "two", 40, 2, NULL, NULL, &r, &err));
    const double truth = 2.5 * 3.5 + 2.5 - (0.5 - 4.0 / 3 + 1);
    assert_true(r.front >= 8 && r.trials <= 40);
    assert_true(r.hypervolume > 0.9 * truth && r.hypervolume < truth);
    assert_int_equal(r.n_objectives, 2);
    NEAR(r.points[0], 4.5, 1e-12);
    ww_search_report_release(&r);
    struct ww_buf text = contents(p.out);
    assert_non_null(strstr(ww_buf_cstr(&text), "\"surrogate\": {"));
    ww_buf_release(&text);
    done(&p);
    p = make(space);
    FAILS(search(&p, "two", 20, 2, NULL, NULL, &r, &err), WW_E_USAGE);
    done(&p);
    resumes(space, "two", 30);
}

/* Trials of a journal that are of what another one was of. */
static uint32_t paid_twice(const char *path)
{
    static const char key[] = "\"what\":\"";
    const size_t hex = 64;
    struct ww_buf text = contents(path);
    uint32_t twice = 0;
    for (const char *a = strstr(ww_buf_cstr(&text), key); a; a = strstr(a + 1, key)) {
        for (const char *b = strstr(a + 1, key); b; b = strstr(b + 1, key)) {
            twice += strncmp(a, b, sizeof(key) - 1 + hex) == 0;
        }
    }
    ww_buf_release(&text);
    return twice;
}

/* The corners of a box that is smaller than a step are found again and again, and the
 * start is the best of one objective. */
static void a_front_pays_for_nothing_twice(void **state)
{
    (void)state;
    static const char *const methods[] = {"", "method: surrogate\n"};
    for (size_t i = 0; i < WW_LEN(methods); i++) {
        char space[512];
        (void)snprintf(space, sizeof(space),
                       "recipe: 'x: ${x}'\nleaders: 4\n%s"
                       "variables: {x: {low: 0, high: 1, start: 0, step: 5, values: 2}}\n"
                       "objectives: {loss: minimise, gain: maximise}\n",
                       methods[i]);
        struct place p = make(space);
        struct ww_search_report r;
        OK(search(&p, "two", 60, 2, NULL, NULL, &r, &err));
        assert_true(r.trials > 40 && r.front > 4);
        assert_int_equal(paid_twice(p.journal), 0);
        uint32_t starts = 0; /* it is of the front, once */
        for (uint32_t row = 1; row <= r.front; row++) {
            starts += r.points[(size_t)2 * row] == 0;
        }
        assert_int_equal(starts, 1);
        ww_search_report_release(&r);
        done(&p);
    }
}

/* Items that are the same by the space or by an evaluator that draws none are one
 * observation of a gain, however often they are asked about. */
static void the_same_items_are_one_observation(void **state)
{
    (void)state;
    static const struct {
        const char *items, *mode;
        uint32_t observations;
    } cases[] = {{"items: same\n", "quadratic", 1},
                 {"items: fresh\n", "quadratic", 1},
                 {"items: same\n", "items", 20},
                 {"items: fresh\n", "items", 60}};
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        char space[256];
        char want[64];
        (void)snprintf(space, sizeof(space), VARIABLES "leaders: 2\n%s", cases[i].items);
        (void)snprintf(want, sizeof(want), "\"observations\": %u\n",
                       cases[i].observations);
        struct place p = make(space);
        struct ww_search_report r;
        OK(search(&p, cases[i].mode, 60, 2, NULL, NULL, &r, &err));
        assert_int_equal(r.has_interval, cases[i].observations > 1);
        assert_true(r.has_gain);
        struct ww_buf text = contents(p.out);
        assert_non_null(strstr(ww_buf_cstr(&text), want));
        ww_buf_release(&text);
        if (strstr(cases[i].items, "same")) {
            assert_int_equal(paid_twice(p.journal), 0);
        }
        ww_search_report_release(&r);
        done(&p);
    }
}

static void a_surrogate_says_how_much_it_told(void **state)
{
    (void)state;
    double u[60][2], y[60], noise[60];
    uint64_t seed = 5;
    struct ww_surrogate s;
    for (int i = 0; i < 60; i++) {
        for (int k = 0; k < 2; k++) {
            u[i][k] = (double)(fx_random(&seed) >> 11) * 0x1p-52 - 1;
        }
        y[i] = 1 + 2 * u[i][0] - u[i][1] + 3 * u[i][0] * u[i][1] - u[i][1] * u[i][1];
        noise[i] = (double)(fx_random(&seed) >> 11) * 0x1p-53;
    }
    y[7] = (double)NAN; /* a failed trial */
    OK(ww_surrogate_fit(u[0], y, 60, 2, &s, &err));
    assert_true(s.told > 0.999);
    const double at[2] = {0.3, -0.7};
    NEAR(ww_surrogate_value(&s, at), 1 + 0.6 + 0.7 - 0.63 - 0.49, 1e-4);
    ww_surrogate_release(&s);
    OK(ww_surrogate_fit(u[0], noise, 60, 2, &s, &err));
    assert_true(s.told < 0.2);
    ww_surrogate_release(&s);
    FAILS(ww_surrogate_fit(u[0], y, 5, 2, &s, &err), WW_E_USAGE);
    FAILS(ww_surrogate_fit(u[0], y, 60, 25, &s, &err), WW_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_screen_keeps_what_helps),
        cmocka_unit_test(a_screen_leaves_out_what_only_repeats),
        cmocka_unit_test(a_screen_keeps_what_each_kind_of_items_needs),
        cmocka_unit_test(a_screen_does_not_take_what_failed),
        cmocka_unit_test(a_screen_looks_into_the_box),
        cmocka_unit_test(a_cover_takes_what_adds_most),
        cmocka_unit_test(what_was_not_scored_again_is_not_compared),
        cmocka_unit_test(patience_ends_a_search),
        cmocka_unit_test(a_penalty_shrinks),
        cmocka_unit_test(crossover_joins_what_parents_can_do),
        cmocka_unit_test(a_surrogate_finds_the_front_with_few_trials),
        cmocka_unit_test(a_front_pays_for_nothing_twice),
        cmocka_unit_test(the_same_items_are_one_observation),
        cmocka_unit_test(a_surrogate_says_how_much_it_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
