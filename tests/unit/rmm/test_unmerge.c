/* SPDX-License-Identifier: Apache-2.0 */
/* A source out of a merge, the other sources and a package. */
#include "rmm_fixture.h"

#include "weightward/merge.h"

/* one as 2 base - two, whatever the three are. */
static enum ww_err pack_one(struct fx *f, const char *pkg, unsigned threads,
                            struct ww_error *err)
{
    const char *others[] = {f->two};
    double weights[] = {-1};
    const struct ww_merge_inverse inverse = {
        .of_merged = 2, .n = 1, .others = others, .weights = weights};
    const struct ww_pack_member member = {"one", f->one, NULL, 0};
    const struct ww_pack_options options = {
        .base = f->base, .inverses = &inverse, .run = {.threads = threads}};
    struct ww_pack_report report;
    enum ww_err rc = ww_pack_create(pkg, &member, 1, &options, &report, err);
    ww_pack_report_release(&report);
    return rc;
}

static enum ww_err unmerge(struct fx *f, const char *merged, const char *const *sources,
                           size_t n, struct ww_error *err)
{
    const struct ww_unpack_options options = {
        .base = merged, .sources = sources, .n_sources = n};
    struct ww_pack_report report;
    enum ww_err rc = ww_unpack(f->pkg, "one", f->out, &options, &report, err);
    ww_pack_report_release(&report);
    return rc;
}

/* The fine-tunes have NaN with a payload, an infinity and a negative zero. */
static void every_bit_of_a_source_comes_back(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_buf a;
    struct ww_buf b;
    (void)state;
    OK(pack_one(f, f->pkg, 1, &err));
    const char *sources[] = {f->base, f->two};
    OK(unmerge(f, f->base, sources, 2, &err));
    fx_same(f, f->one);
    const char *pkg = fx_name(f->pkg, ".2");
    OK(pack_one(f, pkg, 3, &err));
    fx_read(f->pkg, &a);
    fx_read(pkg, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    ww_buf_release(&a);
    ww_buf_release(&b);
    const struct ww_pack_verify_options verify = {
        .base = f->base, .sources = sources, .n_sources = 2};
    struct ww_pack_report report;
    OK(ww_pack_verify(f->pkg, &verify, &report, &err));
    assert_int_equal(report.restored, 1);
    ww_pack_report_release(&report);
    fx_free(f);
}

struct taken {
    uint8_t *bytes;
    size_t n;
};

static enum ww_err take(void *payload, const void *bytes, size_t n, struct ww_error *err)
{
    struct taken *t = payload;
    (void)err;
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    return WW_OK;
}

static void one_tensor_comes_back_alone(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct taken t = {calloc(2, FX_LARGE), 0};
    uint8_t *want = calloc(2, FX_LARGE);
    (void)state;
    assert_non_null(t.bytes);
    assert_non_null(want);
    OK(pack_one(f, f->pkg, 2, &err));
    const char *sources[] = {f->two};
    const struct ww_unpack_options options = {
        .base = f->base, .sources = sources, .n_sources = 1};
    OK(ww_unpack_tensor(f->pkg, "one", "large", &options, take, &t, &err));
    fx_numbers(want, FX_LARGE, 1, 2);
    assert_int_equal(t.n, 2 * FX_LARGE);
    assert_memory_equal(t.bytes, want, t.n);
    free(t.bytes);
    free(want);
    fx_free(f);
}

static void other_models_are_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    char *three = fx_model(f, "three", 3, 40);
    (void)state;
    OK(pack_one(f, f->pkg, 2, &err));
    const char *wrong[] = {three, f->one};
    FAILS(unmerge(f, f->base, wrong, 2, &err), WW_E_UNRELATED);
    assert_non_null(strstr(err.text, "'two'"));
    FAILS(unmerge(f, f->base, NULL, 0, &err), WW_E_UNRELATED);
    assert_non_null(strstr(err.text, "none of the sources"));
    const char *right[] = {f->two};
    FAILS(unmerge(f, three, right, 1, &err), WW_E_UNRELATED);
    assert_non_null(strstr(err.text, "made with"));
    FAILS(unmerge(f, NULL, right, 1, &err), WW_E_USAGE);
    assert_non_null(strstr(err.text, "name the base"));
    fx_nothing(f);
    free(three);
    fx_free(f);
}

