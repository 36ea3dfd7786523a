/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny Llama whose residual stream is rotated by a random orthogonal matrix. */
#include "ww_matrix_fixture.h"

#include <sys/stat.h>

#include "la/la.h"
#include "model/convert.h"
#include "util/buf.h"
#include "util/fs.h"
#include "weightward/attack.h"

#define SOURCE WW_VECTORS "/forward/llama"

struct work {
    char *dir;
    char anchor[320], rotated[320], out[320];
    struct ww_attack_options options;
    struct ww_attack_report report;
};

/* All tensors of the source as doubles. */
struct weights {
    struct ww_model *model;
    double **x;
    size_t width;
};

static const struct ww_tensor *tensor(const struct weights *w, uint32_t t)
{
    return &w->model->tensors[t];
}

static bool ends(const struct weights *w, uint32_t t, const char *suffix)
{
    const char *name = tensor(w, t)->name;
    const size_t n = strlen(suffix);
    return strlen(name) >= n && strcmp(name + strlen(name) - n, suffix) == 0;
}

static struct weights load(void)
{
    struct weights w = {0};
    struct ww_error err = {0};
    OK(ww_model_open(SOURCE, &w.model, &err));
    w.x = calloc(w.model->n_tensors, sizeof(*w.x));
    for (uint32_t t = 0; t < w.model->n_tensors; t++) {
        void *bytes = malloc((size_t)tensor(&w, t)->n_bytes);
        OK(ww_model_read(w.model, t, bytes, &err));
        w.x[t] = calloc((size_t)tensor(&w, t)->n_elements, sizeof(double));
        ww_to_double(tensor(&w, t)->dtype, bytes, w.x[t],
                     (size_t)tensor(&w, t)->n_elements);
        free(bytes);
        if (strcmp(tensor(&w, t)->name, "model.norm.weight") == 0) {
            w.width = (size_t)tensor(&w, t)->n_elements;
        }
    }
    assert_true(w.width > 0);
    return w;
}

static void drop(struct weights *w)
{
    for (uint32_t t = 0; t < w->model->n_tensors; t++) {
        free(w->x[t]);
    }
    free(w->x);
    ww_model_close(w->model);
}

static void store(const struct weights *w, const char *to)
{
    struct ww_error err = {0};
    struct ww_buf file;
    char path[400];
    ww_buf_init(&file, 8U << 20);
    assert_int_equal(mkdir(to, 0755), 0);
    OK(ww_file_read(SOURCE "/model.safetensors", &file, &err));
    for (uint32_t t = 0; t < w->model->n_tensors; t++) {
        ww_from_double(tensor(w, t)->dtype, w->x[t], file.data + tensor(w, t)->offset,
                       (size_t)tensor(w, t)->n_elements);
    }
    snprintf(path, sizeof(path), "%s/model.safetensors", to);
    OK(ww_file_write(path, file.data, file.len, 0644, false, &err));
    ww_buf_clear(&file);
    OK(ww_file_read(SOURCE "/config.json", &file, &err));
    snprintf(path, sizeof(path), "%s/config.json", to);
    OK(ww_file_write(path, file.data, file.len, 0644, false, &err));
    ww_buf_release(&file);
}

/* Columns of readers times the gains of the norm that they stand behind. */
static void fold(struct weights *w)
{
    static const char *const behind[][2] = {
        {"input_layernorm.weight", "self_attn.q_proj.weight"},
        {"input_layernorm.weight", "self_attn.k_proj.weight"},
        {"input_layernorm.weight", "self_attn.v_proj.weight"},
        {"post_attention_layernorm.weight", "mlp.gate_proj.weight"},
        {"post_attention_layernorm.weight", "mlp.up_proj.weight"},
    };
    for (uint32_t t = 0; t < w->model->n_tensors; t++) {
        for (size_t b = 0; b < 6; b++) {
            char name[300];
            const char *suffix = b < 5 ? behind[b][1] : "lm_head.weight";
            if (!ends(w, t, suffix)) {
                continue;
            }
            const size_t lead = strlen(tensor(w, t)->name) - strlen(suffix);
            snprintf(name, sizeof(name), "%.*s%s", (int)lead, tensor(w, t)->name,
                     b < 5 ? behind[b][0] : "model.norm.weight");
            const uint32_t norm = ww_model_find(w->model, name);
            assert_int_not_equal(norm, WW_NONE);
            for (size_t i = 0; i < tensor(w, t)->n_elements; i++) {
                w->x[t][i] *= w->x[norm][i % w->width];
            }
        }
    }
    for (uint32_t t = 0; t < w->model->n_tensors; t++) {
        for (size_t i = 0; ends(w, t, "norm.weight") && i < w->width; i++) {
            w->x[t][i] = 1;
        }
    }
}

