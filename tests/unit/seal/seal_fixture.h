/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny model of two shards with a signature, people to seal it for, and file tricks. */
#ifndef SEAL_FIXTURE_H
#define SEAL_FIXTURE_H

#include "ww_test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "crypto/recipient.h"
#include "seal/seal_job.h"
#include "seal/seal_manifest.h"
#include "util/buf.h"
#include "util/fs.h"
#include "util/num.h"

static const struct ww_argon2_cost cheap = {1, 8};

#define SHARD_1 "model-00001-of-00002.safetensors"
#define SHARD_2 "model-00002-of-00002.safetensors"

struct fx {
    char *dir;
    char model[256];
    char sealed[256];
    char back[256];
    char keys[3][256]; /* alice, bob, a stranger: without .key and .pub */
    char pubs[3][256];
};

static inline const char *in(const char *folder, const char *name)
{
    static char paths[8][700];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static inline void put_file(const char *path, const void *bytes, size_t len)
{
    /* Not emptied first: some file systems flush a file that was. */
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

static inline void get_file(const char *path, struct ww_buf *buf)
{
    struct ww_error err = {0};
    ww_buf_init(buf, 1 << 22);
    OK(ww_file_read(path, buf, &err));
}

static inline void put_text(const char *path, const char *text)
{
    put_file(path, text, strlen(text));
}

/* n_bytes of U8 named `name`; the header's length is odd to reach the padding. */
static inline void put_shard(const char *path, const char *name, unsigned n_bytes)
{
    char header[200];
    uint8_t bytes[8192];
    int n = snprintf(header, sizeof(header),
                     "{\"%s\":{\"dtype\":\"U8\",\"shape\":[%u],\"data_offsets\":[0,%u]}}",
                     name, n_bytes, n_bytes);
    size_t len = 8 + (size_t)n;
    ww_put_u64le(bytes, (uint64_t)n);
    memcpy(bytes + 8, header, (size_t)n);
    for (unsigned i = 0; i < n_bytes; i++) {
        bytes[len++] = (uint8_t)(i * 31 + (unsigned char)name[0]);
    }
    put_file(path, bytes, len);
}

static inline void make_model(const char *model, unsigned n_bytes)
{
    assert_int_equal(mkdir(model, 0700), 0);
    put_shard(in(model, SHARD_1), "a", n_bytes);
    put_shard(in(model, SHARD_2), "b", n_bytes);
    put_text(in(model, "model.safetensors.index.json"),
             "{\"metadata\":{},\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2
             "\"}}");
    put_text(in(model, "config.json"), "{}");
    put_text(in(model, "empty.txt"), "");
    put_text(in(model, "model.sig"), "evidence about the plain weights");
}

static inline struct fx *fx_new(unsigned n_bytes)
{
    struct ww_error err = {0};
    struct fx *f = calloc(1, sizeof(*f));
    f->dir = ww_test_mkdir();
    snprintf(f->model, sizeof(f->model), "%s/model", f->dir);
    snprintf(f->sealed, sizeof(f->sealed), "%s/sealed", f->dir);
    snprintf(f->back, sizeof(f->back), "%s/back", f->dir);
    make_model(f->model, n_bytes);
    for (unsigned i = 0; i < 3; i++) {
        snprintf(f->keys[i], sizeof(f->keys[i]), "%s/%u.key", f->dir, i);
        snprintf(f->pubs[i], sizeof(f->pubs[i]), "%s/%u.pub", f->dir, i);
        char base[256];
        snprintf(base, sizeof(base), "%s/%u", f->dir, i);
        OK(ww_recipient_create_at(base, NULL, &cheap, &err));
    }
    return f;
}

static inline void fx_free(struct fx *f)
{
    ww_test_rmdir(f->dir);
    free(f);
}

/* Seal for the first n people, in chunks of 64 bytes. */
static inline void fx_seal_as(const struct fx *f, const char *model, const char *out,
                              size_t n, enum ww_seal_cipher cipher)
{
    struct ww_error err = {0};
    struct ww_seal_report report;
    const char *const to[] = {f->pubs[0], f->pubs[1], f->pubs[2]};
    const struct ww_seal_options options = {
        .sealer = {NULL, to, n}, .cipher = cipher, .run = {.threads = 2}};
    OK(ww_seal_folder_at(model, out, &options, 64, &cheap, &report, &err));
    ww_seal_report_release(&report);
}

static inline void fx_seal(const struct fx *f)
{
    fx_seal_as(f, f->model, f->sealed, 2, WW_SEAL_CIPHER_BEST);
}

static inline enum ww_err fx_unseal(const struct fx *f, unsigned who,
                                    struct ww_error *err)
{
    const struct ww_unsealer unsealer = {NULL, f->keys[who], NULL};
    const struct ww_run_options run = {.threads = 2};
    struct ww_seal_report report;
    enum ww_err rc = ww_unseal_folder(f->sealed, f->back, &unsealer, &run, &report, err);
    ww_seal_report_release(&report);
    return rc;
}

static inline bool there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

/* Bytes of both files are equal. */
static inline bool same_file(const char *a, const char *b)
{
    struct ww_buf x;
    struct ww_buf y;
    get_file(a, &x);
    get_file(b, &y);
    bool same =
        x.len == y.len && memcmp(x.data ? x.data : (const uint8_t *)"",
                                 y.data ? y.data : (const uint8_t *)"", x.len) == 0;
    ww_buf_release(&x);
    ww_buf_release(&y);
    return same;
}

static const char *const model_files[] = {SHARD_1,       SHARD_2,
                                          "config.json", "empty.txt",
                                          "model.sig",   "model.safetensors.index.json"};

static inline void check_back(const struct fx *f)
{
    for (size_t i = 0; i < sizeof(model_files) / sizeof(model_files[0]); i++) {
        assert_true(same_file(in(f->model, model_files[i]), in(f->back, model_files[i])));
    }
}

/* Collects what a pipe would get. */
static inline enum ww_err collect(void *payload, const void *bytes, size_t n,
                                  struct ww_error *err)
{
    return ww_buf_add(payload, bytes, n, err);
}

static inline enum ww_err fx_pipe(const struct fx *f, const char *name,
                                  struct ww_buf *out, struct ww_error *err)
{
    const struct ww_unsealer unsealer = {NULL, f->keys[0], NULL};
    struct ww_seal_report report;
    ww_buf_init(out, 1 << 20);
    enum ww_err rc =
        ww_unseal_file(f->sealed, name, &unsealer, NULL, collect, out, &report, err);
    ww_seal_report_release(&report);
    return rc;
}

#endif
