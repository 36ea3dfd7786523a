/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that look at the whole model: what one tensor does depends on the others, and a
 * part of a plan has the bytes that the whole has there. */
#include <stdlib.h>

#include "merge_fixture.h"

#define N 3

static const uint64_t shapes[N][2] = {{40, 30}, {7, 0}, {64, 50}};

/* Tensors of one method; sources change the last one more than the others. */
static struct mx *model(const char *method, uint64_t seed, uint32_t n_sources)
{
    static const char *const names[N] = {"a", "b", "c"};
    struct mx *m = mx_new(seed);
    for (uint32_t t = 0; t < N; t++) {
        mx_tensor(m, names[t], WW_DTYPE_F32, shapes[t][0], shapes[t][1], 0, n_sources,
                  method);
    }
    for (uint32_t s = 0; s < n_sources; s++) {
        const struct ww_merge_source *source = &m->more[2].sources[s];
        double *x = mx_values(m, source, m->more[2].n);
        double *base = mx_values(m, &m->more[2].base, m->more[2].n);
        float *stored = malloc(m->more[2].n * sizeof(*stored));
        for (uint64_t i = 0; i < m->more[2].n; i++) {
            /* Steps of 2^-14, so that many changes are equal. */
            stored[i] = (float)(base[i] + rint(3 * (x[i] - base[i]) * 0x1p14) * 0x1p-14);
        }
        assert_int_equal(
            pwrite(m->inputs[s].fd, stored, m->more[2].n * 4, (off_t)source->offset),
            m->more[2].n * 4);
        free(x);
        free(base);
        free(stored);
    }
    return m;
}

struct change {
    float size;
    uint32_t tensor;
    uint64_t at;
};

static int larger_first(const void *a, const void *b)
{
    const struct change *x = a;
    const struct change *y = b;
    if (x->size != y->size) {
        return x->size > y->size ? -1 : 1;
    }
    if (x->tensor != y->tensor) {
        return x->tensor < y->tensor ? -1 : 1;
    }
    return x->at < y->at ? -1 : x->at > y->at;
}

/* One model alone: what is kept is its own value, the rest the base's. */
static void ties_of_the_paper_trims_the_whole_model(void **state)
{
    (void)state;
    static const double densities[] = {0.001, 0.2, 0.37, 0.9, 1, 0};
    for (size_t d = 0; d < WW_LEN(densities); d++) {
        struct ww_error err = {0};
        struct mx *m = model("ties", 80 + d, 1);
        struct change all[40 * 30 + 7 + 64 * 50];
        double *want[N];
        size_t n = 0;
        m->plan.paper = true;
        for (uint32_t t = 0; t < N; t++) {
            double *x = mx_values(m, &m->more[t].sources[0], m->more[t].n);
            want[t] = mx_values(m, &m->more[t].base, m->more[t].n);
            mx_set_source(m, t, 0, "density", densities[d]);
            for (uint64_t i = 0; i < m->more[t].n; i++) {
                all[n++] = (struct change){(float)fabs(x[i] - want[t][i]), t, i};
            }
            free(x);
        }
        qsort(all, n, sizeof(*all), larger_first);
        const size_t kept = densities[d] == 0 ? 0
                            : densities[d] == 1
                                ? n
                                : (size_t)fmax(1, densities[d] * (double)n);
        for (size_t k = 0; k < kept; k++) {
            double *x = mx_values(m, &m->more[all[k].tensor].sources[0],
                                  m->more[all[k].tensor].n);
            want[all[k].tensor][all[k].at] = x[all[k].at];
            free(x);
        }
        OK(mx_run(m, &err));
        for (uint32_t t = 0; t < N; t++) {
            mx_same(m, t, want[t]);
            free(want[t]);
        }
        mx_free(m);
    }
}

struct whole_case {
    const char *method;
    const char *name;
    double value;
    bool paper;
};

