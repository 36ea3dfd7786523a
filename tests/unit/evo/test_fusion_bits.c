/* SPDX-License-Identifier: Apache-2.0 */
/* A signed fusion recipe with any bit changed, or cut anywhere, is not opened. */
#include "evo/fusion.h"

#include "crypto/signkey.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "ww_changes.h"

struct recipe {
    char *path;
    struct ww_pubkey *key;
};

static void save(const char *path, struct ww_signkey *key)
{
    struct ww_error err = {0};
    struct ww_fusion_member member = {.name = "one",
                                      .url = "http://127.0.0.1:9/v1",
                                      .dialect = "completions",
                                      .model = "m",
                                      .end = "</s>",
                                      .canary = {1}};
    struct ww_fusion f = {.rule = {.id = WW_RULE_BEST_SINGLE, .k = 1},
                          .top = 20,
                          .vocabulary = 30,
                          .k = 1,
                          .member = &member,
                          .fitted = 1,
                          .n_scores = 1,
                          .scores = {{.rule = WW_RULE_BEST_SINGLE,
                                      .score = {.bits = 1, .next = 0.5, .whole = 0.5}}},
                          .seed = 1,
                          .tool = "weightward 0"};
    OK(ww_fusion_save(&f, key, path, &err));
}

static bool accepts(void *payload, const uint8_t *bytes, size_t len)
{
    const struct recipe *r = payload;
    struct ww_error err = {0};
    struct ww_fusion f;
    write_quickly(r->path, bytes, len);
    const enum ww_err rc = ww_fusion_open(r->path, r->key, &f, &err);
    if (rc == WW_OK) {
        ww_fusion_release(&f);
    }
    return rc == WW_OK;
}

static void every_bit_of_a_recipe_counts(void **state)
{
    char *dir = ww_test_mkdir();
    char *base = ww_path_join(dir, "me");
    char *private_path = ww_path_join(dir, "me.key");
    struct recipe r = {.path = ww_path_join(dir, "recipe.json")};
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    struct ww_buf text;
    (void)state;
    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(private_path, NULL, &key, &err));
    OK(ww_signkey_public(key, &r.key, &err));
    save(r.path, key);
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    OK(ww_file_read(r.path, &text, &err));
    refuses_every_change(accepts, &r, text.data, text.len);
    ww_buf_release(&text);
    ww_signkey_free(key);
    ww_pubkey_free(r.key);
    ww_free(r.path);
    ww_free(private_path);
    ww_free(base);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_bit_of_a_recipe_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