static void rotate(struct weights *w, uint64_t seed)
{
    struct ww_error err = {0};
    const size_t d = w->width;
    double *r = random_matrix(d, d, &seed);
    OK(ww_la_qr(d, d, r, NULL, &err));
    double *rt = transpose_of(r, d, d);
    for (uint32_t t = 0; t < w->model->n_tensors; t++) {
        const struct ww_tensor *at = tensor(w, t);
        const bool writes = ends(w, t, "o_proj.weight") || ends(w, t, "down_proj.weight");
        if (at->rank != 2) {
            assert_false(ends(w, t, "o_proj.bias") || ends(w, t, "down_proj.bias"));
            continue;
        }
        double *made = writes ? product(d, (size_t)at->shape[1], d, r, w->x[t])
                              : product((size_t)at->shape[0], d, d, w->x[t], rt);
        free(w->x[t]);
        w->x[t] = made;
    }
    free(r), free(rt);
}

/* Of all matrices: what the gains of a relative have moved by stays in the readers. */
static void noise(struct weights *w, double share)
{
    uint64_t seed = 17;
    for (uint32_t t = 0; t < w->model->n_tensors; t++) {
        for (size_t i = 0; tensor(w, t)->rank == 2 && i < tensor(w, t)->n_elements; i++) {
            w->x[t][i] *= 1 + share * normal(&seed);
        }
    }
}

/* The anchor is the source with noise, the suspect is rotated, with folded gains or not.
 */
static void work_init(struct work *k, bool folded, double share)
{
    struct weights w = load();
    memset(k, 0, sizeof(*k));
    k->dir = ww_test_mkdir();
    snprintf(k->anchor, sizeof(k->anchor), "%s/anchor", k->dir);
    snprintf(k->rotated, sizeof(k->rotated), "%s/rotated", k->dir);
    snprintf(k->out, sizeof(k->out), "%s/out", k->dir);
    k->options = (struct ww_attack_options){.anchor = k->anchor, .truth = SOURCE};
    if (folded) {
        fold(&w);
    }
    rotate(&w, 4);
    store(&w, k->rotated);
    drop(&w);
    w = load();
    noise(&w, share);
    store(&w, k->anchor);
    drop(&w);
}

static void work_free(struct work *k)
{
    ww_attack_report_release(&k->report);
    ww_test_rmdir(k->dir);
}

static void a_rotated_stream_is_turned_back(void **unused)
{
    static const enum ww_attack_mode modes[] = {WW_ATTACK_JOINT, WW_ATTACK_INVARIANT};
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        struct work k;
        struct ww_error err = {0};
        work_init(&k, true, 0.1);
        k.options.mode = modes[i];
        OK(ww_attack_folder(k.rotated, k.out, &k.options, &k.report, &err));
        assert_true(k.report.found.residual_rotated > 0);
        assert_int_equal(k.report.found.residual_moved, 0);
        assert_int_equal(k.report.found.neurons_moved, 0);
        assert_true(k.report.distance_before > 0.5);
        assert_true(k.report.distance_after < 0.12);
        /* 97 tokens and 160 neurons of 10 % noise leave some of 56 dimensions open. */
        assert_true(k.report.recovered > 0.25);
        assert_true(k.report.drift_known);
        work_free(&k);
    }
}

static void what_was_written_lies_in_no_second_file(void **unused)
{
    struct work k;
    struct ww_error err = {0};
    struct stat st;
    (void)unused;
    work_init(&k, true, 0.1);
    OK(ww_attack_folder(k.rotated, NULL, &k.options, &k.report, &err));
    assert_true(k.report.found.residual_rotated > 0);
    assert_int_not_equal(stat(k.out, &st), 0);
    work_free(&k);
}

/* Gains that differ from one do not commute with a rotation: no model is like that. */
static void a_rotation_without_folded_gains_is_unrelated(void **unused)
{
    struct work k;
    struct ww_error err = {0};
    struct stat st;
    (void)unused;
    work_init(&k, false, 0.1);
    FAILS(ww_attack_folder(k.rotated, k.out, &k.options, &k.report, &err),
          WW_E_UNRELATED);
    assert_int_not_equal(stat(k.out, &st), 0);
    work_free(&k);
}

static void a_rotated_stranger_is_refused(void **unused)
{
    struct work k;
    struct ww_error err = {0};
    (void)unused;
    work_init(&k, true, 6);
    FAILS(ww_attack_folder(k.rotated, k.out, &k.options, &k.report, &err),
          WW_E_UNRELATED);
    assert_non_null(strstr(err.text, "not related"));
    work_free(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rotated_stream_is_turned_back),
        cmocka_unit_test(what_was_written_lies_in_no_second_file),
        cmocka_unit_test(a_rotation_without_folded_gains_is_unrelated),
        cmocka_unit_test(a_rotated_stranger_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
