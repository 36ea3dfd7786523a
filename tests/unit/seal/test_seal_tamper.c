/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every alteration is refused, and before any plaintext of the altered chunk is given
 * out: all bits of a sealed file, all bytes of the manifest; chunks swapped, dropped,
 * doubled, taken from another file or another seal; files swapped and renamed.
 */
#include "seal_fixture.h"

#include "crypto/aead.h"
#include "seal/seal_head.h"

#define DATA 200 /* four chunks of 64, the last one short */
#define STRIDE (64 + WW_AEAD_TAG_BYTES)

/* What the pipe gave out is a beginning of the file, made of whole chunks. */
static void check_prefix(const struct ww_buf *got, const struct ww_buf *plain,
                         size_t clear_bytes)
{
    assert_true(got->len <= plain->len);
    if (got->len) {
        assert_memory_equal(got->data, plain->data, got->len);
    }
    assert_true(got->len == 0 ||
                (got->len >= clear_bytes && (got->len - clear_bytes) % 64 == 0));
}

/* Write bytes in place of the sealed shard, expect the code, return what came out. */
static size_t refused(const struct fx *f, const uint8_t *bytes, size_t len,
                      enum ww_err want, const struct ww_buf *plain)
{
    struct ww_error err = {0};
    struct ww_buf got;
    put_file(in(f->sealed, SHARD_1 ".sealed"), bytes, len);
    enum ww_err rc = fx_pipe(f, SHARD_1, &got, &err);
    if (rc != want) {
        fail_msg("got %s (%s), want %s", ww_err_name(rc), err.text, ww_err_name(want));
    }
    check_prefix(&got, plain, plain->len - DATA);
    size_t n = got.len;
    ww_buf_release(&got);
    return n;
}

struct shard {
    struct fx *f;
    struct ww_buf plain;
    struct ww_buf sealed;
    size_t chunks; /* where they begin */
};

static void open_shard(struct shard *s)
{
    s->f = fx_new(DATA);
    fx_seal(s->f);
    get_file(in(s->f->model, SHARD_1), &s->plain);
    get_file(in(s->f->sealed, SHARD_1 ".sealed"), &s->sealed);
    s->chunks = s->sealed.len - DATA - 4 * WW_AEAD_TAG_BYTES;
}

static void close_shard(struct shard *s)
{
    ww_buf_release(&s->plain);
    ww_buf_release(&s->sealed);
    fx_free(s->f);
}

static void every_flipped_bit_of_a_file_is_refused(void **state)
{
    struct shard s;
    (void)state;
    open_shard(&s);
    for (size_t bit = 0; bit < 8 * s.sealed.len; bit++) {
        const size_t byte = bit / 8;
        const bool in_version = byte >= 16 && byte < 20;
        s.sealed.data[byte] ^= (uint8_t)(1 << bit % 8);
        const size_t n = refused(s.f, s.sealed.data, s.sealed.len,
                                 in_version ? WW_E_VERSION : WW_E_SEALED, &s.plain);
        /* Nothing for a bad head; else the chunks before the bad one. */
        size_t want = 0;
        if (byte >= s.chunks) {
            want = s.plain.len - DATA + (byte - s.chunks) / STRIDE * 64;
        }
        assert_int_equal(n, want);
        s.sealed.data[byte] ^= (uint8_t)(1 << bit % 8);
    }
    close_shard(&s);
}

static void every_cut_and_every_addition_is_refused(void **state)
{
    struct shard s;
    uint8_t longer[2048];
    (void)state;
    open_shard(&s);
    for (size_t len = 0; len < s.sealed.len; len++) {
        assert_int_equal(refused(s.f, s.sealed.data, len, WW_E_SEALED, &s.plain), 0);
    }
    memcpy(longer, s.sealed.data, s.sealed.len);
    memset(longer + s.sealed.len, 0, 200);
    for (size_t more = 1; more <= 200; more++) {
        refused(s.f, longer, s.sealed.len + more, WW_E_SEALED, &s.plain);
    }
    close_shard(&s);
}

