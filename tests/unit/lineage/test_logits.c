/* SPDX-License-Identifier: Apache-2.0 */
/* Answers against heads: drawn heads and hidden states, so that the truth is known. */
#include "ww_test.h"

#include "la/la.h"
#include "lineage/draws.h"
#include "lineage/logits_blend.h"
#include "lineage/logits_head.h"
#include "lineage/logits_image.h"
#include "lineage/logits_read.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/num.h"

enum { V = 160, D = 24, N = 60 };

static struct ww_error err;

static double normal(uint64_t *s)
{
    double sum = -6;
    for (int i = 0; i < 12; i++) {
        sum += (double)(ww_draw(s) >> 11) / 9007199254740992.0;
    }
    return sum;
}

static double *draw(size_t n, double scale, uint64_t seed)
{
    double *x = calloc(n, sizeof(double));
    for (size_t i = 0; i < n; i++) {
        x[i] = scale * normal(&seed);
    }
    return x;
}

static void answer(const double *head, const double *hidden, double *out)
{
    ww_la_gemm(WW_LA_PLAIN, WW_LA_TRANSPOSED, N, V, D, 1, hidden, D, head, D, 0, out, V);
}

static double residual(const double *head, const double *answers)
{
    double basis[V * D];
    double square[N];
    double left = 0;
    double all = 0;
    memcpy(basis, head, sizeof(basis));
    OK(ww_image_basis(basis, V, D, NULL, &err));
    OK(ww_image_outside(basis, V, D, answers, N, square, NULL, &err));
    for (size_t i = 0; i < N; i++) {
        left += square[i];
    }
    for (size_t i = 0; i < N * V; i++) {
        all += answers[i] * answers[i];
    }
    return sqrt(left / all);
}

static void answers_lie_in_their_heads_space_whatever_was_added_to_each(void **state)
{
    double *head = draw(V * D, 0.02, 1);
    double *other = draw(V * D, 0.02, 2);
    double *hidden = draw(N * D, 1, 3);
    double *answers = calloc(N * V, sizeof(double));
    double p = 0;
    (void)state;
    answer(head, hidden, answers);
    for (size_t i = 0; i < N * V; i++) {
        answers[i] = answers[i] / 0.7 - (double)(i / V); /* temperature, normalisation */
    }
    ww_image_centre_rows(answers, N, V);
    assert_true(residual(head, answers) < 1e-12);
    NEAR(residual(other, answers), sqrt(1 - (double)D / (V - 1)), 0.03);
    OK(ww_image_basis(head, V, D, NULL, &err));
    OK(ww_image_p_labels(head, V, D, answers, N, 7, &p, &err));
    NEAR(p, 0.01, 1e-12);
    OK(ww_image_basis(other, V, D, NULL, &err));
    OK(ww_image_p_labels(other, V, D, answers, N, 7, &p, &err));
    assert_true(p > 0.01);
    free(head);
    free(other);
    free(hidden);
    free(answers);
}

static void the_rank_of_answers_is_the_width(void **state)
{
    double *head = draw(V * D, 0.02, 4);
    double *hidden = draw(N * D, 1, 5);
    double *noise = draw(N * V, 1e-5, 6);
    double *answers = calloc(N * V, sizeof(double));
    struct ww_image_width found;
    (void)state;
    answer(head, hidden, answers);
    for (size_t i = 0; i < N * V; i++) {
        answers[i] += noise[i];
    }
    ww_image_centre_rows(answers, N, V);
    OK(ww_image_rank(answers, N, V, &found, &err));
    assert_int_equal(found.width, D);
    assert_true(found.gap > 10);
    /* Fewer answers than directions: there is no step to see. */
    OK(ww_image_rank(answers, D - 4, V, &found, &err));
    assert_int_equal(found.width, 0);
    assert_int_equal(found.at_least, D - 4);
    free(head);
    free(hidden);
    free(noise);
    free(answers);
}

static void to_bf16(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t bits = 0;
        ww_from_double(WW_DTYPE_BF16, &x[i], &bits, 1);
        ww_to_double(WW_DTYPE_BF16, &bits, &x[i], 1);
    }
}

