/* SPDX-License-Identifier: Apache-2.0 */
/* Models of several families are locked and given to the attack with a noisy sibling. */
#include "ww_test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "attack/attack_view.h"
#include "crypto/secret.h"
#include "lock/activation.h"
#include "model/convert.h"
#include "util/buf.h"
#include "util/fs.h"
#include "util/num.h"
#include "weightward/attack.h"
#include "weightward/lock.h"

struct stage {
    char *dir;
    char source[300];
    char anchor[320], locked[320], out[320];
    struct ww_secret *secret;
    struct ww_attack_options options;
    struct ww_attack_report report;
    struct ww_error err;
};

static void read_weights(const char *folder, struct ww_buf *out)
{
    struct ww_error err = {0};
    char path[400];
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    ww_buf_init(out, 8U << 20);
    OK(ww_file_read(path, out, &err));
}

/* The source with noise of the given share on every BF16 value. */
static void make_anchor(const char *source, const char *to, double share)
{
    struct ww_error err = {0};
    struct ww_buf file;
    char path[400];
    uint64_t state = 9;
    assert_int_equal(mkdir(to, 0755), 0);
    read_weights(source, &file);
    for (size_t at = 8 + (size_t)ww_get_u64le(file.data); at + 2 <= file.len; at += 2) {
        double x = 0;
        ww_to_double(WW_DTYPE_BF16, file.data + at, &x, 1);
        x *= 1 + share * ww_random_activation(&state);
        ww_from_double(WW_DTYPE_BF16, &x, file.data + at, 1);
    }
    snprintf(path, sizeof(path), "%s/model.safetensors", to);
    OK(ww_file_write(path, file.data, file.len, 0644, false, &err));
    ww_buf_clear(&file);
    snprintf(path, sizeof(path), "%s/config.json", source);
    OK(ww_file_read(path, &file, &err));
    snprintf(path, sizeof(path), "%s/config.json", to);
    OK(ww_file_write(path, file.data, file.len, 0644, false, &err));
    ww_buf_release(&file);
}

static void stage_init(struct stage *s, const char *model, bool scale, double share)
{
    struct ww_error err = {0};
    struct ww_lock_options lock = {.scale = scale};
    struct ww_lock_report locked = {0};
    memset(s, 0, sizeof(*s));
    s->dir = ww_test_mkdir();
    snprintf(s->source, sizeof(s->source), "%s/forward/%s", WW_VECTORS, model);
    snprintf(s->anchor, sizeof(s->anchor), "%s/anchor", s->dir);
    snprintf(s->locked, sizeof(s->locked), "%s/locked", s->dir);
    snprintf(s->out, sizeof(s->out), "%s/out", s->dir);
    make_anchor(s->source, s->anchor, share);
    OK(ww_secret_new(32, &s->secret, &err));
    memset(ww_secret_open(s->secret), 0x42, 32);
    ww_secret_close(s->secret);
    lock.secret = s->secret;
    OK(ww_lock_folder(s->source, s->locked, &lock, &locked, &err));
    ww_lock_report_release(&locked);
    s->options = (struct ww_attack_options){.anchor = s->anchor, .truth = s->source};
}

static void stage_free(struct stage *s)
{
    ww_attack_report_release(&s->report);
    ww_secret_free(s->secret);
    ww_test_rmdir(s->dir);
}

static void same_weights(const char *a, const char *b)
{
    struct ww_buf x;
    struct ww_buf y;
    read_weights(a, &x);
    read_weights(b, &y);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    ww_buf_release(&x);
    ww_buf_release(&y);
}

static void exact_locks_come_back_bit_for_bit(void **unused)
{
    static const char *const models[] = {"llama", "gemma2", "mixtral", "t5"};
    (void)unused;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        for (int scale = 0; scale < 2; scale++) {
            struct stage s;
            struct ww_error err = {0};
            stage_init(&s, models[i], scale, 0.1);
            OK(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err));
            same_weights(s.source, s.out);
            assert_true(s.report.identical == 1);
            assert_true(s.report.recovered == 1);
            assert_true(s.report.distance_before > 0.5);
            NEAR(s.report.distance_after, 0.1, 0.02);
            assert_int_equal(s.report.found.dense_heads, 0);
            assert_true(s.report.drift_known);
            assert_true(s.report.function_drift < 1e-12);
            assert_int_equal(s.report.found.scaled > 0, scale);
            stage_free(&s);
        }
    }
}

static void a_displacement_of_half_the_norm_is_bridged(void **unused)
{
    struct stage s;
    struct ww_error err = {0};
    (void)unused;
    stage_init(&s, "llama", false, 0.5);
    OK(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err));
    same_weights(s.source, s.out);
    stage_free(&s);
}

