/* SPDX-License-Identifier: Apache-2.0 */
/* The table of a member that nobody needs to have signed: everything that is used as a
 * length or a path is checked here. */
#include <string.h>

#include "model/dtype.h"
#include "model/recode.h"
#include "rmm/rank.h"
#include "rmm/shared.h"
#include "rmm/table.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

static const struct ww_json_limits limits = {WW_PACK_TABLE_MAX_BYTES, 8, 4000000, false};

static const char *const table_keys[] = {"schema", "salt", "files"};
static const char *const file_keys[] = {"path", "size", "sha256", "same", "parts"};
static const char *const part_keys[] = {"bytes", "dtype",      "tensor",
                                        "base",  "base_dtype", "parent",
                                        "rank",  "shared",     "chunks"};
static const char *const rank_keys[] = {"rank", "rows", "rounding", "chunks"};
static const char *const shared_keys[] = {"codec", "side", "places", "directions",
                                          "chunks"};

#define MOST_NUMBERS (UINT64_C(1) << 48) /* of a tensor with factors */

struct reader {
    const char *member;
    struct ww_pack_table *table;
    uint64_t at; /* of the next chunk */
    bool third;  /* schema */
    struct ww_error *err;
};

static enum ww_err malformed(const struct reader *r, const char *what)
{
    return WW_FAIL(r->err, WW_E_MALFORMED,
                   "member '%s': '%s' in its table is missing or malformed", r->member,
                   what);
}

static bool is_array(const struct ww_jnode *node)
{
    return node && ww_jtype(node) == WW_J_ARRAY;
}

/* A member that may be missing but not false. */
static bool read_flag(const struct ww_jnode *node, bool *out)
{
    *out = false;
    return !node || (ww_jbool(node, out) && *out);
}

/* Chunks that lie behind those read so far. */
static enum ww_err read_chunks(struct reader *r, uint64_t n, const struct ww_jnode *list)
{
    struct ww_pack_table *t = r->table;

    if (!is_array(list) || ww_jsize(list) != n) {
        return malformed(r, "chunks");
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        struct ww_pack_table_chunk *chunk = &t->chunks[t->n_chunks++];
        uint64_t len = 0;
        if (!is_array(at) || ww_jsize(at) != 2 || !ww_ju64(ww_jat(at, 0), &len) ||
            len == 0 || len > WW_CHUNK_MAX_CODED ||
            !ww_jhex(ww_jat(at, 1), chunk->sha256, WW_SHA256_BYTES)) {
            return malformed(r, "chunks");
        }
        chunk->at = r->at;
        chunk->len = (uint32_t)len;
        r->at += len; /* cannot overflow: four million chunks of two MiB */
    }
    return WW_OK;
}

/* Factors are no larger than the tensor's numbers in fp64, so that who claims little
 * cannot ask for much memory. */
static enum ww_err read_rank(struct reader *r, struct ww_pack_table_part *part,
                             const struct ww_jnode *node)
{
    struct ww_pack_rank *rank = &part->rank;
    const uint64_t n = part->bytes / ww_max_u64(1, ww_dtype_bits(part->dtype) / 8);
    const char *rounding = NULL;
    uint64_t sides = 0;
    const enum ww_err rc = ww_jonly(node, rank_keys, WW_LEN(rank_keys), WW_E_MALFORMED,
                                    "rank of a package's member", r->err);

    if (rc) {
        return rc;
    }
    if (!part->predicted || !ww_rank_dtype(part->dtype) ||
        !ww_ju64(ww_jget(node, "rank"), &sides) || sides == 0 || sides > WW_RANK_MOST) {
        return malformed(r, "rank");
    }
    rank->rank = (uint32_t)sides;
    if (!ww_ju64(ww_jget(node, "rows"), &rank->rows) || rank->rows == 0 ||
        n % rank->rows != 0 || n > MOST_NUMBERS || sides > rank->rows ||
        sides > n / rank->rows) {
        return malformed(r, "rows");
    }
    if (!ww_jstr(ww_jget(node, "rounding"), &rounding) ||
        (strcmp(rounding, "sum") != 0 && strcmp(rounding, "product") != 0)) {
        return malformed(r, "rounding");
    }
    rank->product = strcmp(rounding, "product") == 0;
    if (rank->product && part->dtype == WW_DTYPE_F32) {
        return malformed(r, "rounding");
    }
    part->factors = r->table->chunks + r->table->n_chunks;
    part->n_factors = ww_part_chunks(ww_rank_b_bytes(rank)) +
                      ww_part_chunks(ww_rank_a_bytes(rank, n / rank->rows));
    return read_chunks(r, part->n_factors, ww_jget(node, "chunks"));
}

