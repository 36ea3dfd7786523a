/* SPDX-License-Identifier: Apache-2.0 */
/* Every bit and every length of a small signed package of a sealed member. */
#include "rmm_fixture.h"

#include "ww_changes.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEP 61 /* each check takes ten times as long */
#else
#define STEP 1
#endif

struct small {
    char *dir;
    char *pkg;
    char *key; /* without .key or .pub */
    char *public_key;
};

static char *make_model(const struct small *s, const char *name, uint8_t first)
{
    char *dir = fx_join(s->dir, name);
    uint8_t data[16] = {first};
    assert_int_equal(mkdir(dir, 0755), 0);
    fx_shard(dir, "model.safetensors",
             "{\"w\":{\"dtype\":\"BF16\",\"shape\":[8],\"data_offsets\":[0,16]}}", data,
             sizeof(data));
    return dir;
}

static void pack(struct small *s)
{
    char *one = make_model(s, "one", 1);
    char *ann = fx_join(s->dir, "ann");
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    struct ww_pack_report report;
    OK(ww_signkey_create(s->key, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(fx_name(s->key, ".key"), NULL, &key, &err));
    OK(ww_recipient_create(ann, NULL, &err));
    const char *to[] = {fx_name(ann, ".pub")};
    const struct ww_pack_member members[] = {{"one", one, to, 1}};
    const struct ww_signer signer = {.key = key};
    const struct ww_pack_options options = {.signer = &signer, .run = {.threads = 1}};
    OK(ww_pack_create(s->pkg, members, 1, &options, &report, &err));
    ww_pack_report_release(&report);
    ww_signkey_free(key);
    free(one);
    free(ann);
}

static enum ww_err verify(const struct small *s, const char *public_key)
{
    struct ww_error err = {0};
    struct ww_pack_report report;
    const struct ww_pack_verify_options options = {.public_key = public_key};
    const enum ww_err rc = ww_pack_verify(s->pkg, &options, &report, &err);
    assert_true(rc == WW_OK || err.text[0]);
    ww_pack_report_release(&report);
    return rc;
}

/* A key adds a check and takes none away, so what is refused without one is refused: the
 * signature, which takes longest, is looked at where digests alone find nothing. */
static bool accepts(void *payload, const uint8_t *bytes, size_t len)
{
    const struct small *s = payload;
    write_quickly(s->pkg, bytes, len);
    return verify(s, NULL) == WW_OK && verify(s, s->public_key) == WW_OK;
}

static void every_bit_of_a_package_counts(void **state)
{
    struct small s = {.dir = ww_test_mkdir()};
    struct ww_buf text;
    (void)state;
    s.pkg = fx_join(s.dir, "small.pkg");
    s.key = fx_join(s.dir, "me");
    pack(&s);
    fx_read(s.pkg, &text);
    print_message("%zu bytes\n", text.len);
    assert_in_range(text.len, 1024, 4096);
    s.public_key = fx_join(s.dir, "me.pub");
    assert_true(accepts(&s, text.data, text.len));
    refuses_changes(accepts, &s, text.data, text.len, STEP);
    assert_true(accepts(&s, text.data, text.len));
    ww_buf_release(&text);
    ww_test_rmdir(s.dir);
    free(s.pkg);
    free(s.key);
    free(s.public_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_bit_of_a_package_counts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
