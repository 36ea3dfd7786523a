/* SPDX-License-Identifier: Apache-2.0 */
/* Searches with a program that knows the answer: they find it, say when there is nothing
 * to find, and end with the same bytes however often they were interrupted. */
#include <stdio.h>

#include "evo/search_space.h"
#include "search_place.h"

static void the_best_recipe_is_found(void **state)
{
    (void)state;
    struct place p = make(VARIABLES);
    struct ww_search_report r;
    OK(search(&p, "quadratic", 120, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.score > -1e-3);
    assert_false(r.has_interval); /* three times the same is one observation */
    NEAR(r.start_score, -0.45, 1e-12);
    assert_true(r.trials <= 120 && r.made == r.trials && r.failed == 0);
    assert_true(r.recipe && strncmp(r.recipe, "x: [0.", 6) == 0);
    ww_search_report_release(&r);
    FAILS(search(&p, "quadratic", 120, 2, NULL, NULL, &r, &err), WW_E_EXISTS);
    done(&p);
}

static void scores_by_item_give_an_interval(void **state)
{
    (void)state;
    struct place p = make(VARIABLES "repeats: 1\n");
    struct ww_search_report r;
    OK(search(&p, "items", 90, 2, NULL, NULL, &r, &err));
    assert_true(r.has_gain && r.interval[0] > 0.3 && r.interval[1] < 0.6);
    assert_true(r.interval[0] < r.gain && r.gain < r.interval[1]);
    ww_search_report_release(&r);
    done(&p);
}

static void nothing_to_find_is_said(void **state)
{
    (void)state;
    struct place p = make(VARIABLES);
    struct ww_search_report r;
    OK(search(&p, "noise", 80, 2, NULL, NULL, &r, &err));
    assert_false(r.has_gain);
    assert_string_equal(r.chosen, "start");
    assert_string_equal(r.recipe, "x: [0, 0]\n");
    ww_search_report_release(&r);
    done(&p);
}

static void failures_rank_last_and_end_nothing(void **state)
{
    (void)state;
    const char *modes[] = {"fails", "garbage", "killed"};
    for (size_t i = 0; i < 3; i++) {
        struct place p = make(VARIABLES "retries: 0\n");
        struct ww_search_report r;
        OK(search(&p, modes[i], 60, 2, NULL, NULL, &r, &err));
        assert_true(r.failed > 3 && r.has_gain && r.score > -0.05);
        ww_search_report_release(&r);
        done(&p);
    }
    struct place p = make(VARIABLES "retries: 0\n");
    struct ww_search_report r;
    FAILS(search(&p, "dead", 120, 2, NULL, NULL, &r, &err), WW_E_NO_MATCH);
    done(&p);
}

struct stopper {
    uint64_t at;
};

static int stop_at(void *payload, const char *phase, uint64_t done_, uint64_t total)
{
    const struct stopper *s = payload;
    (void)phase;
    (void)total;
    return done_ >= s->at;
}

/* Stopped again and again, its journal's end cut off in between. */
static void interrupted_runs_end_with_the_same_bytes(void **state)
{
    (void)state;
    const char *spaces[] = {VARIABLES,
                            VARIABLES "objectives: {loss: minimise, gain: maximise}\n"
                                      "leaders: 2\n"};
    const char *modes[] = {"items", "two"};
    for (int k = 0; k < 2; k++) {
        struct place p = make(spaces[k]);
        struct ww_search_report r;
        OK(search(&p, modes[k], 90, 1, NULL, NULL, &r, &err));
        ww_search_report_release(&r);
        struct ww_buf want = contents(p.out);
        remove(p.out);
        remove(p.journal);
        for (uint64_t at = 5; at < 80; at += 17) {
            struct stopper s = {at};
            FAILS(search(&p, modes[k], 90, 3, stop_at, &s, &r, &err), WW_E_CANCELLED);
            struct ww_buf j = contents(p.journal);
            OK(ww_file_write(p.journal, j.data, j.len - at, 0600, true, &err));
            ww_buf_release(&j);
        }
        OK(search(&p, modes[k], 90, 2, NULL, NULL, &r, &err));
        assert_true(r.made < r.trials);
        ww_search_report_release(&r);
        struct ww_buf got = contents(p.out);
        assert_int_equal(got.len, want.len);
        assert_memory_equal(got.data, want.data, want.len);
        FAILS(search(&p, "noise", 90, 2, NULL, NULL, &r, &err), WW_E_EXISTS);
        ww_buf_release(&got);
        ww_buf_release(&want);
        done(&p);
    }
}

static void a_front_is_spread_between_its_ends(void **state)
{
    (void)state;
    struct place p = make(VARIABLES "objectives: {loss: minimise, gain: maximise}\n");
    struct ww_search_report r;
    OK(search(&p, "two", 300, 2, NULL, NULL, &r, &err));
    assert_string_equal(r.chosen, "front");
    assert_true(r.front >= 8 && r.failed == 0);
    /* The start (0, 0) is an end of the true front, so a front from it gains nothing in
     * loss; its volume above the start is 0, and no volume is claimed. */
    assert_true(r.hypervolume == 0);
    ww_search_report_release(&r);
    done(&p);
    p = make("recipe: |\n  x: ${x}\nvariables:\n"
             "  x: {low: -2, high: 2, start: 1.5, values: 2}\n"
             "objectives: {loss: minimise, gain: maximise}\n");
    OK(search(&p, "two", 300, 2, NULL, NULL, &r, &err));
    /* From (1.5, 1.5), loss 4.5, gain -2.5, the true front (x, 0) dominates
     * the integral of 2.5 - (x - 1)^2 over the loss x^2 in [0, 1], and 2.5 beyond: */
    double truth = 2.5 * 3.5 + 2.5 - (0.5 - 4.0 / 3 + 1);
    assert_true(r.hypervolume > 0.93 * truth && r.hypervolume < truth);
    ww_search_report_release(&r);
    done(&p);
}

static void wrong_spaces_are_refused(void **state)
{
    (void)state;
    const struct {
        const char *text;
        enum ww_err want;
    } cases[] = {
        {"recipe: 'x: ${x}'\nvariables: {x: {low: 1, high: 0, start: 0}}\n", WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nvariables: {x: {low: 0, high: 1, start: 2}}\n", WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nvariables: {x: {low: 0, high: 1}}\n", WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nvariables: {x: {low: 0, high: 1, start: 0, step: 0}}\n",
         WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nvariables: {x: {low: 0, high: 1, start: 0.5, scale: log}}\n",
         WW_E_RECIPE},
        {"recipe: 'x: ${y}'\nvariables: {x: {low: 0, high: 1, start: 0}}\n", WW_E_RECIPE},
        {"recipe: 'x: 1'\nvariables: {x: {low: 0, high: 1, start: 0}}\n", WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nvariables: {x: {low: 0, hight: 1, start: 0}}\n",
         WW_E_RECIPE},
        {"recipe: 'x: ${x}'\ngaol: maximise\n", WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nrecipe_file: r\nvariables: {x: {low: 0, high: 1, start: "
         "0}}\n",
         WW_E_RECIPE},
        {"variables: {x: {low: 0, high: 1, start: 0}}\n", WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nobjectives: {a: maximise}\n"
         "variables: {x: {low: 0, high: 1, start: 0}}\n",
         WW_E_RECIPE},
        {VARIABLES "l1: -1\n", WW_E_RECIPE},
        {VARIABLES "method: surrogate\n", WW_E_RECIPE},
        {VARIABLES "method: crossover\npatience: 1\n", WW_E_RECIPE},
        {VARIABLES "objectives: {loss: minimise, gain: maximise}\nscreen: 1\n",
         WW_E_RECIPE},
        {VARIABLES "objectives: {loss: minimise, gain: maximise}\nl1: 1\n", WW_E_RECIPE},
        {VARIABLES "repeats: 65536\nleaders: 65533\n", WW_E_USAGE},
        {"recipe: 'x: ${x}'\nscreen: 1\n"
         "variables: {x: {low: 0, high: 1, start: 0, level: 0}}\n",
         WW_E_RECIPE},
        {"adapters: {pool: [a], level: 0}\n", WW_E_RECIPE},
        {"adapters: {pool: [a], low: 0.5}\n", WW_E_RECIPE},
        {"adapters: {pool: [a], step: x}\n", WW_E_RECIPE},
        {"adapters: {pool: []}\n", WW_E_RECIPE},
        {"adapters: {pool: [a/]}\n", WW_E_RECIPE},
        {"adapters: [a]\n", WW_E_RECIPE},
        {"adapters: {pool: ['a${b}']}\n", WW_E_RECIPE},
        {VARIABLES "method: crossover\nscreen: 1\n", WW_E_RECIPE},
        {VARIABLES "objectives: {loss: minimise, gain: maximise}\nmethod: cma\n",
         WW_E_RECIPE},
        {"recipe: 'x: ${x}'\nvariables: {x: {low: 0, high: 1, start: 0, level: 2}}\n",
         WW_E_RECIPE},
        {"recipe: [", WW_E_YAML},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct place p = make(cases[i].text);
        struct ww_search_report r;
        struct ww_error e = {0};
        enum ww_err rc = search(&p, "quadratic", 100, 1, NULL, NULL, &r, &e);
        if (rc != cases[i].want) {
            fail_msg("%s: %s, %s", cases[i].text, ww_err_name(rc), e.text);
        }
        done(&p);
    }
    struct place p = make(VARIABLES);
    struct ww_search_report r;
    FAILS(search(&p, "quadratic", 20, 1, NULL, NULL, &r, &err), WW_E_USAGE);
    done(&p);
}

static void numbers_are_written_as_yaml_reads_them(void **state)
{
    (void)state;
    struct ww_space s;
    struct ww_buf text;
    struct place p = make("recipe: 'a: ${a}, b: ${b}'\nvariables:\n"
                          "  a: {low: 1e-9, high: 1, start: 1.0e-5, scale: log}\n"
                          "  b: {low: -1, high: 1, start: 0.5, values: 3, step: 0.1}\n");
    double x[4] = {1e-5, 0.1, -1, 0};
    double u[4];
    double back[4];
    ww_buf_init(&text, 1000);
    OK(ww_space_read(p.space, &s, &err));
    assert_int_equal(s.d, 4);
    OK(ww_space_render(&s, x, &text, &err));
    assert_string_equal(ww_buf_cstr(&text), "a: 1.0e-05, b: [0.1, -1, 0]");
    ww_space_to_steps(&s, x, u);
    NEAR(u[0], log(1e-5) / 0.5, 1e-12);
    NEAR(u[1], 1, 1e-12);
    ww_space_from_steps(&s, u, back);
    for (int i = 0; i < 4; i++) {
        NEAR(back[i], x[i], 1e-14);
    }
    u[2] = -100;
    ww_space_from_steps(&s, u, back);
    assert_true(back[2] == -1);
    ww_space_release(&s);
    ww_buf_release(&text);
    done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_recipe_is_found),
        cmocka_unit_test(scores_by_item_give_an_interval),
        cmocka_unit_test(nothing_to_find_is_said),
        cmocka_unit_test(failures_rank_last_and_end_nothing),
        cmocka_unit_test(interrupted_runs_end_with_the_same_bytes),
        cmocka_unit_test(a_front_is_spread_between_its_ends),
        cmocka_unit_test(wrong_spaces_are_refused),
        cmocka_unit_test(numbers_are_written_as_yaml_reads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