/* Rotary and not, one KV head for several query heads, experts, two stacks. */
static void merging_with_a_locked_copy_by_invariants_gives_the_model_back(void **unused)
{
    static const char *const models[] = {"llama", "gemma2", "mixtral", "t5"};
    (void)unused;
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        struct stage s;
        struct ww_error err = {0};
        stage_init(&s, models[i], true, 0);
        s.options.mode = WW_ATTACK_INVARIANT;
        s.options.weight = 0.25;
        OK(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err));
        same_weights(s.source, s.out);
        assert_true(s.report.identical == 1);
        assert_false(s.report.has_task);
        assert_true(s.report.weight == 0.25);
        assert_true(s.report.dropped < 1e-6);
        assert_true(s.report.found.product_heads > 0);
        assert_int_equal(s.report.found.inner_moved, 0);
        assert_true(s.report.drift_known && s.report.function_drift < 1e-12);
        stage_free(&s);
    }
}

static void a_merge_by_invariants_is_the_merge_of_the_source(void **unused)
{
    static const char *const models[] = {"llama", "t5"};
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        struct stage s;
        struct ww_error err = {0};
        stage_init(&s, models[i], true, 0.1);
        s.options.mode = WW_ATTACK_INVARIANT;
        OK(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err));
        assert_true(s.report.weight == 0.5);
        assert_true(s.report.has_task);
        assert_true(s.report.recovered > 0.6 && s.report.recovered < 1);
        assert_true(s.report.dropped > 0 && s.report.dropped < 0.05);
        assert_true(s.report.distance_before > 0.5);
        NEAR(s.report.distance_after, 0.05, 0.015);
        stage_free(&s);
    }
}

static void a_merge_by_invariants_refuses_what_the_joint_attack_refuses(void **unused)
{
    struct stage s;
    struct ww_error err = {0};
    struct stat st;
    (void)unused;
    stage_init(&s, "t5", false, 5.0);
    s.options.mode = WW_ATTACK_INVARIANT;
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_UNRELATED);
    s.options.weight = 1;
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_USAGE);
    s.options.weight = NAN;
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_USAGE);
    assert_int_not_equal(stat(s.out, &st), 0);
    stage_free(&s);
}

static void compare_threads(enum ww_attack_mode mode)
{
    struct stage s;
    struct ww_error err = {0};
    struct ww_attack_report other = {0};
    char out[400];
    stage_init(&s, "gemma2", true, 0.1);
    s.options.mode = mode;
    s.options.run.threads = 1;
    OK(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err));
    snprintf(out, sizeof(out), "%s4", s.out);
    s.options.run.threads = 4;
    OK(ww_attack_folder(s.locked, out, &s.options, &other, &err));
    same_weights(s.out, out);
    assert_true(other.distance_after == s.report.distance_after);
    assert_true(other.distance_before == s.report.distance_before);
    assert_int_equal(other.n_tensors, s.report.n_tensors);
    ww_attack_report_release(&other);
    stage_free(&s);
}

static void threads_change_no_byte_and_no_number(void **unused)
{
    static const enum ww_attack_mode modes[] = {WW_ATTACK_JOINT, WW_ATTACK_INVARIANT};
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        compare_threads(modes[i]);
    }
}

static void measuring_writes_nothing_and_says_the_same(void **unused)
{
    struct stage s;
    struct ww_error err = {0};
    struct stat st;
    (void)unused;
    stage_init(&s, "t5", false, 0.1);
    OK(ww_attack_folder(s.locked, NULL, &s.options, &s.report, &err));
    assert_true(s.report.identical == 1);
    assert_int_not_equal(stat(s.out, &st), 0);
    stage_free(&s);
}

static void an_anchor_of_noise_is_refused(void **unused)
{
    struct stage s;
    struct ww_error err = {0};
    struct stat st;
    (void)unused;
    stage_init(&s, "llama", false, 5.0);
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_UNRELATED);
    assert_non_null(strstr(err.text, "not related: their distance is"));
    assert_int_not_equal(stat(s.out, &st), 0);
    assert_null(s.report.tensors);
    stage_free(&s);
}

static void an_anchor_without_numbers_is_refused(void **unused)
{
    static const double shares[] = {NAN, INFINITY};
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        struct stage s;
        struct ww_error err = {0};
        struct stat st;
        stage_init(&s, "gemma2", false, shares[i]);
        FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err),
              WW_E_NONFINITE);
        assert_non_null(strstr(err.text, "holds NaN or infinity"));
        assert_int_not_equal(stat(s.out, &st), 0);
        stage_free(&s);
    }
}