static void flipped_bits_do_not_unmerge(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_buf bytes;
    (void)state;
    OK(pack_one(f, f->pkg, 2, &err));
    fx_read(f->pkg, &bytes);
    const char *sources[] = {f->two};
    for (unsigned i = 0; i < 12; i++) {
        /* Somewhere in the section, which begins at 4096, and in what follows it. */
        const size_t at =
            WW_PACK_HEAD_BYTES + i * ((bytes.len - WW_PACK_HEAD_BYTES) / 12);
        bytes.data[at] ^= 0x04;
        fx_write(f->dir, "models.pkg", bytes.data, bytes.len);
        bytes.data[at] ^= 0x04;
        if (!unmerge(f, f->base, sources, 1, &err)) {
            fail_msg("byte %zu flipped, and unmerged", at);
        }
        ww_error_clear(&err);
        fx_nothing(f);
    }
    ww_buf_release(&bytes);
    fx_free(f);
}

static void malformed_weights_are_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_pack_manifest m;
    struct ww_buf text;
    static const char part[] =
        "{\"schema\":\"weightward.package/2\",\"tool\":\"x\","
        "\"id\":\"00000000000000000000000000000000\",\"version\":1,\"previous\":null,"
        "\"base\":%s,\"members\":[{\"name\":\"a\",\"kind\":\"model\",\"mode\":\"exact\","
        "\"error\":0,\"offset\":4096,\"bytes\":8,\"sha256\":\"%064d\",\"files\":0,"
        "\"files_bytes\":0,\"commitment\":\"%064d\",\"coded\":{\"stored\":0,\"same\":0,"
        "\"order\":0,\"split\":0,\"own\":0},\"unmerge\":{%s}}]}";
    static const char base[] = "{\"name\":\"m\",\"tensors\":[],\"files\":[]}";
    char good[300];
    char other[200];
    const struct ww_pack_head head = {.version = WW_PACK_VERSION_2,
                                      .manifest_offset = 8192};
    (void)state;
    snprintf(other, sizeof(other),
             "{\"name\":\"b\",\"weight\":-1,\"tensor_tree\":\"%064d\"}", 7);
    snprintf(good, sizeof(good), "\"merged\":2,\"sources\":[%s]", other);
    const struct {
        const char *base;
        const char *unmerge;
        enum ww_err rc;
    } cases[] = {{base, good, WW_OK},
                 {"null", good, WW_E_MALFORMED},
                 {base, "\"merged\":2,\"sources\":[]", WW_E_MALFORMED},
                 {base, "\"merged\":\"2\",\"sources\":[{}]", WW_E_MALFORMED},
                 {base, "\"merged\":2,\"sources\":[{\"name\":\"b\",\"weight\":1}]",
                  WW_E_MALFORMED},
                 {base, "\"merged\":2,\"sources\":{},\"more\":1", WW_E_MALFORMED}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ww_buf_init(&text, 1 << 20);
        OK(ww_buf_addf(&text, &err, part, cases[i].base, 0, 0, cases[i].unmerge));
        const enum ww_err rc =
            ww_pack_manifest_read(text.data, text.len, &head, "p", &m, &err);
        assert_int_equal(rc, cases[i].rc);
        if (!rc) {
            assert_int_equal(m.members[0].n_others, 1);
            assert_true(m.members[0].of_base == 2 && m.members[0].others[0].weight == -1);
            ww_pack_manifest_release(&m);
        }
        ww_error_clear(&err);
        ww_buf_release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bit_of_a_source_comes_back),
        cmocka_unit_test(one_tensor_comes_back_alone),
        cmocka_unit_test(other_models_are_refused),
        cmocka_unit_test(flipped_bits_do_not_unmerge),
        cmocka_unit_test(malformed_weights_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
