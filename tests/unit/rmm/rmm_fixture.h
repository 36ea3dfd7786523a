/* SPDX-License-Identifier: Apache-2.0 */
/* A base and fine-tunes of it as small folders with two shards, and packages of them. */
#ifndef WW_RMM_FIXTURE_H
#define WW_RMM_FIXTURE_H

#include "ww_test.h"

#include <sys/stat.h>

#include "rmm/manifest.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/package.h"
#include "ww_random.h"

#define SHARD_1 "model-00001-of-00002.safetensors"
#define SHARD_2 "model-00002-of-00002.safetensors"

struct fx {
    char *dir;
    char *base;
    char *one; /* fine-tunes */
    char *two;
    char *pkg;
    char *out;
    char *key; /* signs, without .key or .pub */
    char *ann; /* recipients */
    char *bob;
};

static inline char *fx_join(const char *a, const char *b)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", a, b) > 0);
    return path;
}

static inline void fx_write(const char *dir, const char *name, const void *bytes,
                            size_t n)
{
    char *path = fx_join(dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(path);
}

/* A request for n policies: a0, a1, ... */
static inline void fx_ask_for_many(const char *dir, char prefix, unsigned n)
{
    static const char head[] =
        "{\"type\":\"weightward.policy-reference/1\",\"policies\":[";
    struct ww_error err = {0};
    struct ww_buf text;
    ww_buf_init(&text, (size_t)1 << 20);
    OK(ww_buf_add_str(&text, head, &err));
    for (unsigned k = 0; k < n; k++) {
        OK(ww_buf_addf(&text, &err, "%s{\"id\":\"%c%u\",\"version\":\"1\"}", k ? "," : "",
                       prefix, k));
    }
    OK(ww_buf_add_str(&text, "]}", &err));
    fx_write(dir, "weightward-policy.json", text.data, text.len);
    ww_buf_release(&text);
}

static inline void fx_read(const char *path, struct ww_buf *out)
{
    struct ww_error err = {0};
    ww_buf_init(out, 64U << 20);
    OK(ww_file_read(path, out, &err));
}

/* A header with metadata and odd padding, then the numbers. */
static inline void fx_shard(const char *dir, const char *name, const char *header,
                            const uint8_t *data, size_t n)
{
    uint8_t *file = calloc(1, strlen(header) + 8 + n);
    const uint64_t len = strlen(header);
    assert_non_null(file);
    memcpy(file, &len, 8);
    memcpy(file + 8, header, len);
    memcpy(file + 8 + len, data, n);
    fx_write(dir, name, file, 8 + len + n);
    free(file);
}

/* Patterns near 0x3c00, moved by up to `move` steps: a fine-tune for any seed but 0. */
static inline void fx_numbers(uint8_t *out, size_t n, unsigned seed, unsigned move)
{
    uint64_t a = 5;
    uint64_t b = seed + 100;
    for (size_t i = 0; i < n; i++) {
        uint16_t v = (uint16_t)(0x3c00 + fx_random(&a) % 300);
        v = (uint16_t)(v + (move ? fx_random(&b) % (move + 1) : 0));
        if (seed && i == 7) {
            v = 0x7fc1; /* NaN with a payload */
        }
        if (seed && i == 8) {
            v = 0x8000; /* -0 */
        }
        if (seed && i == 9) {
            v = 0xff80; /* in bfloat16 minus infinity */
        }
        memcpy(out + 2 * i, &v, 2);
    }
}

#define FX_LARGE 1100000 /* numbers: more than a chunk */

static inline char *fx_model(const struct fx *f, const char *name, unsigned seed,
                             unsigned move)
{
    static const char index[] =
        "{\"metadata\":{},\"weight_map\":{\"large\":\"" SHARD_1 "\",\"empty\":\"" SHARD_2
        "\",\"small\":\"" SHARD_2 "\",\"ids\":\"" SHARD_2 "\"}}";
    char *dir = fx_join(f->dir, name);
    char *sub = fx_join(dir, "sub");
    char header[400];
    uint8_t *data = calloc(2, FX_LARGE);
    assert_non_null(data);
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(mkdir(sub, 0755), 0);
    fx_numbers(data, FX_LARGE, seed, move);
    snprintf(header, sizeof(header),
             "{\"__metadata__\":{\"format\":\"pt\"},\"large\":{\"dtype\":\"BF16\","
             "\"shape\":[%d],\"data_offsets\":[0,%d]}}   ",
             FX_LARGE, 2 * FX_LARGE);
    fx_shard(dir, SHARD_1, header, data, (size_t)2 * FX_LARGE);
    fx_numbers(data, 64, seed, move);
    fx_shard(dir, SHARD_2,
             "{\"ids\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[24,40]},"
             "\"small\":{\"dtype\":\"F16\",\"shape\":[3,4],\"data_offsets\":[0,24]},"
             "\"empty\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[24,24]}}",
             data, 40);
    fx_write(dir, "model.safetensors.index.json", index, strlen(index));
    fx_write(dir, "config.json", "{\"model_type\":\"llama\"}", 22);
    fx_write(dir, "tokenizer.json", "the same in all of them", 23);
    fx_write(dir, "empty.txt", "", 0);
    snprintf(header, sizeof(header), "card of %s", name);
    fx_write(sub, "notes.md", header, strlen(header));
    free(data);
    free(sub);
    return dir;
}

static inline struct fx *fx_new(void)
{
    struct fx *f = calloc(1, sizeof(*f));
    struct ww_error err = {0};
    assert_non_null(f);
    f->dir = ww_test_mkdir();
    f->base = fx_model(f, "base", 0, 0);
    f->one = fx_model(f, "one", 1, 2);
    f->two = fx_model(f, "two", 2, 40);
    f->pkg = fx_join(f->dir, "models.pkg");
    f->out = fx_join(f->dir, "out");
    f->key = fx_join(f->dir, "me");
    f->ann = fx_join(f->dir, "ann");
    f->bob = fx_join(f->dir, "bob");
    OK(ww_signkey_create(f->key, WW_CURVE_P256, NULL, &err));
    OK(ww_recipient_create(f->ann, NULL, &err));
    OK(ww_recipient_create(f->bob, NULL, &err));
    return f;
}

static inline void fx_free(struct fx *f)
{
    free(f->base);
    free(f->one);
    free(f->two);
    free(f->pkg);
    free(f->out);
    free(f->key);
    free(f->ann);
    free(f->bob);
    ww_test_rmdir(f->dir);
    free(f);
}

static inline const char *fx_name(const char *base, const char *suffix)
{
    static char names[16][600];
    static unsigned next;
    char name[600]; /* parts may lie in names themselves */
    snprintf(name, sizeof(name), "%s%s", base, suffix);
    return memcpy(names[next++ % 16], name, sizeof(name));
}

/* one in clear, two sealed for ann when asked. */
static inline void fx_pack(struct fx *f, const char *pkg, bool sealed, bool with_key,
                           unsigned threads)
{
    const char *to[] = {fx_name(f->ann, ".pub")};
    const struct ww_pack_member members[] = {
        {"one", f->one, NULL, 0}, {"two", f->two, sealed ? to : NULL, sealed ? 1 : 0}};
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    struct ww_pack_report report;
    if (with_key) {
        OK(ww_signkey_load(fx_name(f->key, ".key"), NULL, &key, &err));
    }
    const struct ww_signer signer = {.key = key};
    const struct ww_pack_options options = {
        .base = f->base, .signer = key ? &signer : NULL, .run = {.threads = threads}};
    OK(ww_pack_create(pkg, members, 2, &options, &report, &err));
    assert_int_equal(report.n_members, 2);
    ww_pack_report_release(&report);
    ww_signkey_free(key);
}

/* The text of a manifest that is stored so; to be released. */
static inline void fx_manifest(const uint8_t *stored, size_t len, struct ww_buf *out)
{
    struct ww_error err = {0};
    uint8_t *text = NULL;
    size_t n = 0;
    assert_true(ww_pack_text_is_coded(stored, len));
    assert_int_equal(ww_pack_text_open(stored, len, &text, &n, &err), WW_OK);
    assert_non_null(text);
    ww_buf_init(out, 1U << 20);
    assert_int_equal(ww_buf_add(out, text, n, &err), WW_OK);
    ww_free(text);
}

static inline enum ww_err fx_unpack(struct fx *f, const char *name, const char *base,
                                    const char *recipient, struct ww_error *err)
{
    const struct ww_unsealer unsealer = {
        .recipient_key = recipient ? fx_name(recipient, ".key") : NULL};
    const struct ww_unpack_options options = {.base = base, .unsealer = &unsealer};
    struct ww_pack_report report;
    enum ww_err rc = ww_unpack(f->pkg, name, f->out, &options, &report, err);
    ww_pack_report_release(&report);
    return rc;
}

static inline enum ww_err fx_verify(struct fx *f, const char *key, struct ww_error *err)
{
    const struct ww_pack_verify_options options = {.public_key =
                                                       key ? fx_name(key, ".pub") : NULL};
    struct ww_pack_report report;
    enum ww_err rc = ww_pack_verify(f->pkg, &options, &report, err);
    ww_pack_report_release(&report);
    return rc;
}

/* For tensors whose bytes do not matter. */
static inline enum ww_err fx_ignore(void *payload, const void *bytes, size_t n,
                                    struct ww_error *err)
{
    (void)payload;
    (void)bytes;
    (void)n;
    (void)err;
    return WW_OK;
}

/* The folder that came back is the source, and goes away. */
static inline void fx_same(struct fx *f, const char *source)
{
    char command[1500];
    snprintf(command, sizeof(command), "diff -r '%s' '%s' && rm -r '%s'", source, f->out,
             f->out);
    assert_int_equal(system(command), 0);
}

static inline void fx_nothing(const struct fx *f)
{
    struct stat st;
    assert_true(stat(f->out, &st) != 0);
    assert_true(stat(fx_name(f->out, ".partial"), &st) != 0);
}

#endif
