/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/catalogue_read.h"

#include <endian.h>
#include <string.h>

#include "crypto/sha_blocks.h"
#include "model/convert.h"
#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

/* A shorter row is no longer than two of its hashes, and says as little; more rows than a
 * vocabulary ever had are no rows of words. */
#define ROW_LEAST 16
#define ROWS_MOST (UINT64_C(1) << 24)
#define STRETCH 4096 /* elements widened at once: they stay in the first cache */

_Static_assert(WW_TREE_CHUNK % WW_READ_CHUNK == 0, "a leaf ends where a read does");

/* A row's hash so far: words of 8 bytes go round four lanes, which do not wait for each
 * other, and what does not fill a word yet. */
struct row_hash {
    uint64_t lanes[4];
    unsigned lane; /* that the next word goes into */
    uint8_t tail[8];
    unsigned n_tail;
};

static inline uint64_t mix_word(uint64_t h, uint64_t word)
{
    h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return h ^ h >> 32;
}

static inline uint64_t word_at(const uint8_t *p)
{
    uint64_t word = 0;
    memcpy(&word, p, 8);
    return le64toh(word);
}

static void add_word(struct row_hash *r, uint64_t word)
{
    r->lanes[r->lane] = mix_word(r->lanes[r->lane], word);
    r->lane = (r->lane + 1) % 4;
}

/* Whole rounds of the lanes; the rest is left. */
static uint64_t add_rounds(struct row_hash *r, const uint8_t *p, uint64_t n)
{
    uint64_t a = r->lanes[0];
    uint64_t b = r->lanes[1];
    uint64_t c = r->lanes[2];
    uint64_t d = r->lanes[3];
    uint64_t at = 0;

    for (; at + 32 <= n; at += 32) {
        a = mix_word(a, word_at(p + at));
        b = mix_word(b, word_at(p + at + 8));
        c = mix_word(c, word_at(p + at + 16));
        d = mix_word(d, word_at(p + at + 24));
    }
    r->lanes[0] = a;
    r->lanes[1] = b;
    r->lanes[2] = c;
    r->lanes[3] = d;
    return at;
}

static void row_add(struct row_hash *r, const uint8_t *p, uint64_t n)
{
    while (n > 0 && r->n_tail > 0) {
        r->tail[r->n_tail++] = *p++;
        n--;
        if (r->n_tail == 8) {
            add_word(r, word_at(r->tail));
            r->n_tail = 0;
        }
    }
    while (n >= 8) {
        const uint64_t took = r->lane == 0 ? add_rounds(r, p, n) : 0;
        p += took;
        n -= took;
        if (n >= 8) {
            add_word(r, word_at(p));
            p += 8;
            n -= 8;
        }
    }
    if (n > 0) {
        memcpy(r->tail + r->n_tail, p, n);
        r->n_tail += (unsigned)n;
    }
}

static uint64_t row_end(struct row_hash *r, uint64_t row_bytes)
{
    uint64_t h = row_bytes;

    if (r->n_tail > 0) {
        memset(r->tail + r->n_tail, 0, 8 - r->n_tail);
        add_word(r, word_at(r->tail));
    }
    for (unsigned l = 0; l < 4; l++) {
        h = ww_mix64(h ^ r->lanes[l]);
    }
    *r = (struct row_hash){0};
    return h;
}

/* Where a tensor's rows are while its bytes come in. */
struct rows {
    struct row_hash hash;
    uint64_t row_bytes;
    uint64_t in_row;
    uint64_t *out;
    uint64_t n;
};

static void rows_add(struct rows *r, const uint8_t *p, uint64_t n)
{
    while (n > 0) {
        const uint64_t take = ww_min_u64(n, r->row_bytes - r->in_row);
        row_add(&r->hash, p, take);
        r->in_row += take;
        p += take;
        n -= take;
        if (r->in_row == r->row_bytes) {
            r->out[r->n++] = row_end(&r->hash, r->row_bytes);
            r->in_row = 0;
        }
    }
}

