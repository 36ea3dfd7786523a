/* SPDX-License-Identifier: Apache-2.0 */
/* Plans over random files, and what must come out of them, computed the plain way. */
#ifndef STREAM_FIXTURE_H
#define STREAM_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "crypto/hash.h"
#include "stream/stream.h"
#include "stream/tree.h"
#include "ww_random.h"
#include "ww_test.h"

#define FX_INPUTS 4
#define FX_OUTPUTS 8
#define FX_PIECES 512
#define FX_TREE 512

struct fx_params {
    const uint32_t *map;
    uint32_t n_sources;
    atomic_int opened;
    atomic_int closed;
    atomic_int completed;
    atomic_ullong tiles;  /* run so far */
    atomic_ullong beside; /* of these with something to hash */
    uint64_t n_tiles;     /* as told to open */
    enum ww_err fail_run; /* what the last tile answers */
    enum ww_err fail_open;
    enum ww_err fail_close;
    const uint8_t *wanted[WW_MAX_SOURCES]; /* what is to be lent, n_lent of each */
    uint64_t n_lent;
    unsigned lent; /* times, of which returned */
    unsigned returned;
};

struct fx {
    char *dir;
    char *out; /* DIR/out */
    uint64_t seed;
    struct ww_input inputs[FX_INPUTS];
    uint8_t *data[FX_INPUTS];
    struct ww_output outputs[FX_OUTPUTS];
    uint8_t *expected[FX_OUTPUTS];
    struct ww_piece pieces[FX_OUTPUTS][FX_PIECES];
    struct ww_piece_source sources[FX_PIECES][WW_MAX_SOURCES];
    struct fx_params params[FX_PIECES];
    char names[FX_TREE][32];
    struct ww_tensor tensors[FX_TREE];
    struct ww_tree_slot tree[FX_TREE];
    uint32_t n_used; /* sources[], params[] */
    void *owned[FX_PIECES];
    uint32_t n_owned;
    struct ww_plan plan;
};

/* Row i of the output: a sum over the sources' rows, different for each source and i. */
static inline void fx_row(uint8_t *out, const uint8_t *const *rows, uint32_t n_sources,
                          uint64_t row, uint64_t row_bytes)
{
    for (uint64_t b = 0; b < row_bytes; b += 8) {
        size_t n = row_bytes - b < 8 ? row_bytes - b : 8;
        uint64_t v = row;
        for (uint32_t s = 0; s < n_sources; s++) {
            uint64_t word = 0;
            memcpy(&word, rows[s] + b, n);
            v += (s + 1) * word;
        }
        memcpy(out + b, &v, n);
    }
}

static inline enum ww_err fx_open(const void *params, uint64_t n_rows, uint64_t row_bytes,
                                  uint64_t n_tiles, void **state,
                                  const uint32_t **row_map, struct ww_error *err)
{
    (void)n_rows;
    (void)row_bytes;
    struct fx_params *p = (struct fx_params *)(uintptr_t)params;
    if (p->fail_open) {
        if (err) {
            err->code = p->fail_open;
        }
        return p->fail_open;
    }
    p->opened++;
    p->n_tiles = n_tiles;
    *state = p;
    *row_map = p->map;
    return WW_OK;
}

/* None, some, all of it, by the tile. */
static inline void fx_hash_beside(const struct ww_tile *t)
{
    struct ww_sha_rest *rest = t->beside;
    const uint64_t n = rest->n * (t->tile_index % 4) / 3;

    ww_sha_update(rest->sha, rest->p, n);
    rest->p += n;
    rest->n -= n;
}