/* Cancel at the first call in the named phase; count calls, and what steps before the
 * writing take for the whole. */
struct asked {
    const char *phase;
    unsigned calls;
    uint64_t parts;
};

static int ask(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    struct asked *asked = payload;
    asked->calls++;
    if (strcmp(phase, "attack") != 0) {
        asked->parts = total > asked->parts ? total : asked->parts;
    }
    assert_true(done <= total);
    return strcmp(phase, asked->phase) == 0;
}

static void every_step_can_be_cancelled_and_leaves_nothing(void **unused)
{
    static const char *const phases[] = {"heads", "attention", "neurons", "attack"};
    struct stage s;
    struct ww_error err = {0};
    struct stat st;
    (void)unused;
    stage_init(&s, "mixtral", false, 0.1);
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
        struct asked asked = {phases[i], 0, 0};
        s.options.run.progress = ask;
        s.options.run.progress_payload = &asked;
        FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err),
              WW_E_CANCELLED);
        assert_true(asked.calls > 0);
        assert_in_range(asked.parts, 1, 64); /* not bytes */
        assert_int_not_equal(stat(s.out, &st), 0);
    }
    stage_free(&s);
}

static int stop(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)payload;
    (void)phase;
    (void)done;
    (void)total;
    return 1;
}

/* What is read is not scored: once the lock is known, the anchor's weights are not asked
 * for, and who waits for that can end it. */
static void a_view_reads_the_locked_model_alone(void **unused)
{
    const struct ww_run_options run = {.progress = stop};
    struct ww_model *models[2] = {NULL, NULL};
    struct ww_attack_view *view = NULL;
    const struct ww_reader *reader = NULL;
    struct ww_buf source;
    struct stage s;
    struct ww_error err = {0};
    char path[400];
    (void)unused;
    stage_init(&s, "llama", true, 0.1);
    OK(ww_model_open(s.locked, &models[0], &err));
    OK(ww_model_open(s.anchor, &models[1], &err));
    FAILS(ww_attack_view_open(models[0], models[1], false, &run, &view, &err),
          WW_E_CANCELLED);
    assert_null(view);
    OK(ww_attack_view_open(models[0], models[1], false, NULL, &view, &err));
    assert_non_null(view);
    snprintf(path, sizeof(path), "%s/model.safetensors", s.anchor);
    assert_int_equal(truncate(path, 0), 0);
    read_weights(s.source, &source);
    uint8_t *read = test_malloc(source.len);
    reader = ww_attack_view_reader(view, 0);
    OK(reader->read(reader->payload, 0, read, source.len, &err));
    assert_memory_equal(read, source.data, source.len);
    test_free(read);
    ww_buf_release(&source);
    ww_attack_view_free(view);
    ww_model_close(models[0]);
    ww_model_close(models[1]);
    stage_free(&s);
}

static void other_shapes_and_architectures_are_refused(void **unused)
{
    struct stage s;
    struct ww_error err = {0};
    (void)unused;
    stage_init(&s, "llama", false, 0.1);
    s.options.anchor = WW_VECTORS "/amber/base";
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_UNRELATED);
    s.options.anchor = WW_VECTORS "/forward/t5";
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_UNRELATED);
    s.options.anchor = s.anchor;
    s.options.truth = WW_VECTORS "/amber/base";
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_UNRELATED);
    s.options.truth = NULL;
    s.options.anchor = "/nowhere";
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_NOTFOUND);
    s.options.anchor = NULL;
    FAILS(ww_attack_folder(s.locked, s.out, &s.options, &s.report, &err), WW_E_USAGE);
    stage_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_locks_come_back_bit_for_bit),
        cmocka_unit_test(a_displacement_of_half_the_norm_is_bridged),
        cmocka_unit_test(merging_with_a_locked_copy_by_invariants_gives_the_model_back),
        cmocka_unit_test(a_merge_by_invariants_is_the_merge_of_the_source),
        cmocka_unit_test(a_merge_by_invariants_refuses_what_the_joint_attack_refuses),
        cmocka_unit_test(threads_change_no_byte_and_no_number),
        cmocka_unit_test(measuring_writes_nothing_and_says_the_same),
        cmocka_unit_test(an_anchor_of_noise_is_refused),
        cmocka_unit_test(an_anchor_without_numbers_is_refused),
        cmocka_unit_test(every_step_can_be_cancelled_and_leaves_nothing),
        cmocka_unit_test(a_view_reads_the_locked_model_alone),
        cmocka_unit_test(other_shapes_and_architectures_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
