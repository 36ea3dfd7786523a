/* SPDX-License-Identifier: Apache-2.0 */
/* The derivation is frozen: draws and composed elements as an independent program in
 * tests/vectors/lock computes them from the format's page. */
#include "lock_fixture.h"

#include "json/json.h"
#include "lock/draw.h"
#include "lock/gauge.h"
#include "util/fs.h"

static struct ww_json *vectors(void)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    struct ww_buf text;
    ww_buf_init(&text, 1 << 20);
    OK(ww_file_read(WW_VECTORS "/lock/derivation.json", &text, &err));
    OK(ww_json_parse(text.data, text.len, &ww_json_limits_small, &json, &err));
    ww_buf_release(&text);
    return json;
}

static struct ww_secret *vector_secret(const struct ww_json *json)
{
    struct ww_error err = {0};
    struct ww_secret *secret = NULL;
    const char *hex = NULL;
    assert_true(ww_jstr(ww_jget(ww_json_root(json), "secret"), &hex));
    OK(ww_secret_new(32, &secret, &err));
    assert_true(ww_unhex(ww_secret_open(secret), 32, hex, strlen(hex)));
    ww_secret_close(secret);
    return secret;
}

static uint64_t number(const struct ww_jnode *node, const char *key)
{
    uint64_t value = 0;
    assert_true(ww_ju64(ww_jget(node, key), &value));
    return value;
}

static const char *string(const struct ww_jnode *node, const char *key)
{
    const char *value = NULL;
    assert_true(ww_jstr(ww_jget(node, key), &value));
    return value;
}

static void check_draw(struct ww_secret *prk, const struct ww_jnode *row)
{
    struct ww_error err = {0};
    struct ww_draw draw = {0};
    const struct ww_jnode *values = ww_jget(row, "values");
    const char *what = string(row, "what");
    uint32_t n = (uint32_t)ww_jsize(values), i = 0;
    uint32_t *perm = calloc(n, sizeof(*perm));
    uint8_t *bits = calloc(n, 1);
    int8_t *exps = calloc(n, 1);
    OK(ww_draw_open(&draw, prk, string(row, "kind"), string(row, "owner"),
                    number(row, "a"), number(row, "b"), &err));
    if (strcmp(what, "perm") == 0) {
        ww_draw_perm(&draw, perm, n);
    } else if (strcmp(what, "exponents") == 0) {
        ww_draw_exponents(&draw, exps, n);
    } else {
        ww_draw_bits(&draw, what[4] == '2' ? 2 : 1, bits, n);
    }
    for (const struct ww_jnode *v = ww_jfirst(values); v; v = ww_jnext(v), i++) {
        int64_t want = -99;
        assert_true(ww_ji64(v, &want));
        assert_int_equal((int64_t)perm[i] + bits[i] + exps[i], want);
    }
    assert_int_equal(i, n);
    ww_draw_close(&draw);
    free(perm);
    free(bits);
    free(exps);
}

static void draws_are_the_frozen_ones(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_json *json = vectors();
    struct ww_secret *secret = vector_secret(json);
    struct ww_secret *prk = NULL;
    char hex[65];
    OK(ww_draw_root(secret, &prk, &err));
    ww_hex(hex, ww_secret_open(prk), 32);
    ww_secret_close(prk);
    assert_string_equal(hex, string(ww_json_root(json), "prk"));
    const struct ww_jnode *draws = ww_jget(ww_json_root(json), "draws");
    assert_int_equal(ww_jsize(draws), 6);
    for (const struct ww_jnode *d = ww_jfirst(draws); d; d = ww_jnext(d)) {
        check_draw(prk, d);
    }
    ww_secret_free(prk);
    ww_secret_free(secret);
    ww_json_free(json);
}

static void check_element(const struct ww_json *json, const char *name,
                          const struct ww_gauge *gauge, uint32_t space)
{
    struct ww_error err = {0};
    struct ww_element element;
    const struct ww_jnode *want = ww_jget(ww_jget(ww_json_root(json), "elements"), name);
    OK(ww_gauge_space(gauge, space, &element, &err));
    assert_int_equal(element.n, ww_jsize(ww_jget(want, "perm")));
    for (uint32_t i = 0; i < element.n; i++) {
        uint64_t perm = 0, neg = 0;
        int64_t exp = 0;
        assert_true(ww_ju64(ww_jat(ww_jget(want, "perm"), i), &perm));
        assert_true(ww_ju64(ww_jat(ww_jget(want, "neg"), i), &neg));
        assert_true(ww_ji64(ww_jat(ww_jget(want, "exp"), i), &exp));
        assert_int_equal(element.perm[i], perm);
        assert_int_equal(element.neg[i], neg);
        assert_int_equal(element.exp[i], exp);
    }
    ww_element_release(&element);
}

static void elements_are_the_frozen_ones(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_json *json = vectors();
    struct ww_secret *secret = vector_secret(json);
    struct lk_options o = lk_llama();
    struct lk lk;
    struct ww_gauge gauge;
    o.rope_dims = 4;
    lk_init(&lk, o);
    OK(ww_gauge_init(&gauge, &lk.layout, secret, true, WW_WRONG_NONE, &err));
    check_element(json, "residual", &gauge, 0);
    check_element(json, "neurons", &gauge, lk.mlps[0].neuron);
    check_element(json, "rope.query", &gauge, lk.att.query);
    check_element(json, "rope.key", &gauge, lk.att.key);
    check_element(json, "value", &gauge, lk.att.value);
    check_element(json, "context", &gauge, lk.att.context);
    ww_gauge_release(&gauge);
    lk_free(&lk);
    o.qk_class = WW_QK_RMS_HEAD;
    lk_init(&lk, o);
    OK(ww_gauge_init(&gauge, &lk.layout, secret, true, WW_WRONG_NONE, &err));
    check_element(json, "rms_head.query", &gauge, lk.att.query);
    check_element(json, "rms_head.qk_gain", &gauge, lk.att.qk_gain);
    ww_gauge_release(&gauge);
    lk_free(&lk);
    ww_secret_free(secret);
    ww_json_free(json);
}

/* Kind, owner and both sizes are part of the name of a draw. */
static void every_part_of_the_name_counts(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_secret *secret = lk_secret(1);
    struct ww_secret *prk = NULL;
    static const struct {
        const char *kind, *owner;
        uint64_t a, b;
    } names[] = {{"perm", "x", 1, 2}, {"per", "mx", 1, 2}, {"perm", "y", 1, 2},
                 {"sign", "x", 1, 2}, {"perm", "x", 2, 2}, {"perm", "x", 1, 1}};
    uint32_t perms[6][64];
    OK(ww_draw_root(secret, &prk, &err));
    for (size_t i = 0; i < 6; i++) {
        struct ww_draw draw = {0};
        OK(ww_draw_open(&draw, prk, names[i].kind, names[i].owner, names[i].a, names[i].b,
                        &err));
        ww_draw_perm(&draw, perms[i], 64);
        ww_draw_close(&draw);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(perms[i], perms[j], sizeof(perms[i]));
        }
    }
    ww_secret_free(prk);
    ww_secret_free(secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_the_frozen_ones),
        cmocka_unit_test(elements_are_the_frozen_ones),
        cmocka_unit_test(every_part_of_the_name_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