static enum ww_err read_shared(struct reader *r, struct ww_pack_table_part *part,
                               const struct ww_jnode *node)
{
    struct ww_pack_shared *s = &part->shared;
    const uint64_t n = part->bytes / ww_max_u64(1, ww_dtype_bits(part->dtype) / 8);
    const char *codec = NULL;
    const char *side = NULL;
    uint64_t directions = 0;
    const enum ww_err rc = ww_jonly(node, shared_keys, WW_LEN(shared_keys),
                                    WW_E_MALFORMED, "part of a package's member", r->err);

    if (rc) {
        return rc;
    }
    if (!part->chained || !part->tensor || !ww_rank_dtype(part->dtype) ||
        !ww_jstr(ww_jget(node, "codec"), &codec) ||
        !ww_shared_codec_parse(codec, &s->codec)) {
        return malformed(r, "codec");
    }
    if (!ww_jstr(ww_jget(node, "side"), &side) ||
        (strcmp(side, "a") != 0 && strcmp(side, "b") != 0)) {
        return malformed(r, "side");
    }
    s->is_b = strcmp(side, "b") == 0;
    if (!ww_ju64(ww_jget(node, "places"), &s->places) ||
        !ww_ju64(ww_jget(node, "directions"), &directions) ||
        directions > WW_SHARED_MOST) {
        return malformed(r, "directions");
    }
    s->directions = (uint32_t)directions;
    if (!ww_shared_fits(s, n)) {
        return malformed(r, "places");
    }
    part->factors = r->table->chunks + r->table->n_chunks;
    part->n_factors = ww_part_chunks(ww_shared_own_bytes(s, n));
    return read_chunks(r, part->n_factors, ww_jget(node, "chunks"));
}

static bool read_base_dtype(const struct reader *r, struct ww_pack_table_part *part,
                            const struct ww_jnode *node)
{
    const char *dtype = NULL;

    part->base_dtype = part->dtype;
    return !node || (r->third && part->predicted && ww_jstr(node, &dtype) &&
                     ww_dtype_parse(dtype, strlen(dtype), &part->base_dtype) &&
                     ww_recodes(part->base_dtype, part->dtype));
}

static enum ww_err read_part(struct reader *r, const struct ww_jnode *node)
{
    struct ww_pack_table_part *part = &r->table->parts[r->table->n_parts++];
    const struct ww_jnode *tensor = ww_jget(node, "tensor");
    const char *dtype = NULL;
    const struct ww_jnode *rank = ww_jget(node, "rank");
    const struct ww_jnode *shared = ww_jget(node, "shared");
    enum ww_err rc = ww_jonly(node, part_keys, WW_LEN(part_keys), WW_E_MALFORMED,
                              "part of a package's member", r->err);

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "dtype"), &dtype) ||
        !ww_dtype_parse(dtype, strlen(dtype), &part->dtype)) {
        return malformed(r, "dtype");
    }
    if (!ww_ju64(ww_jget(node, "bytes"), &part->bytes) ||
        part->bytes % ww_chunk_type_of(part->dtype).width != 0) {
        return malformed(r, "bytes");
    }
    if (tensor && !ww_jstr(tensor, &part->tensor)) {
        return malformed(r, "tensor");
    }
    if (!read_flag(ww_jget(node, "base"), &part->predicted) ||
        (part->predicted && !part->tensor)) {
        return malformed(r, "base");
    }
    if (!read_base_dtype(r, part, ww_jget(node, "base_dtype"))) {
        return malformed(r, "base_dtype");
    }
    if (!read_flag(ww_jget(node, "parent"), &part->chained) ||
        (part->chained && part->predicted)) {
        return malformed(r, "parent");
    }
    if (rank) {
        rc = read_rank(r, part, rank);
    }
    if (!rc && shared) {
        rc = read_shared(r, part, shared);
    }
    part->first_chunk = r->table->n_chunks;
    part->n_chunks = ww_part_chunks(part->bytes);
    return rc ? rc : read_chunks(r, part->n_chunks, ww_jget(node, "chunks"));
}

static enum ww_err read_parts(struct reader *r, struct ww_pack_table_file *file,
                              const struct ww_jnode *list)
{
    uint64_t total = 0;
    enum ww_err rc = WW_OK;

    if (!is_array(list)) {
        return malformed(r, "parts");
    }
    file->first_part = r->table->n_parts;
    file->n_parts = (uint32_t)ww_jsize(list);
    for (const struct ww_jnode *at = ww_jfirst(list); at && !rc; at = ww_jnext(at)) {
        rc = read_part(r, at);
        if (!rc &&
            !ww_add_u64(total, r->table->parts[r->table->n_parts - 1].bytes, &total)) {
            rc = malformed(r, "bytes");
        }
    }
    return rc || total == file->size_bytes ? rc : malformed(r, "size");
}

static enum ww_err read_file(struct reader *r, const struct ww_jnode *node)
{
    struct ww_pack_table *t = r->table;
    struct ww_pack_table_file *file = &t->files[t->n_files++];
    const enum ww_err rc = ww_jonly(node, file_keys, WW_LEN(file_keys), WW_E_MALFORMED,
                                    "file of a package's member", r->err);

