/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of a catalogue and what goes into and comes out of them. */
#ifndef WW_LINEAGE_CATALOGUE_STORE_H
#define WW_LINEAGE_CATALOGUE_STORE_H

#include "db/db.h"
#include "lineage/catalogue_print.h"

#define WW_CATALOGUE_VERSION 3
#define WW_CATALOGUE_ID UINT32_C(0x57774361) /* "WwCa" */
/** Least row hashes of a tensor that the index of rows has. */
#define WW_ROW_KEYS 4
/** Those of a tensor, ascending, each once; how many. */
size_t ww_row_keys(const struct ww_print_tensor *tensor, uint64_t least[WW_ROW_KEYS]);

/** Open, make tables where they are missing, check version and class. mode WRITE sets the
 *  class of a new catalogue to *sampled; READ fills it. */
enum ww_err ww_store_open(const char *where, enum ww_db_mode mode, bool *sampled,
                          struct ww_db **out, struct ww_error *err) WW_MUST_USE;

/** Who a model is, beside its print. */
struct ww_store_model {
    const char *name;
    const char *place; /* folder */
    uint8_t stamp[WW_SHA256_BYTES];
    bool root;
};

/** Identity of files without reading them: place, sizes, times and headers. */
enum ww_err ww_store_stamp(const struct ww_model *model, const char *place,
                           uint8_t out[WW_SHA256_BYTES],
                           struct ww_error *err) WW_MUST_USE;

/** Name under which a stamp or digest is in column; *out is NULL for none. */
enum ww_err ww_store_known(struct ww_db *db, const char *column,
                           const uint8_t key[WW_SHA256_BYTES], char **out,
                           struct ww_error *err) WW_MUST_USE;

/** Are the files of a place those of a stamp still? */
bool ww_store_at_hand(const char *place, const uint8_t stamp[WW_SHA256_BYTES]);

/** Add in one transaction; *known_as is set, and no model added, when the weights are
 *  there; their place is the new one when they are not at hand in the old. WW_E_EXISTS.
 */
enum ww_err ww_store_add(struct ww_db *db, const struct ww_store_model *who,
                         const struct ww_print *print, char **known_as,
                         struct ww_error *err) WW_MUST_USE;

/** A statement that gives no rows. */
enum ww_err ww_store_run(struct ww_db *db, const char *sql,
                         const struct ww_db_value *parameters, size_t n,
                         struct ww_error *err) WW_MUST_USE;
/** One whole number; *out stays as it is when there is no row. */
enum ww_err ww_store_count(struct ww_db *db, const char *sql,
                           const struct ww_db_value *parameters, size_t n, int64_t *out,
                           struct ww_error *err) WW_MUST_USE;

/** One model of a family, without its sketch. */
struct ww_store_member {
    int64_t id;
    char *name;
    char *place;
    uint8_t stamp[WW_SHA256_BYTES];
    bool root;
    bool decoded; /* its weights were rounded to eight bits or fewer */
};
struct ww_store_family {
    struct ww_store_member *members; /* by id */
    float *sketches;                 /* [n][WW_SKETCH_COARSE] */
    double *cosines;                 /* [n], with the suspect's sketch */
    bool *related;                   /* [n]: at least WW_FAMILY_RELATED */
    double *sum; /* [WW_SKETCH_COARSE], of related members' sketches */
    size_t n;
    size_t capacity;
};
/** Weights of unrelated models have a cosine near 0, of one root's above 0.9. */
#define WW_FAMILY_RELATED 0.5
/** WW_E_LIMIT above 65,536 members: a gibibyte of sketches. */
#define WW_FAMILY_MOST 65536
enum ww_err ww_store_family(struct ww_db *db, const struct ww_print *suspect,
                            struct ww_store_family *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_store_family_release(struct ww_store_family *family);

/** Floats of a detail ("fine", "gram") of one model; *found is false, and out is as it
 *  was, when it has none. WW_E_MALFORMED for another length. */
enum ww_err ww_store_detail(struct ww_db *db, int64_t model, const char *column,
                            float *out, size_t n, bool *found,
                            struct ww_error *err) WW_MUST_USE;
/** Does any model have fine sketches? */
enum ww_err ww_store_has_fine(struct ww_db *db, bool *out,
                              struct ww_error *err) WW_MUST_USE;
/** Finite floats out of a blob of exactly 4 n bytes; what names it in errors. */
enum ww_err ww_store_floats(const struct ww_db_value *column, float *out, size_t n,
                            const char *what, struct ww_error *err) WW_MUST_USE;

/** A copy of a name that will be shown to people: text without control characters, of at
 *  most 64 KiB; what names it in errors. WW_E_MALFORMED. */
enum ww_err ww_store_name(const struct ww_db_value *column, const char *what, char **out,
                          struct ww_error *err) WW_MUST_USE;

/** A blob of exactly len bytes, or of any when len is 0; WW_E_MALFORMED else. */
enum ww_err ww_store_blob(const struct ww_db_value *column, size_t len, const char *what,
                          struct ww_error *err) WW_MUST_USE;

#endif
