/* SPDX-License-Identifier: Apache-2.0 */
/* Fusion recipes there and back, and what is refused: other spellings, signers, bytes. */
#include "ww_test.h"

#include "crypto/signkey.h"
#include "evo/fusion.h"
#include "util/fs.h"

static char folder[] = "/tmp/ww-fusion-XXXXXX";
static char key_path[64], pub_path[64], other_pub[64], path[64];
static double scales[2] = {0.5, -1.25};
static struct ww_fusion_member members[2] = {
    {.name = "one",
     .url = "http://127.0.0.1:9/v1",
     .dialect = "completions",
     .model = "m-1",
     .end = "</s>",
     .canary = {1},
     .has_permit = true,
     .permit = {2},
     .owner = {4}},
    {.name = "two",
     .url = "https://host.example",
     .dialect = "llama-server",
     .model = "",
     .end = "",
     .canary = {3},
     .adapters = scales,
     .n_adapters = 2},
};

static void make_key(const char *name, char *private_path, char *public_path)
{
    struct ww_error err = {0};
    char base[64];
    snprintf(base, sizeof(base), "%s/%s", folder, name);
    snprintf(private_path, 64, "%s/%s.key", folder, name);
    snprintf(public_path, 64, "%s/%s.pub", folder, name);
    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
}

static int begins(void **state)
{
    char unused[64];
    (void)state;
    assert_non_null(mkdtemp(folder));
    make_key("mine", key_path, pub_path);
    make_key("other", unused, other_pub);
    snprintf(path, sizeof(path), "%s/recipe.json", folder);
    return 0;
}

static int ends(void **state)
{
    char file[80];
    (void)state;
    static const char *const names[] = {"mine.key", "mine.pub", "other.key", "other.pub"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(file, sizeof(file), "%s/%s", folder, names[i]);
        unlink(file);
    }
    return rmdir(folder);
}

static struct ww_fusion example(enum ww_rule_id id)
{
    struct ww_fusion f = {.rule = {.id = id, .k = 2, .member = 1, .w = {0.25, 1.0 / 3}},
                          .top = 20,
                          .vocabulary = 310,
                          .k = 2,
                          .member = members,
                          .tasks = {7},
                          .fitted = 256,
                          .held_out = {8},
                          .confirmed = 512,
                          .n_scores = 1,
                          .calls = 3072,
                          .cache_root = {9},
                          .seed = 1,
                          .tool = "weightward 0"};
    f.rule.linear = (struct ww_pool_linear){.k = 2, .prior = {0, -1.1}, .a = {25.5, 0.1}};
    f.scores[0] = (struct ww_fusion_score){.rule = id,
                                           .score = {0.054, 0.99, 0.947, 0, 0},
                                           .gain = 0.7,
                                           .interval = {0.6, 0.8}};
    return f;
}

static void every_rule_comes_back_as_it_was(void **state)
{
    (void)state;
    for (unsigned id = 0; id < WW_RULE_COUNT; id++) {
        const struct ww_fusion f = example((enum ww_rule_id)id);
        struct ww_error err = {0};
        struct ww_fusion back;
        struct ww_buf text;
        ww_buf_init(&text, 1 << 20);
        OK(ww_fusion_write(&f, &text, &err));
        OK(ww_fusion_read(text.data, text.len, &back, &err));
        assert_int_equal(back.rule.id, id);
        assert_int_equal(back.k, 2);
        assert_string_equal(back.member[0].end, "</s>");
        assert_true(back.member[0].has_permit && !back.member[1].has_permit);
        assert_int_equal(back.member[0].owner[0], 4);
        assert_int_equal(back.member[0].n_adapters, 0);
        assert_int_equal(back.member[1].n_adapters, 2);
        assert_memory_equal(back.member[1].adapters, scales, sizeof(scales));
        assert_int_equal(back.vocabulary, 310);
        assert_true(back.scores[0].interval.high == 0.8);
        if (id == WW_RULE_ADAPTIVE) {
            assert_memory_equal(back.rule.linear.a, f.rule.linear.a,
                                sizeof(f.rule.linear.a));
        }
        if (id == WW_RULE_LOGLINEAR) {
            assert_true(back.rule.w[1] == f.rule.w[1]);
        }
        ww_fusion_release(&back);
        ww_buf_release(&text);
    }
}

/* The document with one piece replaced. */
static enum ww_err changed(const char *from, const char *to)
{
    const struct ww_fusion f = example(WW_RULE_ADAPTIVE);
    struct ww_error err = {0};
    struct ww_fusion back;
    struct ww_buf text, other;
    ww_buf_init(&text, 1 << 20);
    ww_buf_init(&other, 1 << 20);
    OK(ww_fusion_write(&f, &text, &err));
    const char *at = strstr(ww_buf_cstr(&text), from);
    assert_non_null(at);
    OK(ww_buf_add(&other, text.data, (size_t)(at - (char *)text.data), &err));
    OK(ww_buf_add_str(&other, to, &err));
    OK(ww_buf_add_str(&other, at + strlen(from), &err));
    enum ww_err rc = ww_fusion_read(other.data, other.len, &back, &err);
    if (!rc) {
        ww_fusion_release(&back);
    } else {
        assert_true(strlen(err.text) > 0);
    }
    ww_buf_release(&text);
    ww_buf_release(&other);
    return rc;
}

