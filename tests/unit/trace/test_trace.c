/* SPDX-License-Identifier: Apache-2.0 */
/* Copies handed out and found again, through the public functions: as they are, stored
 * otherwise, quantised, fine-tuned, averaged with the base; and nobody accused of models
 * that were made without a copy. */
#include "trace_fixture.h"

#include "model/convert.h"
#include "ww_random.h"

#define FX_BASE WW_VECTORS "/amber/base"

struct suspect {
    struct office o;
    struct ww_trace_options options;
    struct ww_trace_report report;
    char *path;
};

static void suspect_init(struct suspect *s)
{
    memset(s, 0, sizeof(*s));
    office_init(&s->o);
    s->options.ledger = s->o.ledger;
    s->options.secret = s->o.f.secret;
    s->path = path_in(s->o.f.dir, "suspect");
    must(&s->o.f, hand_out(&s->o, "ada"), WW_OK);
    must(&s->o.f, hand_out(&s->o, "bob"), WW_OK);
    must(&s->o.f, hand_out(&s->o, "cid"), WW_OK);
}

static void suspect_free(struct suspect *s)
{
    ww_trace_report_release(&s->report);
    free(s->path);
    office_free(&s->o);
}

static enum ww_err trace(struct suspect *s, const char *path)
{
    ww_trace_report_release(&s->report);
    ww_error_clear(&s->o.f.err);
    return ww_trace_model(path, &s->options, &s->report, &s->o.f.err);
}

static void accuses(struct suspect *s, const char *path, const char *name)
{
    must(&s->o.f, trace(s, path), WW_OK);
    if (!s->report.found || strcmp(s->report.best[0].recipient, name) != 0) {
        fail_msg("'%s': want %s, got %s with %llu of %llu, p %g", path, name,
                 s->report.best[0].recipient, (unsigned long long)s->report.best[0].agree,
                 (unsigned long long)s->report.best[0].votes, s->report.p_value);
    }
    assert_true(s->report.n_best < 2 || s->report.best[1].p_value > 1e-6);
}

static void accuses_nobody(struct suspect *s, const char *path)
{
    must(&s->o.f, trace(s, path), WW_OK);
    if (s->report.found) {
        fail_msg("'%s': %s is accused, p %g", path, s->report.best[0].recipient,
                 s->report.p_value);
    }
}

/* What is done to a tensor; x2 the same one of a second model, or NULL. */
typedef void (*change_fn)(const struct ww_tensor *t, double *x, const double *x2);

static double *tensor_of(const struct ww_model *model, const char *name)
{
    struct ww_error err = {0};
    const uint32_t at = ww_model_find(model, name);
    const struct ww_tensor *t = &model->tensors[at];
    double *x = calloc(t->n_elements, sizeof(*x));
    void *raw = calloc(1, t->n_bytes);
    OK(ww_model_read(model, at, raw, &err));
    ww_to_double(t->dtype, raw, x, t->n_elements);
    free(raw);
    return x;
}