static inline enum ww_err fx_run(void *state, const struct ww_tile *t,
                                 struct ww_error *err)
{
    struct fx_params *p = state;
    const uint8_t *rows[WW_MAX_SOURCES];
    bool right = t->n_tiles == p->n_tiles && t->tile_index < t->n_tiles &&
                 (uintptr_t)t->out % 8 == 0 && t->n_sources == p->n_sources &&
                 t->n_rows > 0;
    if (!right || (p->fail_run && t->tile_index == t->n_tiles - 1)) {
        if (err) {
            err->code = right ? p->fail_run : WW_E_INTERNAL;
        }
        return right ? p->fail_run : WW_E_INTERNAL;
    }
    for (uint64_t i = 0; i < t->n_rows; i++) {
        for (uint32_t s = 0; s < t->n_sources; s++) {
            rows[s] = t->rows[s][i];
        }
        fx_row(t->out + i * t->row_bytes, rows, t->n_sources, t->first_row + i,
               t->row_bytes);
    }
    p->tiles++;
    if (t->beside) {
        p->beside++;
        fx_hash_beside(t);
    }
    return WW_OK;
}

static inline enum ww_err fx_close(void *state, bool complete, struct ww_error *err)
{
    struct fx_params *p = state;
    p->closed++;
    if (complete && p->fail_close) {
        if (err) {
            err->code = p->fail_close;
        }
        return p->fail_close;
    }
    if (complete) {
        p->completed++;
        if (p->tiles != p->n_tiles) {
            return WW_E_INTERNAL;
        }
    }
    return WW_OK;
}

/* Sources come whole and right, before the kernel is opened. */
static inline void fx_lend(const void *params, const uint8_t *const *sources)
{
    struct fx_params *p = (struct fx_params *)(uintptr_t)params;
    p->lent += sources != NULL;
    p->returned += sources == NULL;
    for (uint32_t s = 0; sources && s < p->n_sources; s++) {
        assert_int_equal(p->opened, 0);
        assert_memory_equal(sources[s], p->wanted[s], p->n_lent);
    }
}

static const struct ww_kernel fx_kernel = {"test sum", fx_open, fx_run, fx_close};

static inline struct fx *fx_new(const char *where, uint64_t seed)
{
    struct fx *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    if (where) {
        assert_true(asprintf(&f->dir, "%s/ww-stream-XXXXXX", where) > 0);
        assert_non_null(mkdtemp(f->dir));
    } else {
        f->dir = ww_test_mkdir();
    }
    assert_true(asprintf(&f->out, "%s/out", f->dir) > 0);
    f->seed = seed;
    f->plan.title = "test";
    f->plan.inputs = f->inputs;
    f->plan.outputs = f->outputs;
    f->plan.tree = f->tree;
    return f;
}

static inline void fx_free(struct fx *f)
{
    for (uint32_t i = 0; i < f->plan.n_inputs; i++) {
        close(f->inputs[i].fd);
        free((char *)(uintptr_t)f->inputs[i].name);
        free(f->data[i]);
    }
    for (uint32_t i = 0; i < f->plan.n_outputs; i++) {
        free(f->expected[i]);
    }
    for (uint32_t i = 0; i < f->n_owned; i++) {
        free(f->owned[i]);
    }
    free(f->out);
    ww_test_rmdir(f->dir);
    free(f);
}

static inline uint32_t fx_input(struct fx *f, uint64_t n, bool want_sha256)
{
    uint32_t i = f->plan.n_inputs++;
    char *name = NULL;
    assert_true(i < FX_INPUTS && asprintf(&name, "%s/in%u", f->dir, i) > 0);
    f->data[i] = malloc(n + 1);
    fx_fill(&f->seed, f->data[i], n);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    for (uint64_t at = 0; at < n;) {
        ssize_t got = write(fd, f->data[i] + at, n - at);
        assert_true(got > 0);
        at += (uint64_t)got;
    }
    f->inputs[i] = (struct ww_input){name, fd, n, want_sha256};
    return i;
}

static inline void fx_output(struct fx *f, const char *path)
{
    uint32_t o = f->plan.n_outputs++;
    assert_true(o < FX_OUTPUTS);
    f->outputs[o].path = path;
    f->outputs[o].pieces = f->pieces[o];
}

