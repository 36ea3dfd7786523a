/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "rmm/base_read.h"
#include "rmm/chunk.h"
#include "rmm/shared.h"
#include "rmm/table.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define SALT_LABEL "weightward/package/salt/v1"
#define COMMITMENT_LABEL "weightward/package/commitment/v1"

uint64_t ww_part_chunks(uint64_t bytes)
{
    return ww_div_up(bytes, WW_CHUNK_BYTES);
}

size_t ww_part_chunk_bytes(const struct ww_pack_table_part *part, uint64_t chunk)
{
    return (size_t)ww_min_u64(WW_CHUNK_BYTES, part->bytes - chunk * WW_CHUNK_BYTES);
}

static void write_chunks(struct ww_jw *w, const struct ww_pack_table_chunk *chunks,
                         uint64_t n)
{
    ww_jw_key(w, "chunks");
    ww_jw_array(w);
    for (uint64_t c = 0; c < n; c++) {
        char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];
        ww_hex(hex, chunks[c].sha256, WW_SHA256_BYTES);
        ww_jw_array(w);
        ww_jw_u64(w, chunks[c].len);
        ww_jw_str(w, hex);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_rank(struct ww_jw *w, const struct ww_pack_table_part *part)
{
    ww_jw_key(w, "rank");
    ww_jw_object(w);
    ww_jw_ku64(w, "rank", part->rank.rank);
    ww_jw_ku64(w, "rows", part->rank.rows);
    ww_jw_kstr(w, "rounding", part->rank.product ? "product" : "sum");
    write_chunks(w, part->factors, part->n_factors);
    ww_jw_close(w);
}

static void write_shared(struct ww_jw *w, const struct ww_pack_table_part *part)
{
    ww_jw_key(w, "shared");
    ww_jw_object(w);
    ww_jw_kstr(w, "codec", ww_shared_codec_name(part->shared.codec));
    ww_jw_kstr(w, "side", part->shared.is_b ? "b" : "a");
    ww_jw_ku64(w, "places", part->shared.places);
    ww_jw_ku64(w, "directions", part->shared.directions);
    write_chunks(w, part->factors, part->n_factors);
    ww_jw_close(w);
}

static void write_part(struct ww_jw *w, const struct ww_pack_table *table,
                       const struct ww_pack_table_part *part)
{
    ww_jw_object(w);
    ww_jw_ku64(w, "bytes", part->bytes);
    ww_jw_kstr(w, "dtype", ww_dtype_name(part->dtype));
    if (part->tensor) {
        ww_jw_kstr(w, "tensor", part->tensor);
    }
    if (part->predicted) {
        ww_jw_kbool(w, "base", true);
    }
    if (ww_base_changes(part)) {
        ww_jw_kstr(w, "base_dtype", ww_dtype_name(part->base_dtype));
    }
    if (part->chained) {
        ww_jw_kbool(w, "parent", true);
    }
    if (part->rank.rank > 0) {
        write_rank(w, part);
    }
    if (part->shared.codec != WW_SHARED_NONE) {
        write_shared(w, part);
    }
    write_chunks(w, table->chunks + part->first_chunk, part->n_chunks);
    ww_jw_close(w);
}

static void write_file(struct ww_jw *w, const struct ww_pack_table *table,
                       const struct ww_pack_table_file *file)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "path", file->path);
    ww_jw_ku64(w, "size", file->size_bytes);
    ww_jw_khex(w, "sha256", file->sha256, WW_SHA256_BYTES);
    if (file->same) {
        ww_jw_kbool(w, "same", true);
    } else {
        ww_jw_key(w, "parts");
        ww_jw_array(w);
        for (uint32_t p = 0; p < file->n_parts; p++) {
            write_part(w, table, &table->parts[file->first_part + p]);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static const char *schema_of(const struct ww_pack_table *table)
{
    bool third = table->narrow;

    for (uint32_t p = 0; p < table->n_parts && !third; p++) {
        third = ww_base_changes(&table->parts[p]);
    }
    return third ? WW_PACK_TABLE_SCHEMA_3 : WW_PACK_TABLE_SCHEMA;
}

enum ww_err ww_pack_table_write(const struct ww_pack_table *table, struct ww_buf *out,
                                struct ww_error *err)
{
    struct ww_jw w;

    ww_jw_init(&w, out, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", schema_of(table));
    ww_jw_khex(&w, "salt", table->salt, sizeof(table->salt));
    ww_jw_key(&w, "files");
    ww_jw_array(&w);
    for (uint32_t f = 0; f < table->n_files; f++) {
        write_file(&w, table, &table->files[f]);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

static enum ww_err digest_files(const struct ww_pack_table *table, const char *label,
                                size_t label_bytes, const uint8_t *salt,
                                size_t salt_bytes, uint8_t out[WW_SHA256_BYTES],
                                struct ww_error *err)
{
    struct ww_sha256 *sha = NULL;
    const enum ww_err rc = ww_sha256_new(&sha, err);

    if (rc) {
        return rc;
    }
    ww_sha256_update(sha, label, label_bytes);
    ww_sha256_update(sha, salt, salt_bytes);
    for (uint32_t f = 0; f < table->n_files; f++) {
        const struct ww_pack_table_file *file = &table->files[f];
        const size_t len = strlen(file->path);
        uint8_t number[8];
        ww_put_u32le(number, (uint32_t)len);
        ww_sha256_update(sha, number, 4);
        ww_sha256_update(sha, file->path, len);
        ww_put_u64le(number, file->size_bytes);
        ww_sha256_update(sha, number, 8);
        ww_sha256_update(sha, file->sha256, WW_SHA256_BYTES);
    }
    ww_sha256_final(sha, out);
    ww_sha256_free(sha);
    return WW_OK;
}

enum ww_err ww_pack_table_plain_salt(const struct ww_pack_table *table,
                                     uint8_t out[WW_SALT_BYTES], struct ww_error *err)
{
    return digest_files(table, SALT_LABEL, sizeof(SALT_LABEL), NULL, 0, out, err);
}

enum ww_err ww_pack_table_commitment(const struct ww_pack_table *table,
                                     uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    return digest_files(table, COMMITMENT_LABEL, sizeof(COMMITMENT_LABEL), table->salt,
                        sizeof(table->salt), out, err);
}