static const struct whole_case cases[] = {
    {"ties", NULL, 0, true}, {"emr", "task", 2, false}, {"pcb", NULL, 0, false}};

static void set_case(struct mx *m, const struct whole_case *c)
{
    m->plan.paper = c->paper;
    for (uint32_t t = 0; t < N; t++) {
        for (uint32_t s = 0; s < m->tensors[t].n_sources && c->paper; s++) {
            mx_set_source(m, t, s, "density", 0.3);
        }
        if (c->name) {
            mx_set(m, t, c->name, c->value);
        }
    }
}

/* Digests of the files, one for each tensor. */
static void run_digests(const struct ww_merge_plan *plan, unsigned threads,
                        uint8_t digests[N][32])
{
    struct ww_error err = {0};
    struct ww_merge_result result = {0};
    const struct ww_run_options options = {.threads = threads};
    OK(ww_merge_run(plan, NULL, &options, NULL, &result, &err));
    memcpy(digests, result.output_sha256, plan->n_files * sizeof(digests[0]));
    ww_merge_result_release(&result);
}

static void a_part_has_the_bytes_of_the_whole(void **state)
{
    (void)state;
    for (size_t c = 0; c < WW_LEN(cases); c++) {
        uint8_t whole[N][32];
        uint8_t again[N][32];
        struct mx *m = model(cases[c].method, 90 + c, 3);
        struct ww_merge_file files[N];
        set_case(m, &cases[c]);
        for (uint32_t t = 0; t < N; t++) {
            files[t] = (struct ww_merge_file){.name = m->tensors[t].name,
                                              .header = m->file.header,
                                              .first_tensor = t,
                                              .n_tensors = 1};
        }
        m->plan.files = files;
        m->plan.n_files = N;
        run_digests(&m->plan, 1, whole);
        run_digests(&m->plan, 3, again);
        assert_memory_equal(whole, again, sizeof(whole));
        for (uint32_t t = 0; t < N; t++) {
            struct ww_merge_file file = files[t];
            struct ww_merge_plan part = m->plan;
            part.whole = &m->plan;
            part.tensors = &m->tensors[t];
            part.n_tensors = 1;
            part.files = &file;
            part.n_files = 1;
            file.first_tensor = 0;
            run_digests(&part, 2, again);
            assert_memory_equal(again[0], whole[t], 32);
            /* On its own it is something else: the test can tell. */
            part.whole = NULL;
            run_digests(&part, 2, again);
            if (t == 0) {
                assert_memory_not_equal(again[0], whole[t], 32);
            }
        }
        mx_free(m);
    }
}

static void what_differs_between_tensors_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct mx *m = model("ties", 95, 2);
    mx_set_source(m, 1, 0, "density", 0.5);
    OK(mx_run(m, &err)); /* tensor by tensor it is fine */
    m->plan.paper = true;
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "must be one number"));
    mx_free(m);

    m = model("emr", 97, 2);
    m->plan.order_free = true;
    for (uint32_t t = 0; t < N; t++) {
        mx_set(m, t, "task", 1);
    }
    err = (struct ww_error){0};
    OK(mx_run(m, &err));
    mx_set(m, 2, "mask", 1);
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "signs of a lock"));
    mx_free(m);

    m = model("pcb", 96, 2);
    mx_set(m, 2, "pcb_ratio", 0.2);
    err = (struct ww_error){0};
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "the same for all tensors"));
    mx_set(m, 2, "pcb_ratio", 0.1);
    m->tensors[1].n_sources = 1;
    err = (struct ww_error){0};
    FAILS(mx_run(m, &err), WW_E_RECIPE);
    assert_non_null(strstr(err.text, "must have every tensor"));
    mx_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ties_of_the_paper_trims_the_whole_model),
        cmocka_unit_test(a_part_has_the_bytes_of_the_whole),
        cmocka_unit_test(what_differs_between_tensors_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