/* A blend of two heads of a delta of some size, rounded or not. */
static struct ww_blend_found blend(double share, double delta, enum ww_dtype grid,
                                   uint64_t seed)
{
    double *base = draw(V * D, 0.02, seed);
    double *source = draw(V * D, 0.02 * delta, seed + 1);
    double *hidden = draw(N * D, 1, seed + 2);
    double *answers = calloc(N * V, sizeof(double));
    double *head = calloc(V * D, sizeof(double));
    struct ww_blend_found found;
    for (size_t i = 0; i < V * D; i++) {
        source[i] += base[i];
    }
    if (grid == WW_DTYPE_BF16) {
        to_bf16(base, V * D);
        to_bf16(source, V * D);
    }
    for (size_t i = 0; i < V * D; i++) {
        head[i] = base[i] + share * (source[i] - base[i]);
    }
    if (grid == WW_DTYPE_BF16) {
        to_bf16(head, V * D);
    }
    answer(head, hidden, answers);
    ww_image_centre_rows(answers, N, V);
    const struct ww_blend_problem p = {base, source, answers, V, D, N, grid, 9};
    OK(ww_blend_find(&p, &found, &err));
    free(base);
    free(source);
    free(hidden);
    free(answers);
    free(head);
    return found;
}

static void the_share_of_a_head_is_where_least_is_left(void **state)
{
    static const double shares[] = {0, 0.2, 0.5, 0.9, 1};
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        const struct ww_blend_found found =
            blend(shares[i], 0.1, WW_DTYPE_F32, 20 + 10 * i);
        assert_false(found.flat);
        NEAR(found.share, shares[i], 1e-4);
        assert_true(found.left < 1e-3);
        assert_true(found.low <= shares[i] + 1e-4 && found.high >= shares[i] - 1e-4);
    }
}

/* The bottom moves between two looks where heads differ much; the interval is about the
 * second, whatever the first one said. */
static void an_interval_lies_about_its_share(void **state)
{
    static const double shares[] = {0.13, 0.33, 0.77};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct ww_blend_found found = blend(shares[i], 1.5, WW_DTYPE_F32, 80 + i);
        assert_false(found.flat);
        assert_true(found.low < found.share && found.share < found.high);
    }
}

static void rounding_of_the_head_is_taken_off_its_share(void **state)
{
    double shifted = 0;
    (void)state;
    for (uint64_t seed = 100; seed < 130; seed += 10) {
        const struct ww_blend_found found = blend(0.6, 0.01, WW_DTYPE_BF16, seed);
        assert_false(found.flat);
        NEAR(found.share, 0.6, 0.02);
        shifted += found.rounding / 3;
    }
    /* Without that it would have read clearly more. */
    assert_true(shifted > 0.02);
}

static struct ww_said read_lines(const char *const *lines, size_t n, enum ww_err *rc)
{
    struct ww_said a;
    *rc = WW_OK;
    err = (struct ww_error){0};
    ww_said_begin(&a, 100, 1);
    for (size_t i = 0; i < n && !*rc; i++) {
        *rc = ww_said_line(&a, (const uint8_t *)lines[i], strlen(lines[i]), i + 1, &err);
    }
    if (!*rc) {
        *rc = ww_said_end(&a, &err);
    }
    return a;
}

static void lists_keep_the_tokens_that_all_have(void **state)
{
    static const char *const lines[] = {
        "{\"prompt\": \"a\", \"ids\": [7, 3, 9], \"logprobs\": [-1, -2, -3]}",
        "{\"ids\": [3, 8, 9, 1], \"logprobs\": [-4, -5, -6, -7]}"};
    enum ww_err rc = WW_OK;
    struct ww_said a = read_lines(lines, 2, &rc);
    (void)state;
    OK(rc);
    assert_true(a.logprobs);
    assert_int_equal(a.n, 2);
    assert_int_equal(a.n_ids, 2);
    assert_int_equal(a.ids[0], 3);
    assert_int_equal(a.ids[1], 9);
    NEAR(a.values[0], -2, 0);
    NEAR(a.values[1], -3, 0);
    NEAR(a.values[2], -4, 0);
    NEAR(a.values[3], -6, 0);
    ww_said_release(&a);
}

static void a_long_vocabulary_is_drawn_from_the_same_way_for_all(void **state)
{
    static char line[8192];
    size_t len = (size_t)snprintf(line, sizeof(line), "{\"logits\": [0");
    const char *lines[] = {line, line};
    enum ww_err rc = WW_OK;
    (void)state;
    for (int i = 1; i < 900; i++) {
        len += (size_t)snprintf(line + len, sizeof(line) - len, ",%d", i);
    }
    (void)snprintf(line + len, sizeof(line) - len, "]}");
    struct ww_said a = read_lines(lines, 2, &rc);
    OK(rc);
    assert_int_equal(a.n_ids, 100);
    for (size_t i = 0; i < a.n_ids; i++) {
        NEAR(a.values[i], a.ids[i], 0);
        NEAR(a.values[100 + i], a.ids[i], 0);
        assert_true(i == 0 || a.ids[i] > a.ids[i - 1]);
    }
    ww_said_release(&a);
}