/* Cut at a chunk, with the sizes in the head made to fit. */
static void a_cut_with_fitting_sizes_is_refused(void **state)
{
    struct shard s;
    (void)state;
    open_shard(&s);
    for (unsigned n = 0; n < 4; n++) {
        uint8_t bytes[2048];
        memcpy(bytes, s.sealed.data, s.sealed.len);
        ww_put_u64le(bytes + 32, s.plain.len - DATA + n * 64);
        assert_int_equal(
            refused(s.f, bytes, s.chunks + n * STRIDE, WW_E_SEALED, &s.plain), 0);
    }
    close_shard(&s);
}

static void chunks_that_move_are_refused(void **state)
{
    struct shard s;
    uint8_t bytes[2048];
    (void)state;
    open_shard(&s);
    for (size_t a = 0; a < 3; a++) {
        for (size_t b = 0; b < 3; b++) {
            if (a == b) {
                continue;
            }
            /* b in the place of a, and both swapped */
            memcpy(bytes, s.sealed.data, s.sealed.len);
            memcpy(bytes + s.chunks + a * STRIDE, s.sealed.data + s.chunks + b * STRIDE,
                   STRIDE);
            assert_int_equal(refused(s.f, bytes, s.sealed.len, WW_E_SEALED, &s.plain),
                             s.plain.len - DATA + a * 64);
            memcpy(bytes + s.chunks + b * STRIDE, s.sealed.data + s.chunks + a * STRIDE,
                   STRIDE);
            refused(s.f, bytes, s.sealed.len, WW_E_SEALED, &s.plain);
        }
    }
    close_shard(&s);
}

/* The same place in the other shard, and in another seal of the very same model. */
static void chunks_of_other_files_and_models_are_refused(void **state)
{
    struct shard s;
    char other[300];
    char folders[2][500];
    (void)state;
    open_shard(&s);
    snprintf(other, sizeof(other), "%s/other", s.f->dir);
    fx_seal_as(s.f, s.f->model, other, 1, WW_SEAL_CIPHER_BEST);
    snprintf(folders[0], sizeof(folders[0]), "%s/" SHARD_2 ".sealed", s.f->sealed);
    snprintf(folders[1], sizeof(folders[1]), "%s/" SHARD_1 ".sealed", other);
    for (unsigned i = 0; i < 2; i++) {
        struct ww_buf from;
        uint8_t bytes[2048];
        get_file(folders[i], &from);
        assert_int_equal(from.len, s.sealed.len);
        for (size_t c = 0; c < 4; c++) {
            const size_t n = c < 3 ? STRIDE : s.sealed.len - s.chunks - 3 * STRIDE;
            memcpy(bytes, s.sealed.data, s.sealed.len);
            memcpy(bytes + s.chunks + c * STRIDE, from.data + s.chunks + c * STRIDE, n);
            assert_int_equal(refused(s.f, bytes, s.sealed.len, WW_E_SEALED, &s.plain),
                             s.plain.len - DATA + c * 64);
        }
        /* The whole file: reordered shards, a file of another model. */
        assert_int_equal(refused(s.f, from.data, from.len, WW_E_SEALED, &s.plain), 0);
        ww_buf_release(&from);
    }
    close_shard(&s);
}

