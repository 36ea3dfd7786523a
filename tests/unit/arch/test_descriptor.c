/* SPDX-License-Identifier: Apache-2.0 */
/* Reading descriptors: the compiled-in ones are well-formed, a faulty one is named. */
#include "ww_test.h"

#include "arch/catalogue.h"
#include "arch/descriptor.h"

static const char good[] =
    "{\"schema\": \"weightward.descriptor/1\", \"id\": \"toy\", \"model_types\": "
    "[\"toy\"],"
    " \"prefixes\": [\"\"], \"facts\": {\"scale\": 1, \"kind\": \"'x'\"},"
    " \"residual\": {\"group\": \"signed\", \"heads\": {\"head\": \"causal-lm\"}},"
    " \"stacks\": [{\"name\": \"d\", \"layers\": \"$layers\", \"layer\": \"l.{l}.\","
    " \"rows\": [[\"q\", \"self.q\", \"q\", \"res'\"], {\"when\": \"l == 0\", \"rows\":"
    " [[\"b\", \"self.q.bias?\", \"q\"]]}]}], \"model\": [[\"e\", \"embed\", \"-\", "
    "\"res'\"]]}";

static enum ww_err parse(const char *text, struct ww_descriptor **d, struct ww_error *err)
{
    return ww_descriptor_parse((const uint8_t *)text, strlen(text), "toy", d, err);
}

static void good_descriptor_is_read(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_descriptor *d = NULL;
    OK(parse(good, &d, &err));
    assert_string_equal(d->id, "toy");
    assert_int_equal(d->n_stacks, 1);
    assert_int_equal(d->stacks[0].rows.n, 2);
    assert_false(d->stacks[0].rows.items[0].optional);
    assert_int_equal(d->stacks[0].rows.items[0].n_axes, 2);
    assert_true(d->stacks[0].rows.items[1].optional);
    assert_string_equal(d->stacks[0].rows.items[1].role, "self.q.bias");
    assert_int_equal(d->stacks[0].rows.items[1].n_when, 1);
    assert_int_equal(d->group, WW_RESIDUAL_SIGNED);
    assert_true(ww_descriptor_serves(d, "toy"));
    assert_false(ww_descriptor_serves(d, "toys"));
    ww_descriptor_free(d);
}

/* good with one piece replaced. */
static char *with(const char *from, const char *to)
{
    const char *at = strstr(good, from);
    char *text = NULL;
    if (!at ||
        asprintf(&text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from)) < 0) {
        fail_msg("no '%s'", from);
    }
    return text;
}

static void faults_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *says;
    } faults[] = {
        {"descriptor/1", "descriptor/2", "schema"},
        {"\"id\": \"toy\"", "\"id\": \"\"", "id"},
        {"\"model_types\": [\"toy\"]", "\"model_types\": []", "model_types"},
        {"\"prefixes\": [\"\"]", "\"prefixes\": \"\"", "prefixes"},
        {"\"scale\": 1", "\"scael\": 1", "scale"},
        {"\"'x'\"", "\"'x\"", "kind"},
        {"\"'x'\"", "[]", "kind"},
        {"\"signed\"", "\"any\"", "residual.group"},
        {"\"signed\"", "\"fixed\"", "residual.reason"},
        {"\"causal-lm\"", "3", "residual.heads"},
        {"\"$layers\"", "\"$layer\"", "layers"},
        {"self.q\"", "self.qq\"", "self.q"},
        {"self.q.bias?", "?", "role"},
        {"\"q\", \"res'\"", "\"q\", \"rest'\"", "rest"},
        {"\"q\", \"res'\"", "\"q\", 3", "axis"},
        {"l == 0", "l == ", "l == "},
        {"\"when\"", "\"wenn\"", "wenn"},
        {"\"residual\"", "\"residue\"", "residue"},
        {"[\"e\", \"embed\", \"-\", \"res'\"]", "[\"e\"]", "row"},
        {"[\"e\", \"embed\", \"-\", \"res'\"]", "3", "row"},
    };
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct ww_error err = {0};
        struct ww_descriptor *d = NULL;
        char *text = with(faults[i].from, faults[i].to);
        FAILS(parse(text, &d, &err), WW_E_DESCRIPTOR);
        assert_null(d);
        if (!strstr(err.text, faults[i].says) || !strstr(err.text, "'toy'")) {
            fail_msg("'%s' does not say '%s'", err.text, faults[i].says);
        }
        free(text);
    }
}

static void malformed_json_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_descriptor *d = NULL;
    FAILS(parse("{", &d, &err), WW_E_JSON);
    FAILS(parse("[]", &d, &err), WW_E_DESCRIPTOR);
}

static void every_embedded_descriptor_parses(void **state)
{
    (void)state;
    const char *const *ids = ww_descriptor_ids();
    assert_true(ww_n_embedded >= 16);
    for (size_t i = 0; i < ww_n_embedded; i++) {
        struct ww_error err = {0};
        struct ww_descriptor *d = NULL;
        OK(ww_descriptor_parse(ww_embedded[i].bytes, ww_embedded[i].len,
                               ww_embedded[i].id, &d, &err));
        assert_string_equal(d->id, ww_embedded[i].id);
        assert_string_equal(ids[i], d->id);
        ww_descriptor_free(d);
    }
    assert_null(ids[ww_n_embedded]);
}

static void no_model_type_has_two_embedded_descriptors(void **state)
{
    (void)state;
    struct ww_descriptor *all[512] = {0};
    struct ww_error err = {0};
    assert_true(ww_n_embedded <= 512);
    for (size_t i = 0; i < ww_n_embedded; i++) {
        OK(ww_descriptor_parse(ww_embedded[i].bytes, ww_embedded[i].len, "x", &all[i],
                               &err));
        for (const struct ww_jnode *n = ww_jfirst(all[i]->model_types); n;
             n = ww_jnext(n)) {
            const char *type = NULL;
            assert_true(ww_jstr(n, &type));
            for (size_t k = 0; k < i; k++) {
                assert_false(ww_descriptor_serves(all[k], type));
            }
        }
    }
    for (size_t i = 0; i < ww_n_embedded; i++) {
        ww_descriptor_free(all[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_descriptor_is_read),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(malformed_json_is_refused),
        cmocka_unit_test(every_embedded_descriptor_parses),
        cmocka_unit_test(no_model_type_has_two_embedded_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