/* Add to the last output; the result is filled by the caller. */
static inline struct ww_piece *fx_piece(struct fx *f, uint64_t n, uint8_t **expected)
{
    uint32_t o = f->plan.n_outputs - 1;
    struct ww_output *output = &f->outputs[o];
    assert_true(output->n_pieces < FX_PIECES);
    struct ww_piece *piece = &output->pieces[output->n_pieces++];
    f->expected[o] = realloc(f->expected[o], output->size_bytes + n + 1);
    *expected = f->expected[o] + output->size_bytes;
    output->size_bytes += n;
    piece->n_bytes = n;
    piece->tree_index = WW_NONE;
    return piece;
}

static inline void fx_in_tree(struct fx *f, struct ww_piece *piece)
{
    uint32_t t = f->plan.n_tree++;
    assert_true(t < FX_TREE);
    /* Ranks run against the order of writing. */
    snprintf(f->names[t], sizeof(f->names[t]), "t%06u", 999999 - t);
    f->tensors[t] = (struct ww_tensor){.name = f->names[t],
                                       .dtype = WW_DTYPE_U8,
                                       .rank = 1,
                                       .shape = {piece->n_bytes},
                                       .n_elements = piece->n_bytes,
                                       .n_bytes = piece->n_bytes};
    f->tree[t].tensor = &f->tensors[t];
    f->tree[t].rank = 1000 - t;
    piece->tree_index = t;
}

/* n bytes of an input given in memory; with `counts` they stand for the input's. */
static inline void fx_bytes(struct fx *f, uint32_t input, uint64_t offset, uint64_t n,
                            bool counts)
{
    uint8_t *expected = NULL;
    struct ww_piece *piece = fx_piece(f, n, &expected);
    memcpy(expected, f->data[input] + offset, n);
    piece->kind = WW_PIECE_BYTES;
    piece->bytes = f->data[input] + offset;
    if (counts) {
        f->sources[f->n_used][0] = (struct ww_piece_source){input, offset};
        piece->sources = f->sources[f->n_used++];
        piece->n_sources = 1;
    }
}

static inline void fx_copy(struct fx *f, uint32_t input, uint64_t offset, uint64_t n,
                           bool tree)
{
    uint8_t *expected = NULL;
    struct ww_piece *piece = fx_piece(f, n, &expected);
    memcpy(expected, f->data[input] + offset, n);
    piece->kind = WW_PIECE_COPY;
    f->sources[f->n_used][0] = (struct ww_piece_source){input, offset};
    piece->sources = f->sources[f->n_used++];
    piece->n_sources = 1;
    if (tree) {
        fx_in_tree(f, piece);
    }
}

enum fx_map { FX_IDENTITY, FX_REVERSE, FX_RANDOM, FX_NEAR };

static inline uint32_t *fx_make_map(struct fx *f, enum fx_map kind, uint64_t n)
{
    if (kind == FX_IDENTITY) {
        return NULL;
    }
    uint32_t *map = calloc(n + 1, sizeof(*map));
    f->owned[f->n_owned++] = map;
    for (uint64_t i = 0; i < n; i++) {
        switch (kind) {
        case FX_REVERSE:
            map[i] = (uint32_t)(n - 1 - i);
            break;
        case FX_RANDOM:
            map[i] = (uint32_t)(fx_random(&f->seed) % n);
            break;
        case FX_NEAR:
            map[i] = (uint32_t)((i ^ 1) < n ? i ^ 1 : i);
            break;
        case FX_IDENTITY:
            break;
        }
    }
    return map;
}

static inline struct fx_params *fx_tensor(struct fx *f,
                                          const struct ww_piece_source *from,
                                          uint32_t n_sources, uint64_t n_rows,
                                          uint64_t row_bytes, enum fx_map kind)
{
    uint8_t *expected = NULL;
    const uint8_t *rows[WW_MAX_SOURCES];
    struct ww_piece *piece = fx_piece(f, n_rows * row_bytes, &expected);
    struct fx_params *params = &f->params[f->n_used];
    if (n_sources) {
        memcpy(f->sources[f->n_used], from, n_sources * sizeof(*from));
    }
    params->map = fx_make_map(f, kind, n_rows);
    params->n_sources = n_sources;
    piece->kind = WW_PIECE_KERNEL;
    piece->hashes = f->n_used % 2 == 0;
    piece->kernel = &fx_kernel;
    piece->params = params;
    piece->params_digest[0] = (uint8_t)f->n_used;
    piece->sources = f->sources[f->n_used++];
    piece->n_sources = n_sources;
    piece->n_rows = n_rows;
    piece->row_bytes = row_bytes;
    fx_in_tree(f, piece);
    for (uint64_t i = 0; i < n_rows; i++) {
        uint64_t row = params->map ? params->map[i] : i;
        for (uint32_t s = 0; s < n_sources; s++) {
            rows[s] = f->data[from[s].input] + from[s].offset + row * row_bytes;
        }
        fx_row(expected + i * row_bytes, rows, n_sources, i, row_bytes);
    }
    return params;
}