struct job {
    struct ww_tensor_reader *r;
    const struct ww_model *model;
    const struct ww_tensor *t;
    struct ww_print_tensor *out;
    struct rows rows;
    uint64_t key;
    const struct ww_print_options *how;
    uint64_t row_bytes; /* 0: no rows */
    uint32_t rank;
    uint64_t *bytes;
};

static enum ww_err sketch_bytes(const struct job *job, const uint8_t *p, uint64_t offset,
                                uint64_t n, struct ww_error *err)
{
    const uint64_t size = ww_dtype_bits(job->t->dtype) / 8;
    const uint64_t total = n / size;

    if (ww_count_nonfinite(job->t->dtype, p, (size_t)total) > 0) {
        return WW_FAIL(
            err, WW_E_NONFINITE,
            "tensor '%s' of '%s' holds NaN or infinity; repair the weights first",
            job->t->name, job->model->path);
    }
    for (uint64_t at = 0; at < total; at += STRETCH) {
        const size_t count = (size_t)ww_min_u64(STRETCH, total - at);
        ww_to_double(job->t->dtype, p + at * size, job->r->values, count);
        ww_sketch_add(job->r->buckets, job->r->m, job->key, offset / size + at,
                      job->r->values, count);
    }
    return WW_OK;
}

static enum ww_err keep_leaf(struct ww_tensor_reader *r, struct ww_error *err)
{
    if (r->n_leaves == r->capacity) {
        const size_t more = r->capacity ? 2 * r->capacity : 64;
        void *grown = ww_realloc_array(r->leaves, more, WW_SHA256_BYTES);
        if (!grown) {
            return WW_FAIL_MEMORY(err, "reading a model");
        }
        r->leaves = grown;
        r->capacity = more;
    }
    ww_sha_final(&r->leaf, r->leaves[r->n_leaves++]);
    return WW_OK;
}

/* Both digests of the bytes at once: the second costs next to nothing. */
static enum ww_err hash_bytes(struct job *job, uint64_t offset, uint64_t n,
                              struct ww_error *err)
{
    struct ww_tensor_reader *r = job->r;
    uint8_t prefix[WW_TREE_PREFIX];

    if (job->how->sample) {
        ww_sha_update(&r->content, r->bytes, n);
        return WW_OK;
    }
    if (offset % WW_TREE_CHUNK == 0) {
        ww_tree_leaf_prefix(job->rank, offset, prefix);
        ww_sha_reset(&r->leaf);
        ww_sha_update(&r->leaf, prefix, sizeof(prefix));
    }
    ww_sha_update_2(&r->content, r->bytes, &r->leaf, r->bytes, n);
    return (offset + n) % WW_TREE_CHUNK == 0 || offset + n == job->t->n_bytes
               ? keep_leaf(r, err)
               : WW_OK;
}

/* Bytes [offset, offset + n) of the tensor; offset / size of an element is even. */
static enum ww_err take_range(struct job *job, uint64_t offset, uint64_t n,
                              struct ww_error *err)
{
    const struct ww_weight_file *file = &job->model->files[job->t->file];
    enum ww_err rc = WW_OK;

    for (uint64_t at = 0; at < n && !rc; at += WW_READ_CHUNK) {
        const uint64_t len = ww_min_u64(WW_READ_CHUNK, n - at);
        rc = ww_weight_bytes(file, job->t->offset + offset + at, job->r->bytes,
                             (size_t)len, err);
        if (!rc) {
            rc = hash_bytes(job, offset + at, len, err);
        }
        if (!rc && !job->how->bytes && ww_print_is_body(job->t)) {
            rc = sketch_bytes(job, job->r->bytes, offset + at, len, err);
        }
        if (!rc) {
            if (job->rows.row_bytes > 0) {
                rows_add(&job->rows, job->r->bytes, len);
            }
            *job->bytes += len;
        }
    }
    return rc;
}

/* The tensor's root in the tree; without bytes there is one leaf, of none. */
static enum ww_err fold_leaves(struct job *job, struct ww_error *err)
{
    struct ww_tensor_reader *r = job->r;
    uint8_t root[WW_SHA256_BYTES];
    enum ww_err rc = job->t->n_bytes ? WW_OK : hash_bytes(job, 0, 0, err);

