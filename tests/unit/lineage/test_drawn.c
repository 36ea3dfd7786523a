/* SPDX-License-Identifier: Apache-2.0 */
/* A suspect beside a draw: what a recipe with masks by chance leaves passes whatever the
 * draw was, what another one leaves does not. Synthetic tensors in float32. */
#include <math.h>
#include <string.h>

#include "lineage/drawn.h"
#include "util/alloc.h"
#include "ww_test.h"

#define TENSORS 10
#define N 8192
#define SOURCES 2

/* How elements were drawn: a mask of each source, the longer half kept more by ramp and
 * the shorter one less. */
struct how {
    double weight[SOURCES];
    double density;
    double ramp;
    double noise;   /* added to what moved */
    bool elsewhere; /* something was added where no source moves */
    bool over;      /* weights change places half way through the tensors */
};
static const struct how recipe = {.weight = {0.6, 0.3}, .density = 0.5};

static double uniform(uint64_t *s)
{
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(*s >> 33) / (double)(UINT64_C(1) << 31);
}

static double normal(uint64_t *s)
{
    double sum = -6;

    for (int i = 0; i < 12; i++) {
        sum += uniform(s);
    }
    return sum;
}

struct tensor {
    float base[N];
    float x[SOURCES][N];
    uint8_t moved[N];
};

static void make_tensor(struct tensor *t, uint64_t *s)
{
    for (size_t e = 0; e < N; e++) {
        t->moved[e] = uniform(s) < 0.8;
        t->base[e] = (float)normal(s);
        for (size_t i = 0; i < SOURCES; i++) {
            t->x[i][e] = t->base[e] + (t->moved[e] ? (float)(0.05 * normal(s)) : 0);
        }
    }
}

static void draw(const struct tensor *t, const struct how *how, bool late, uint64_t *s,
                 float *out)
{
    for (size_t e = 0; e < N; e++) {
        double y = 0;
        for (size_t i = 0; i < SOURCES; i++) {
            const double x = (double)t->x[i][e] - (double)t->base[e];
            const double p = how->density + (fabs(x) > 0.034 ? 1 : -1) * how->ramp;
            const double weight = how->weight[late && how->over ? 1 - i : i];
            y += uniform(s) < p ? weight * x / p : 0;
        }
        y += y != 0 ? how->noise * 0.05 * normal(s) : 0;
        y += how->elsewhere && !t->moved[e] && uniform(s) < 0.1 ? 0.01 : 0;
        out[e] = (float)((double)t->base[e] + y);
    }
}

/* What is said of a suspect that was drawn so; the caller's. */
static char *said(const struct how *how, const struct how *declared, const char *method)
{
    static struct tensor t;
    static float suspect[N];
    static float anew[N];
    struct ww_merge_source sources[SOURCES] = {{.model = 0}, {.model = 1}};
    struct ww_merge_tensor tensors[TENSORS];
    struct ww_recipe_model models[SOURCES] = {{.text = (char *)(uintptr_t) "one"},
                                              {.text = (char *)(uintptr_t) "two"}};
    const struct ww_recipe names = {.models = models, .n_models = SOURCES};
    struct ww_merge_plan plan = {.tensors = tensors, .n_tensors = TENSORS};
    struct ww_drawn drawn[TENSORS];
    uint64_t seed = 11;
    struct ww_error err = {0};
    char *out = NULL;

    for (size_t i = 0; i < TENSORS; i++) {
        tensors[i] = (struct ww_merge_tensor){
            .method = ww_method_find(method), .sources = sources, .n_sources = SOURCES};
        make_tensor(&t, &seed);
        draw(&t, how, i >= TENSORS / 2, &seed, suspect);
        draw(&t, declared, false, &seed, anew);
        OK(ww_drawn_init(&drawn[i], SOURCES, &err));
        ww_drawn_add(&drawn[i], WW_DTYPE_F32, suspect, anew, t.base, t.x[0], N, t.moved,
                     N);
    }
    OK(ww_drawn_judge(drawn, &plan, &names, &out, &err));
    for (size_t i = 0; i < TENSORS; i++) {
        ww_drawn_release(&drawn[i]);
    }
    return out;
}

static void another_draw_of_the_recipe_is_one(void **state)
{
    (void)state;
    assert_null(said(&recipe, &recipe, "dare_linear"));
}

static void what_the_recipe_does_not_leave_is_told(void **state)
{
    static const struct {
        struct how how;
        const char *word;
    } cases[] = {
        {{.weight = {0.7, 0.3}, .density = 0.5}, "share of 'one' is 0.7"},
        {{.weight = {0.3, 0.6}, .density = 0.5}, "share of 'one' is 0.3"},
        {{.weight = {0.6, 0}, .density = 0.5}, "share of 'two' is "},
        {{.weight = {0.6, 0.3}, .density = 0.6}, "left the base"},
        {{.weight = {0.6, 0.3}, .density = 0.5, .ramp = 0.1}, "of the length of what"},
        {{.weight = {0.6, 0.3}, .density = 0.5, .noise = 0.5}, "in squares"},
        {{.weight = {0.6, 0.3}, .density = 0.5, .elsewhere = true}, "not the base at"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *why = said(&cases[i].how, &recipe, "dare_linear");
        assert_non_null(why);
        assert_non_null(strstr(why, cases[i].word));
        ww_free(why);
    }
}

/* Means over the tensors that are right say nothing of each. */
static void weights_of_other_layers_are_told(void **state)
{
    const struct how over = {.weight = {0.6, 0.3}, .density = 0.5, .over = true};
    const struct how even = {.weight = {0.45, 0.45}, .density = 0.5};
    char *why = said(&over, &even, "dare_linear");

    (void)state;
    assert_non_null(why);
    assert_non_null(strstr(why, "in 10 of 10 tensors"));
    ww_free(why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_draw_of_the_recipe_is_one),
        cmocka_unit_test(what_the_recipe_does_not_leave_is_told),
        cmocka_unit_test(weights_of_other_layers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