/* The tensor added last has its sources lent when it is opened. */
static inline void fx_lends(struct fx *f)
{
    const struct ww_output *output = &f->outputs[f->plan.n_outputs - 1];
    struct ww_piece *piece = &output->pieces[output->n_pieces - 1];
    struct fx_params *p = &f->params[f->n_used - 1];

    piece->lend = fx_lend;
    p->n_lent = piece->n_bytes;
    for (uint32_t s = 0; s < piece->n_sources; s++) {
        p->wanted[s] = f->data[piece->sources[s].input] + piece->sources[s].offset;
    }
}

static inline void fx_reset(struct fx *f)
{
    for (uint32_t i = 0; i < f->n_used; i++) {
        f->params[i].opened = 0;
        f->params[i].closed = 0;
        f->params[i].completed = 0;
        f->params[i].tiles = 0;
        f->params[i].beside = 0;
        f->params[i].lent = 0;
        f->params[i].returned = 0;
    }
}

/* Every kernel that was opened was closed once, and with all tiles when it went well. */
static inline void fx_check_kernels(const struct fx *f, bool complete)
{
    for (uint32_t i = 0; i < f->n_used; i++) {
        assert_int_equal(f->params[i].opened, f->params[i].closed);
        if (complete && f->params[i].n_sources) {
            assert_int_equal(f->params[i].opened, 1);
            assert_int_equal(f->params[i].completed, 1);
        }
    }
}

static inline void fx_check_digests(const struct fx *f, const struct ww_stream_result *r)
{
    struct ww_error err = {0};
    uint8_t want[WW_SHA256_BYTES];
    static const uint8_t zero[WW_SHA256_BYTES];
    struct ww_tree_tensor *tree = NULL;

    for (uint32_t i = 0; i < f->plan.n_inputs; i++) {
        ww_sha256_of(f->data[i], f->inputs[i].size_bytes, want);
        assert_memory_equal(r->input_sha256[i], f->inputs[i].want_sha256 ? want : zero,
                            WW_SHA256_BYTES);
    }
    OK(ww_tree_tensor_new(&tree, &err));
    for (uint32_t o = 0; o < f->plan.n_outputs; o++) {
        const struct ww_output *output = &f->outputs[o];
        const uint8_t *at = f->expected[o];
        ww_sha256_of(at, output->size_bytes, want);
        assert_memory_equal(r->output_sha256[o], want, WW_SHA256_BYTES);
        for (uint32_t p = 0; p < output->n_pieces; p++) {
            uint32_t t = output->pieces[p].tree_index;
            if (t != WW_NONE) {
                ww_tree_tensor_begin(tree, f->tree[t].rank);
                OK(ww_tree_tensor_update(tree, at, output->pieces[p].n_bytes, &err));
                OK(ww_tree_tensor_end(tree, &f->tensors[t], want, &err));
                assert_memory_equal(r->tensor_root[t], want, WW_SHA256_BYTES);
            }
            at += output->pieces[p].n_bytes;
        }
    }
    ww_tree_tensor_free(tree);
}