    if (!rc) {
        ww_tree_fold(r->fold, r->leaves, r->n_leaves, root);
        rc = ww_tree_tensor_root(r->fold, job->t, root, job->out->root, err);
    }
    return rc;
}

bool ww_sample_takes(uint64_t key, uint64_t block)
{
    return ww_mix64(key ^ ww_mix64(block)) % 64 == 0;
}

static enum ww_err take_sample(struct job *job, struct ww_error *err)
{
    const uint64_t block = WW_SAMPLE_BLOCK * job->row_bytes;
    enum ww_err rc = WW_OK;

    for (uint64_t b = 0; b * block < job->t->n_bytes && !rc; b++) {
        if (ww_sample_takes(job->key, b)) {
            rc = take_range(job, b * block,
                            ww_min_u64(block, job->t->n_bytes - b * block), err);
        }
    }
    return rc;
}

static uint64_t row_bytes_of(const struct ww_tensor *t)
{
    const uint64_t rows = t->rank >= 2 ? t->shape[0] : 0;
    return rows > 0 && t->n_bytes % rows == 0 ? t->n_bytes / rows : 0;
}

static bool has_hashes(const struct ww_tensor *t, uint64_t row_bytes)
{
    return row_bytes >= ROW_LEAST && t->shape[0] <= ROWS_MOST;
}

enum ww_err ww_tensor_reader_run(struct ww_tensor_reader *r, const struct ww_model *model,
                                 const struct ww_print_options *how, uint32_t rank,
                                 struct ww_print_tensor *out, uint64_t *bytes,
                                 struct ww_error *err)
{
    const struct ww_tensor *t = &model->tensors[out->index];
    struct job job = {.r = r,
                      .model = model,
                      .t = t,
                      .out = out,
                      .row_bytes = row_bytes_of(t),
                      .key = ww_sketch_key(out->name),
                      .how = how,
                      .rank = rank,
                      .bytes = bytes};
    enum ww_err rc = WW_OK;

    job.rows.row_bytes = has_hashes(t, job.row_bytes) ? job.row_bytes : 0;
    out->rows = job.rows.row_bytes ? t->shape[0] : 0;
    out->row_hashes = ww_calloc(out->rows, sizeof(*out->row_hashes));
    if (!out->row_hashes) {
        return WW_FAIL_MEMORY(err, "the rows of '%s'", t->name);
    }
    job.rows.out = out->row_hashes;
    memset(r->buckets, 0, r->m * sizeof(*r->buckets));
    ww_sha_reset(&r->content);
    r->n_leaves = 0;
    if (how->sample && job.row_bytes > 0 && t->n_bytes > WW_SAMPLE_WHOLE) {
        rc = take_sample(&job, err);
    } else {
        rc = take_range(&job, 0, t->n_bytes, err);
    }
    if (!rc && !how->sample) {
        rc = fold_leaves(&job, err);
    }
    ww_sha_final(&r->content, out->sha256);
    out->n_row_hashes = job.rows.n;
    return rc;
}

enum ww_err ww_tensor_reader_init(struct ww_tensor_reader *r, size_t m,
                                  struct ww_error *err)
{
    enum ww_err rc = ww_sha256_new(&r->fold, err);

    r->m = m;
    if (!rc) {
        rc = ww_sha_init(&r->content, ww_sha_fast(), err);
    }
    if (!rc) {
        rc = ww_sha_init(&r->leaf, ww_sha_fast(), err);
    }
    r->bytes = ww_alloc_aligned(64, WW_READ_CHUNK);
    r->values = ww_alloc_aligned(64, STRETCH * sizeof(*r->values));
    r->buckets = ww_calloc(m, sizeof(*r->buckets));
    if (!rc && (!r->bytes || !r->values || !r->buckets)) {
        rc = WW_FAIL_MEMORY(err, "reading a model");
    }
    return rc;
}

void ww_tensor_reader_release(struct ww_tensor_reader *r)
{
    ww_sha256_free(r->fold);
    ww_sha_release(&r->content);
    ww_sha_release(&r->leaf);
    ww_free(r->leaves);
    ww_free(r->bytes);
    ww_free(r->values);
    ww_free(r->buckets);
}
