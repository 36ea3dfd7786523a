/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Table of a member: its files, the parts of each, and where their coded chunks lie. JSON
 * at the end of the section; members: docs/formats/package.md.
 */
#ifndef WW_RMM_PACK_TABLE_H
#define WW_RMM_PACK_TABLE_H

#include "crypto/hash.h"
#include "json/json.h"
#include "weightward/model.h"

#define WW_PACK_TABLE_SCHEMA "weightward.package-member/2"
/* Of tables with what readers of that one do not know: a base of another dtype, or the
 * form narrow. */
#define WW_PACK_TABLE_SCHEMA_3 "weightward.package-member/3"
#define WW_PACK_TABLE_MAX_BYTES ((size_t)64 << 20)
#define WW_SALT_BYTES 32

struct ww_pack_table_chunk {
    uint64_t at; /* in the section's content */
    uint32_t len;
    uint8_t sha256[WW_SHA256_BYTES];
};

/** A product of low rank between a tensor and its base: see rank.h. */
struct ww_pack_rank {
    uint32_t rank; /* 0: none */
    uint64_t rows; /* of the tensor */
    bool product;  /* how the merge rounded */
};

enum ww_shared_codec { WW_SHARED_NONE, WW_SHARED_ROWS, WW_SHARED_CORE, WW_SHARED_CODECS };

/** What a part says of itself where its parent, a basis, says the rest: see shared.h. */
struct ww_pack_shared {
    enum ww_shared_codec codec;
    bool is_b;           /* places are rows, else columns */
    uint64_t places;     /* that have numbers of their own */
    uint32_t directions; /* 1 to WW_SHARED_MOST */
};

struct ww_pack_table_part {
    const char *tensor; /* NULL: a header, or a file that is no weight file */
    enum ww_dtype dtype;
    bool predicted;           /* by the base's tensor of this name */
    enum ww_dtype base_dtype; /* which has this one: see base_read.h */
    bool chained;             /* by the same part of the member's parent, instead */
    uint32_t parent_part;     /* there; see parent.h */
    uint64_t bytes;
    uint64_t first_chunk; /* in the table's chunks */
    uint64_t n_chunks;
    struct ww_pack_rank rank;
    struct ww_pack_shared shared;
    struct ww_pack_table_chunk *factors; /* of either; before the part's own chunks */
    uint64_t n_factors;
};

struct ww_pack_table_file {
    const char *path;
    uint64_t size_bytes;
    uint8_t sha256[WW_SHA256_BYTES];
    bool same; /* the base's file of this path */
    uint32_t first_part;
    uint32_t n_parts;
};

struct ww_parent;

/** Strings are borrowed: from the model when written, from json when read. */
struct ww_pack_table {
    uint8_t salt[WW_SALT_BYTES];
    struct ww_pack_table_file *files; /* by path */
    uint32_t n_files;
    struct ww_pack_table_part *parts;
    uint32_t n_parts;
    struct ww_pack_table_chunk *chunks;
    uint64_t n_chunks;
    bool narrow; /* some chunk or factor has that form; of a table that is written */
    const struct ww_parent *parent; /* of its member, once parts are bound to it */
    struct ww_json *json;
};

/** Chunks of a part of so many bytes. */
uint64_t ww_part_chunks(uint64_t bytes);
/** Bytes of one of them, before it is coded. */
size_t ww_part_chunk_bytes(const struct ww_pack_table_part *part, uint64_t chunk);

enum ww_err ww_pack_table_write(const struct ww_pack_table *table, struct ww_buf *out,
                                struct ww_error *err) WW_MUST_USE;
/** content_bytes: of the section before the table, which the chunks must fill. member
 * goes into error texts. WW_E_MALFORMED, WW_E_VERSION, WW_E_PATH. */
enum ww_err ww_pack_table_read(const uint8_t *text, size_t len, uint64_t content_bytes,
                               const char *member, struct ww_pack_table *out,
                               struct ww_error *err) WW_MUST_USE;
/** What is stored of a table or a manifest: the text, or where that is shorter u8 0 | u32
 *  length of the text | it as a chunk of form adaptive (rmm/chunk.h). out is empty
 * before.
 */
enum ww_err ww_pack_text_code(const struct ww_buf *text, struct ww_buf *out,
                              struct ww_error *err) WW_MUST_USE;
bool ww_pack_text_is_coded(const uint8_t *bytes, size_t len);
/** Is it coded by what came before in it, which no package of version 2 has? */
bool ww_pack_text_goes_back(const uint8_t *bytes, size_t len);
/** The text of what is coded, to be freed; NULL: it does not decode. */
enum ww_err ww_pack_text_open(const uint8_t *bytes, size_t len, uint8_t **text, size_t *n,
                              struct ww_error *err) WW_MUST_USE;
/** Read what stands there; as ww_pack_table_read. */
enum ww_err ww_pack_table_open(const uint8_t *bytes, size_t len, uint64_t content_bytes,
                               const char *member, struct ww_pack_table *out,
                               struct ww_error *err) WW_MUST_USE;
void ww_pack_table_release(struct ww_pack_table *table);

/** The salt of a member that anyone can read. */
enum ww_err ww_pack_table_plain_salt(const struct ww_pack_table *table,
                                     uint8_t out[WW_SALT_BYTES],
                                     struct ww_error *err) WW_MUST_USE;
/** What the manifest commits to. */
enum ww_err ww_pack_table_commitment(const struct ww_pack_table *table,
                                     uint8_t out[WW_SHA256_BYTES],
                                     struct ww_error *err) WW_MUST_USE;

#endif