static inline void fx_check_file(const struct fx *f, uint32_t o)
{
    char *path = NULL;
    struct stat st;
    uint64_t n = f->outputs[o].size_bytes;
    uint8_t *found = malloc(n + 1);

    assert_true(asprintf(&path, "%s/%s", f->out, f->outputs[o].path) > 0);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, n);
    for (uint64_t at = 0; at < n;) {
        ssize_t got = read(fd, found + at, n - at);
        assert_true(got > 0);
        at += (uint64_t)got;
    }
    assert_true(n == 0 || memcmp(found, f->expected[o], n) == 0);
    close(fd);
    free(found);
    free(path);
}

static inline bool fx_exists(const struct fx *f, const char *name)
{
    char *path = NULL;
    struct stat st;
    assert_true(asprintf(&path, "%s/%s", f->dir, name) > 0);
    bool there = lstat(path, &st) == 0;
    free(path);
    return there;
}

/* OUT is there with every file, and nothing is left beside it or too much inside. */
static inline void fx_check_out(const struct fx *f)
{
    for (uint32_t o = 0; o < f->plan.n_outputs; o++) {
        fx_check_file(f, o);
    }
    assert_false(fx_exists(f, "out.partial"));
    assert_false(fx_exists(f, "out.partial.journal"));
    assert_false(fx_exists(f, "out/.weightward-journal"));
}

static inline void fx_remove_out(const struct fx *f)
{
    char *command = NULL;
    assert_true(asprintf(&command, "rm -rf '%s' '%s.partial' '%s.partial.journal'",
                         f->out, f->out, f->out) > 0);
    assert_int_equal(system(command), 0);
    free(command);
}

/* begin, run, commit; the caller checks. */
static inline enum ww_err fx_go(struct fx *f, const struct ww_run_options *options,
                                struct ww_stream_result *result, bool keep,
                                struct ww_error *err)
{
    struct ww_out *out = NULL;
    fx_reset(f);
    memset(result, 0, sizeof(*result));
    enum ww_err rc = ww_out_begin(f->out, &f->plan, 0, options, &out, err);
    if (!rc) {
        rc = ww_stream_run(&f->plan, out, options, result, err);
    }
    if (!rc) {
        rc = ww_out_commit(out, err);
        if (rc) {
            ww_stream_result_release(result);
        }
    }
    ww_out_close(out, keep);
    return rc;
}

/* A plan with everything in it: about `scale` MiB, at least 1. */
static inline struct fx *fx_mixed(const char *where, uint64_t scale)
{
    struct fx *f = fx_new(where, 7);
    uint64_t big = scale << 20;
    uint32_t a = fx_input(f, 3 * big + 100003, true);
    uint32_t b = fx_input(f, big + 5, true);
    uint32_t c = fx_input(f, 2 * big, false);
    struct ww_piece_source at = {a, 0};
    uint64_t o = 1003;

    fx_output(f, "model-00001.safetensors");
    fx_bytes(f, a, 0, o, true);
    at.offset = o; /* unaligned from here on */
    fx_tensor(f, &at, 1, big / 4096, 4096, FX_IDENTITY);
    fx_lends(f);
    o += big;
    at.offset = o;
    fx_tensor(f, &at, 1, big / 1024, 1024, FX_REVERSE);
    o += big;
    for (uint64_t i = 0; i < 60; i++) { /* small ones, some empty */
        at.offset = o;
        fx_tensor(f, &at, 1, i % 7, 64, i % 2 ? FX_REVERSE : FX_IDENTITY);
        o += i % 7 * 64;
    }
    fx_copy(f, a, o, 3 * big + 100003 - o, true);
    fx_output(f, "sub/folder/other.safetensors");
    fx_bytes(f, a, 8, 24, false);
    struct ww_piece_source two[3] = {{c, 0}, {c, big}, {b, 5}};
    fx_tensor(f, two, 3, big / 2048, 2048, FX_IDENTITY);
    fx_lends(f);
    fx_tensor(f, two, 2, big / 2048, 2048, FX_RANDOM);
    fx_tensor(f, two, 1, big / 512, 512, FX_NEAR);
    fx_copy(f, b, 100, 1, true);
    fx_output(f, "empty.txt");
    fx_output(f, "side.json");
    fx_copy(f, b, 0, big / 3, false);
    return f;
}

#endif