static void lines_that_are_no_answers_are_refused(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        enum ww_err rc;
    } cases[] = {
        {"[1]", NULL, WW_E_JSON},
        {"{\"logits\": [1, 2]", NULL, WW_E_JSON},
        {"{\"prompt\": \"x\"}", NULL, WW_E_JSON},
        {"{\"logits\": 1}", NULL, WW_E_JSON},
        {"{\"logits\": [1, \"x\"]}", NULL, WW_E_JSON},
        {"{\"logits\": [1, 2], \"logprobs\": [1, 2]}", NULL, WW_E_JSON},
        {"{\"logits\": [1, 2], \"tokens\": [1]}", NULL, WW_E_JSON},
        {"{\"logits\": [1]}", NULL, WW_E_SHAPE},
        {"{\"logits\": [1, 2]}", "{\"logits\": [1, 2, 3]}", WW_E_SHAPE},
        {"{\"logits\": [1, 2]}", "{\"logprobs\": [1, 2]}", WW_E_MALFORMED},
        {"{\"logits\": [1, 2]}", "{\"ids\": [1], \"logits\": [1]}", WW_E_MALFORMED},
        {"{\"logits\": [1, -9999]}", NULL, WW_E_MALFORMED},
        {"{\"ids\": [1, 2], \"logits\": [1]}", NULL, WW_E_SHAPE},
        {"{\"ids\": [1, 1], \"logits\": [1, 2]}", NULL, WW_E_JSON},
        {"{\"ids\": [-1], \"logits\": [1]}", NULL, WW_E_JSON},
        {"{\"ids\": [4294967295], \"logits\": [1]}", NULL, WW_E_JSON},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *lines[] = {cases[i].first, cases[i].second};
        enum ww_err rc = WW_OK;
        struct ww_said a = read_lines(lines, cases[i].second ? 2 : 1, &rc);
        if (rc != cases[i].rc) {
            fail_msg("%s: %s", cases[i].first, rc ? err.text : "accepted");
        }
        ww_said_release(&a);
    }
    enum ww_err rc = WW_OK;
    struct ww_said none = read_lines(NULL, 0, &rc);
    assert_int_equal(rc, WW_E_MALFORMED);
    ww_said_release(&none);
}

/* Of a model without a configuration: the head goes by its name, wherever it stands. */
static void the_head_is_found_among_other_outputs(void **state)
{
    static const char header[] =
        "{\"h.0.attention.output.weight\":{\"dtype\":\"F32\",\"shape\":[1,1],"
        "\"data_offsets\":[0,4]},\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":"
        "[2,1],\"data_offsets\":[4,12]}}";
    uint8_t bytes[8 + sizeof(header) - 1 + 12] = {0};
    struct ww_head_file head;
    char *folder = ww_test_mkdir();
    char *path = ww_path_join(folder, "model.safetensors");
    (void)state;

    ww_put_u64le(bytes, sizeof(header) - 1);
    memcpy(bytes + 8, header, sizeof(header) - 1);
    OK(ww_file_write(path, bytes, sizeof(bytes), 0644, true, &err));
    OK(ww_head_open(folder, &head, &err));
    assert_string_equal(head.model->tensors[head.weight].name, "lm_head.weight");
    ww_head_close(&head);
    ww_free(path);
    ww_test_rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_lie_in_their_heads_space_whatever_was_added_to_each),
        cmocka_unit_test(the_rank_of_answers_is_the_width),
        cmocka_unit_test(the_share_of_a_head_is_where_least_is_left),
        cmocka_unit_test(an_interval_lies_about_its_share),
        cmocka_unit_test(rounding_of_the_head_is_taken_off_its_share),
        cmocka_unit_test(lists_keep_the_tokens_that_all_have),
        cmocka_unit_test(a_long_vocabulary_is_drawn_from_the_same_way_for_all),
        cmocka_unit_test(lines_that_are_no_answers_are_refused),
        cmocka_unit_test(the_head_is_found_among_other_outputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