static void write_shard(const char *path, const struct ww_model *model,
                        const struct ww_model *second, change_fn change, uint32_t first,
                        uint32_t step)
{
    char *header = calloc(1, 1 << 16);
    uint64_t at = 0;
    size_t len = (size_t)sprintf(header, "{");
    for (uint32_t i = first; i < model->n_tensors; i += step) {
        const struct ww_tensor *t = &model->tensors[model->n_tensors - 1 - i];
        len += (size_t)sprintf(header + len, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[",
                               at ? "," : "", t->name);
        for (unsigned a = 0; a < t->rank; a++) {
            len += (size_t)sprintf(header + len, "%s%llu", a ? "," : "",
                                   (unsigned long long)t->shape[a]);
        }
        len += (size_t)sprintf(header + len, "],\"data_offsets\":[%llu,%llu]}",
                               (unsigned long long)at,
                               (unsigned long long)(at + 4 * t->n_elements));
        at += 4 * t->n_elements;
    }
    len += (size_t)sprintf(header + len, "}");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (unsigned i = 0; i < 8; i++) {
        fputc((int)((uint64_t)len >> (8 * i) & 255), f);
    }
    fwrite(header, 1, len, f);
    for (uint32_t i = first; i < model->n_tensors; i += step) {
        const struct ww_tensor *t = &model->tensors[model->n_tensors - 1 - i];
        double *x = tensor_of(model, t->name);
        double *x2 = second ? tensor_of(second, t->name) : NULL;
        float *out = calloc(t->n_elements, sizeof(*out));
        if (change) {
            change(t, x, x2);
        }
        ww_from_double(WW_DTYPE_F32, x, out, t->n_elements);
        fwrite(out, sizeof(*out), t->n_elements, f);
        free(out);
        free(x);
        free(x2);
    }
    assert_int_equal(fclose(f), 0);
    free(header);
}

/* The model again, changed, as F32 in two shards with an index, tensors in reverse. */
static void rewrite(const struct suspect *s, const char *from, const char *with,
                    change_fn change)
{
    struct ww_error err = {0};
    struct ww_model *model = NULL, *second = NULL;
    shell("rm -rf '%s' && cp -r '%s' '%s' && rm -rf '%s/'*.safetensors '%s/attestations' "
          "'%s/model.sig'",
          s->path, from, s->path, s->path, s->path, s->path);
    OK(ww_model_open(from, &model, &err));
    if (with) {
        OK(ww_model_open(with, &second, &err));
    }
    char *index = path_in(s->path, "model.safetensors.index.json");
    FILE *f = fopen(index, "w");
    assert_non_null(f);
    fprintf(f, "{\"metadata\":{},\"weight_map\":{");
    for (uint32_t i = 0; i < model->n_tensors; i++) {
        fprintf(f, "%s\"%s\":\"model-0000%u-of-00002.safetensors\"", i ? "," : "",
                model->tensors[i].name, (model->n_tensors - 1 - i) % 2 + 1);
    }
    fprintf(f, "}}");
    assert_int_equal(fclose(f), 0);
    free(index);
    for (uint32_t k = 0; k < 2; k++) {
        char name[40];
        snprintf(name, sizeof(name), "model-0000%u-of-00002.safetensors", k + 1);
        char *path = path_in(s->path, name);
        write_shard(path, model, second, change, k, 2);
        free(path);
    }
    ww_model_close(model);
    ww_model_close(second);
}

static void round_to_int8(const struct ww_tensor *t, double *x, const double *x2)
{
    const uint64_t cols = t->shape[t->rank - 1];
    (void)x2;
    for (uint64_t r = 0; r < t->n_elements / cols; r++) {
        double most = 0;
        for (uint64_t c = 0; c < cols; c++) {
            most = fmax(most, fabs(x[r * cols + c]));
        }
        for (uint64_t c = 0; c < cols && most > 0; c++) {
            x[r * cols + c] = nearbyint(x[r * cols + c] / most * 127) / 127 * most;
        }
    }
}

/* Noise of half the size of each tensor's entries: far more than a fine-tune. */
static void add_noise(const struct ww_tensor *t, double *x, const double *x2)
{
    uint64_t seed = t->offset;
    double sum = 0;
    (void)x2;
    for (uint64_t i = 0; i < t->n_elements; i++) {
        sum += x[i] * x[i];
    }
    const double size = sqrt(3 * sum / (double)t->n_elements) / 2;
    for (uint64_t i = 0; i < t->n_elements; i++) {
        x[i] += size * ((double)(fx_random(&seed) >> 11) * 0x1p-52 - 1);
    }
}

static void three_tenths(const struct ww_tensor *t, double *x, const double *x2)
{
    for (uint64_t i = 0; i < t->n_elements; i++) {
        x[i] = 0.3 * x[i] + 0.7 * x2[i];
    }
}

static void copies_are_found_whatever_was_done_to_them(void **state)
{
    (void)state;
    static const char *const names[] = {"ada", "bob", "cid"};
    struct suspect s;
    suspect_init(&s);
    for (size_t i = 0; i < 3; i++) {
        char *copy = path_in(s.o.f.dir, names[i]);
        accuses(&s, copy, names[i]);
        assert_int_equal(s.report.entries, 3);
        assert_int_equal(s.report.compared, 3);
        assert_int_equal(s.report.best[0].agree, s.report.best[0].votes);
        rewrite(&s, copy, NULL, NULL);
        accuses(&s, s.path, names[i]);
        rewrite(&s, copy, NULL, round_to_int8);
        accuses(&s, s.path, names[i]);
        rewrite(&s, copy, NULL, add_noise);
        accuses(&s, s.path, names[i]);
        rewrite(&s, copy, FX_BASE, three_tenths);
        accuses(&s, s.path, names[i]);
        s.options.anchor = FX_BASE;
        accuses(&s, s.path, names[i]);
        accuses(&s, copy, names[i]);
        assert_true(s.report.anchored);
        s.options.anchor = NULL;
        free(copy);
    }
    suspect_free(&s);
}

static void nobody_is_accused_of_models_made_without_a_copy(void **state)
{
    (void)state;
    static const char *const innocents[] = {FX_MODEL, FX_BASE, FX_OTHER};
    struct suspect s;
    suspect_init(&s);
    for (size_t i = 0; i < 3; i++) {
        accuses_nobody(&s, innocents[i]);
        s.options.anchor = FX_BASE;
        accuses_nobody(&s, innocents[i]);
        s.options.anchor = NULL;
    }
    /* A copy of another key, and one that was locked for nobody. */
    struct ww_secret *own = s.o.f.secret, *other = fx_secret(9);
    for (int i = 0; i < 2; i++) {
        s.o.f.options.secret = i ? own : other;
        must(&s.o.f, do_lock(&s.o.f), WW_OK);
        accuses_nobody(&s, s.o.f.locked);
        shell("rm -r '%s'", s.o.f.locked);
    }
    ww_secret_free(other);
    suspect_free(&s);
}

static void a_copy_unlocks_with_the_lock_key_alone(void **state)
{
    (void)state;
    struct suspect s;
    struct ww_ledger ledger;
    struct ww_error err = {0};
    suspect_init(&s);
    char *copy = path_in(s.o.f.dir, "bob");
    shell("rm '%s'.bak 2>/dev/null; mv '%s' '%s'", s.o.ledger, copy, s.o.f.locked);
    must(&s.o.f, do_unlock(&s.o.f), WW_OK);
    same_folders(s.o.f.model, s.o.f.back);
    /* One head, one model for three copies of it. */
    OK(ww_ledger_read(s.o.ledger, NULL, &ledger, &err));
    assert_int_equal(ledger.n, 5);
    assert_int_equal(ledger.entries[1].kind, WW_LEDGER_MODEL);
    for (size_t i = 2; i < 5; i++) {
        assert_int_equal(ledger.entries[i].copy.model, 1);
    }
    ww_ledger_close(&ledger);
    free(copy);
    suspect_free(&s);
}

static void what_cannot_be_handed_out_is_refused_first(void **state)
{
    (void)state;
    struct suspect s;
    suspect_init(&s);
    char *twin = path_in(s.o.f.dir, "twin");
    s.o.options.recipient = "ada";
    ww_lock_report_release(&s.o.f.report);
    ww_error_clear(&s.o.f.err);
    must(&s.o.f,
         ww_lock_for(s.o.f.model, twin, &s.o.options, &s.o.f.options, &s.o.f.report,
                     &s.o.f.err),
         WW_E_EXISTS);
    says(&s.o.f, "recipient 'ada' has a copy");
    nothing_at(twin);
    must(&s.o.f, hand_out(&s.o, "a\tb"), WW_E_USAGE);
    s.o.f.options.signer = NULL;
    must(&s.o.f, hand_out(&s.o, "dan"), WW_E_USAGE);
    says(&s.o.f, "a signing key is needed");
    free(twin);
    suspect_free(&s);
}

static void keys_shapes_and_bounds_are_told(void **state)
{
    (void)state;
    struct suspect s;
    suspect_init(&s);
    char *copy = path_in(s.o.f.dir, "ada");
    struct ww_secret *other = fx_secret(9);
    s.options.secret = other;
    must(&s.o.f, trace(&s, copy), WW_E_WRONG_KEY);
    says(&s.o.f, "none of the 3 copies");
    s.options.secret = s.o.f.secret;
    must(&s.o.f, trace(&s, WW_VECTORS "/forward/llama"), WW_E_SHAPE);
    says(&s.o.f, "tensor '");
    s.options.anchor = WW_VECTORS "/forward/llama";
    must(&s.o.f, trace(&s, copy), WW_E_SHAPE);
    says(&s.o.f, "tensor '");
    s.options.anchor = NULL;
    s.options.bound = 1.5;
    must(&s.o.f, trace(&s, copy), WW_E_USAGE);
    s.options.bound = 1e-300 / 4;
    must(&s.o.f, trace(&s, copy), WW_OK);
    assert_false(s.report.found);
    s.options.bound = 0;
    char *pub = path_in(s.o.f.dir, "signer.pub");
    s.options.public_key = pub;
    accuses(&s, copy, "ada");
    assert_int_equal(s.report.n_warnings, 0);
    shell("printf unfinished >> '%s'", s.o.ledger);
    accuses(&s, copy, "ada");
    assert_int_equal(s.report.n_warnings, 1);
    must(&s.o.f, hand_out(&s.o, "dan"), WW_E_LEDGER);
    s.o.options.mend = true;
    must(&s.o.f, hand_out(&s.o, "dan"), WW_OK);
    ww_secret_free(other);
    free(pub);
    free(copy);
    suspect_free(&s);
}

/* Factors of two do not hide a copy, nor does storing it as F32 afterwards. */
static void copies_with_factors_are_found(void **state)
{
    (void)state;
    struct suspect s;
    suspect_init(&s);
    s.o.f.options.scale = true;
    must(&s.o.f, hand_out(&s.o, "dan"), WW_OK);
    char *copy = path_in(s.o.f.dir, "dan");
    accuses(&s, copy, "dan");
    rewrite(&s, copy, NULL, round_to_int8);
    accuses(&s, s.path, "dan");
    free(copy);
    suspect_free(&s);
}

/* At level dense the value rows are mixed, so their votes are coins; the signs of stream
 * and neurons are enough. */
static void copies_at_level_dense_are_found_and_unlock(void **state)
{
    (void)state;
    struct suspect s;
    suspect_init(&s);
    s.o.f.options.dense = true;
    must(&s.o.f, hand_out(&s.o, "dan"), WW_OK);
    must(&s.o.f, hand_out(&s.o, "eve"), WW_OK);
    s.o.f.options.dense = false;
    char *copy = path_in(s.o.f.dir, "dan");
    accuses(&s, copy, "dan");
    assert_true(s.report.best[0].agree > 128 + 4 * 256);
    rewrite(&s, copy, FX_BASE, three_tenths);
    accuses(&s, s.path, "dan");
    shell("mv '%s' '%s'", copy, s.o.f.locked);
    must(&s.o.f, do_unlock(&s.o.f), WW_OK);
    same_folders(s.o.f.model, s.o.f.back);
    free(copy);
    suspect_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_found_whatever_was_done_to_them),
        cmocka_unit_test(nobody_is_accused_of_models_made_without_a_copy),
        cmocka_unit_test(a_copy_unlocks_with_the_lock_key_alone),
        cmocka_unit_test(what_cannot_be_handed_out_is_refused_first),
        cmocka_unit_test(keys_shapes_and_bounds_are_told),
        cmocka_unit_test(copies_with_factors_are_found),
        cmocka_unit_test(copies_at_level_dense_are_found_and_unlock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