    if (rc) {
        return rc;
    }
    if (!ww_jstr(ww_jget(node, "path"), &file->path) || strlen(file->path) > 1024 ||
        !ww_path_is_relative(file->path)) {
        return malformed(r, "path");
    }
    if (t->n_files > 1 && strcmp(file[-1].path, file->path) >= 0) {
        return WW_FAIL(r->err, WW_E_MALFORMED,
                       "member '%s': file '%s' is not behind '%s' in its table",
                       r->member, file->path, file[-1].path);
    }
    if (!ww_ju64(ww_jget(node, "size"), &file->size_bytes)) {
        return malformed(r, "size");
    }
    if (!ww_jhex(ww_jget(node, "sha256"), file->sha256, WW_SHA256_BYTES)) {
        return malformed(r, "sha256");
    }
    if (!read_flag(ww_jget(node, "same"), &file->same) ||
        file->same == (ww_jget(node, "parts") != NULL)) {
        return malformed(r, "same");
    }
    return file->same ? WW_OK : read_parts(r, file, ww_jget(node, "parts"));
}

static uint64_t count(const struct ww_jnode *list)
{
    return is_array(list) ? ww_jsize(list) : 0;
}

static enum ww_err make_room(struct reader *r, const struct ww_jnode *files)
{
    uint64_t n_parts = 0;
    uint64_t n_chunks = 0;

    for (const struct ww_jnode *f = ww_jfirst(files); f; f = ww_jnext(f)) {
        const struct ww_jnode *parts = ww_jget(f, "parts");
        n_parts += count(parts);
        for (const struct ww_jnode *p = count(parts) ? ww_jfirst(parts) : NULL; p;
             p = ww_jnext(p)) {
            n_chunks += count(ww_jget(p, "chunks"));
            n_chunks += count(ww_jget(ww_jget(p, "rank"), "chunks"));
            n_chunks += count(ww_jget(ww_jget(p, "shared"), "chunks"));
        }
    }
    r->table->files = ww_calloc(ww_jsize(files), sizeof(*r->table->files));
    r->table->parts = ww_calloc(n_parts, sizeof(*r->table->parts));
    r->table->chunks = ww_calloc(n_chunks, sizeof(*r->table->chunks));
    if (!r->table->files || !r->table->parts || !r->table->chunks) {
        return WW_FAIL_MEMORY(r->err, "the table of a member");
    }
    return WW_OK;
}

static enum ww_err read_all(struct reader *r, const struct ww_jnode *root)
{
    const struct ww_jnode *files = ww_jget(root, "files");
    const char *schema = NULL;
    enum ww_err rc = WW_OK;

    if (!ww_jstr(ww_jget(root, "schema"), &schema)) {
        return malformed(r, "schema");
    }
    r->third = strcmp(schema, WW_PACK_TABLE_SCHEMA_3) == 0;
    if (!r->third && strcmp(schema, WW_PACK_TABLE_SCHEMA) != 0) {
        return WW_FAIL(r->err, WW_E_VERSION,
                       "member '%s': table of schema '%s', expected '%s' or '%s'",
                       r->member, schema, WW_PACK_TABLE_SCHEMA, WW_PACK_TABLE_SCHEMA_3);
    }
    rc = ww_jonly(root, table_keys, WW_LEN(table_keys), WW_E_MALFORMED,
                  "table of a package's member", r->err);
    if (rc) {
        return rc;
    }
    if (!ww_jhex(ww_jget(root, "salt"), r->table->salt, WW_SALT_BYTES)) {
        return malformed(r, "salt");
    }
    if (!is_array(files)) {
        return malformed(r, "files");
    }
    rc = make_room(r, files);
    for (const struct ww_jnode *at = ww_jfirst(files); at && !rc; at = ww_jnext(at)) {
        rc = read_file(r, at);
    }
    return rc;
}

enum ww_err ww_pack_table_read(const uint8_t *text, size_t len, uint64_t content_bytes,
                               const char *member, struct ww_pack_table *out,
                               struct ww_error *err)
{
    struct reader r = {.member = member, .table = out, .err = err};
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_json_parse(text, len, &limits, &out->json, err);
    if (rc) {
        ww_error_context(err, "member '%s'", member);
        goto out;
    }
    rc = read_all(&r, ww_json_root(out->json));
    if (!rc && r.at != content_bytes) {
        rc = WW_FAIL(err, WW_E_MALFORMED,
                     "member '%s': its chunks have %llu bytes, expected %llu", member,
                     (unsigned long long)r.at, (unsigned long long)content_bytes);
    }
out:
    if (rc) {
        ww_pack_table_release(out);
    }
    return rc;
}

void ww_pack_table_release(struct ww_pack_table *table)
{
    ww_free(table->files);
    ww_free(table->parts);
    ww_free(table->chunks);
    ww_json_free(table->json);
    memset(table, 0, sizeof(*table));
}