static void folders_are_refused_whole(void **state)
{
    static const char *const files[] = {
        SHARD_1 ".sealed", SHARD_2 ".sealed", "attestations/source/model.sig.sealed",
        "config.json",     "sealed.json",     "attestations/keys.sealed"};
    struct fx *f = fx_new(DATA);
    struct ww_error err = {0};
    (void)state;
    fx_seal(f);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct ww_buf whole;
        const bool is_keys = i == 5;
        get_file(in(f->sealed, files[i]), &whole);
        for (size_t k = 1; k <= 3; k++) {
            const size_t at = whole.len * k / 4;
            whole.data[at] ^= 0x10;
            put_file(in(f->sealed, files[i]), whole.data, whole.len);
            FAILS(fx_unseal(f, 0, &err), is_keys ? WW_E_KEYFILE : WW_E_SEALED);
            whole.data[at] ^= 0x10;
        }
        if (whole.len > 2) {
            put_file(in(f->sealed, files[i]), whole.data, whole.len - 1);
            ww_error_clear(&err);
            enum ww_err rc = fx_unseal(f, 0, &err);
            assert_true(rc == WW_E_SEALED || rc == WW_E_KEYFILE || rc == WW_E_MANIFEST);
        }
        assert_int_equal(unlink(in(f->sealed, files[i])), 0);
        ww_error_clear(&err);
        enum ww_err rc = fx_unseal(f, 0, &err);
        assert_true(rc == WW_E_SEALED || (i >= 4 && rc == WW_E_NOTFOUND));
        put_file(in(f->sealed, files[i]), whole.data, whole.len);
        assert_false(there(f->back));
        assert_false(there(in(f->dir, "back.partial")));
        ww_buf_release(&whole);
    }
    /* Shards in each other's place. */
    assert_int_equal(rename(in(f->sealed, SHARD_1 ".sealed"), in(f->sealed, "t")), 0);
    assert_int_equal(
        rename(in(f->sealed, SHARD_2 ".sealed"), in(f->sealed, SHARD_1 ".sealed")), 0);
    assert_int_equal(rename(in(f->sealed, "t"), in(f->sealed, SHARD_2 ".sealed")), 0);
    FAILS(fx_unseal(f, 0, &err), WW_E_SEALED);
    assert_non_null(strstr(err.text, "expected"));
    fx_free(f);
}

static void every_changed_byte_of_the_manifest_is_refused(void **state)
{
    struct fx *f = fx_new(0);
    struct ww_buf whole;
    struct ww_buf got;
    (void)state;
    fx_seal(f);
    get_file(in(f->sealed, "sealed.json"), &whole);
    for (size_t byte = 0; byte < whole.len; byte++) {
        const size_t bit = 8 * byte + byte % 8;
        struct ww_error err = {0};
        whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        put_file(in(f->sealed, "sealed.json"), whole.data, whole.len);
        enum ww_err rc = fx_pipe(f, SHARD_1, &got, &err);
        if (rc != WW_E_SEALED && rc != WW_E_MANIFEST) {
            fail_msg("bit %zu: %s", bit, ww_err_name(rc));
        }
        assert_int_equal(got.len, 0);
        ww_buf_release(&got);
        whole.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    ww_buf_release(&whole);
    fx_free(f);
}

/* Keys file and manifest of one seal with the files of another, all for the same people.
 */
static void parts_of_two_seals_do_not_mix(void **state)
{
    static const char *const parts[] = {"attestations/keys.sealed", "sealed.json"};
    struct fx *f = fx_new(DATA);
    struct ww_error err = {0};
    char other[300];
    (void)state;
    fx_seal(f);
    snprintf(other, sizeof(other), "%s/other", f->dir);
    fx_seal_as(f, f->model, other, 2, WW_SEAL_CIPHER_BEST);
    for (unsigned i = 0; i < 2; i++) {
        struct ww_buf own;
        struct ww_buf theirs;
        get_file(in(f->sealed, parts[i]), &own);
        get_file(in(other, parts[i]), &theirs);
        put_file(in(f->sealed, parts[i]), theirs.data, theirs.len);
        FAILS(fx_unseal(f, 0, &err), WW_E_SEALED);
        put_file(in(f->sealed, parts[i]), own.data, own.len);
        ww_buf_release(&own);
        ww_buf_release(&theirs);
    }
    OK(fx_unseal(f, 0, &err));
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_of_a_file_is_refused),
        cmocka_unit_test(every_cut_and_every_addition_is_refused),
        cmocka_unit_test(a_cut_with_fitting_sizes_is_refused),
        cmocka_unit_test(chunks_that_move_are_refused),
        cmocka_unit_test(chunks_of_other_files_and_models_are_refused),
        cmocka_unit_test(folders_are_refused_whole),
        cmocka_unit_test(every_changed_byte_of_the_manifest_is_refused),
        cmocka_unit_test(parts_of_two_seals_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