static void other_documents_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum ww_err want;
    } cases[] = {
        {"\"top\":20", "\"top\":20", WW_OK},
        {"\"top\":20", "\"level\":\"bytes\",\"top\":20", WW_OK},
        {"\"top\":20", "\"level\":\"options\",\"per_byte\":true,\"top\":20", WW_OK},
        {"\"top\":20", "\"level\":\"tokens\",\"top\":20", WW_E_MALFORMED},
        {"\"top\":20", "\"level\":2,\"top\":20", WW_E_MALFORMED},
        {"\"top\":20", "\"level\":\"bytes\",\"per_byte\":true,\"top\":20",
         WW_E_MALFORMED},
        {"\"top\":20", "\"level\":\"options\",\"per_byte\":false,\"top\":20",
         WW_E_MALFORMED},
        {"\"top\":20", "\"top\": 20", WW_E_MALFORMED},
        {"\"top\":20", "\"top\":2e1", WW_E_MALFORMED},
        {"\"top\":20", "\"top\":0", WW_E_MALFORMED},
        {"\"top\":20", "\"more\":1,\"top\":20", WW_E_MALFORMED},
        {"fusion/1", "fusion/2", WW_E_VERSION},
        {"\"name\":\"adaptive\"", "\"name\":\"oracle\"", WW_E_VERSION},
        {"\"name\":\"two\"", "\"name\":\"ONE\"", WW_E_MALFORMED},
        {"[0,-1.1]", "[0]", WW_E_MALFORMED},
        {"[0,-1.1]", "[0,-1e9]", WW_E_MALFORMED},
        {"[25.5,0.1,0]", "[25.5,-0.1,0]", WW_E_MALFORMED},
        {"[25.5,0.1,0]", "[25.5,0.1,1]", WW_E_MALFORMED},
        {"\"vocabulary\":310", "\"vocabulary\":0", WW_E_MALFORMED},
        {"\"next\":0.99", "\"next\":1.99", WW_E_MALFORMED},
        {"\"seed\":1,", "", WW_E_MALFORMED},
        {"\"cache_root\":\"09", "\"cache_root\":\"0G", WW_E_MALFORMED},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum ww_err got = changed(cases[i].from, cases[i].to);
        if (got != cases[i].want) {
            fail_msg("case %zu: got %s", i, ww_err_name(got));
        }
    }
}

static void open_with(const char *public_path, enum ww_err want)
{
    struct ww_error err = {0};
    struct ww_pubkey *key = NULL;
    struct ww_fusion f;
    OK(ww_pubkey_load(public_path, &key, &err));
    if (want == WW_OK) {
        OK(ww_fusion_open(path, key, &f, &err));
        assert_int_equal(f.confirmed, 512);
        ww_fusion_release(&f);
    } else {
        FAILS(ww_fusion_open(path, key, &f, &err), want);
    }
    ww_pubkey_free(key);
}

static void save(bool sign)
{
    const struct ww_fusion f = example(WW_RULE_ADAPTIVE);
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    if (sign) {
        OK(ww_signkey_load(key_path, NULL, &key, &err));
    }
    OK(ww_fusion_save(&f, key, path, &err));
    FAILS(ww_fusion_save(&f, key, path, &err), WW_E_EXISTS);
    ww_signkey_free(key);
}

static void only_what_its_signer_wrote_is_opened(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_buf text;
    save(true);
    open_with(pub_path, WW_OK);
    open_with(other_pub, WW_E_UNTRUSTED);
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    OK(ww_file_read(path, &text, &err));
    char *payload = strstr((char *)text.data, "\"payload\":\"");
    assert_non_null(payload);
    payload[60] = payload[60] == 'A' ? 'B' : 'A';
    OK(ww_file_write(path, text.data, text.len, 0644, true, &err));
    open_with(pub_path, WW_E_SIGNATURE);
    ww_buf_release(&text);
    unlink(path);
    save(false);
    open_with(pub_path, WW_E_NOT_SIGNED);
    unlink(path);
}

static void another_kind_of_document_is_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    struct ww_envelope envelope;
    struct ww_buf text;
    OK(ww_signkey_load(key_path, NULL, &key, &err));
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    OK(ww_envelope_make(WW_SIGNED_POLICY, (const uint8_t *)"{}", 2, &envelope, &err));
    OK(ww_envelope_sign(&envelope, key, &err));
    OK(ww_envelope_write(&envelope, &text, &err));
    OK(ww_file_write(path, text.data, text.len, 0644, false, &err));
    open_with(pub_path, WW_E_BUNDLE);
    unlink(path);
    ww_buf_release(&text);
    ww_envelope_release(&envelope);
    ww_signkey_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_comes_back_as_it_was),
        cmocka_unit_test(other_documents_are_refused),
        cmocka_unit_test(only_what_its_signer_wrote_is_opened),
        cmocka_unit_test(another_kind_of_document_is_refused),
    };
    return cmocka_run_group_tests(tests, begins, ends);
}
