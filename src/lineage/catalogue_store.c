/* SPDX-License-Identifier: Apache-2.0 */
/* What goes into a catalogue: a model in one transaction, or not at all. */
#include "lineage/catalogue_store.h"

#include <string.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/fail.h"
#include "util/num.h"

enum ww_err ww_store_stamp(const struct ww_model *model, const char *place,
                           uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    if (!rc) {
        ww_sha256_update(h, place, strlen(place) + 1);
    }
    for (uint32_t f = 0; f < model->n_files && !rc; f++) {
        const struct ww_weight_file *file = &model->files[f];
        struct stat st;
        uint8_t numbers[24];
        if (fstat(file->fd, &st) != 0) {
            rc = WW_FAIL(err, WW_E_IO, "cannot examine '%s'", file->name);
            break;
        }
        ww_put_u64le(numbers, (uint64_t)st.st_size);
        ww_put_u64le(numbers + 8, (uint64_t)st.st_mtim.tv_sec);
        ww_put_u64le(numbers + 16, (uint64_t)st.st_mtim.tv_nsec);
        ww_sha256_update(h, file->name, strlen(file->name) + 1);
        ww_sha256_update(h, numbers, sizeof(numbers));
        ww_sha256_update(h, file->header, (size_t)file->header_bytes);
    }
    if (!rc) {
        ww_sha256_final(h, out);
    }
    ww_sha256_free(h);
    return rc;
}

bool ww_store_at_hand(const char *place, const uint8_t stamp[WW_SHA256_BYTES])
{
    struct ww_model *model = NULL;
    struct ww_error ignored = {0};
    uint8_t now[WW_SHA256_BYTES];
    bool same = false;

    if (ww_model_open(place, &model, &ignored)) {
        return false;
    }
    same = !ww_store_stamp(model, place, now, &ignored) &&
           memcmp(now, stamp, sizeof(now)) == 0;
    ww_model_close(model);
    return same;
}

static enum ww_err take_text(void *payload, const struct ww_db_value *columns, size_t n,
                             struct ww_error *err)
{
    char **out = payload;
    (void)n;
    return *out ? WW_OK : ww_store_name(&columns[0], "a model's name", out, err);
}

enum ww_err ww_store_known(struct ww_db *db, const char *column,
                           const uint8_t key[WW_SHA256_BYTES], char **out,
                           struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_blob(key, WW_SHA256_BYTES)};
    char *sql = ww_asprintf("SELECT name FROM ww_models WHERE %s = $1", column);
    enum ww_err rc = WW_OK;

    *out = NULL;
    rc = sql ? ww_db_run(db, sql, v, 1, take_text, out, err)
             : WW_FAIL_MEMORY(err, "a catalogue");
    ww_free(sql);
    return rc;
}

/* Floats as little-endian bytes; NULL gives an SQL null. */
static enum ww_err add_floats(const float *x, size_t n, struct ww_buf *room,
                              struct ww_db_value *out, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *out = (struct ww_db_value){.type = WW_DB_NULL};
    if (!x) {
        return WW_OK;
    }
    ww_buf_clear(room);
    rc = ww_buf_reserve(room, 4 * n + 4, err);
    for (size_t i = 0; i < n && !rc; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &x[i], sizeof(bits));
        rc = ww_buf_add_u32le(room, bits, err);
    }
    *out = ww_db_blob(room->data, room->len);
    return rc;
}

static enum ww_err add_details(struct ww_db *db, int64_t id, const struct ww_print *print,
                               struct ww_error *err)
{
    struct ww_db_value v[3] = {ww_db_int(id)};
    struct ww_buf room[2];
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(room); i++) {
        ww_buf_init(&room[i], (size_t)64 << 20);
    }
    rc = add_floats(print->coarse, WW_SKETCH_COARSE, &room[0], &v[1], err);
    if (!rc) {
        rc = ww_store_run(db, "INSERT INTO ww_sketches (model, coarse) VALUES ($1, $2)",
                          v, 2, err);
    }
    if (!rc && print->spectra) {
        rc = add_floats(print->spectra, print->n_spectra, &room[0], &v[1], err);
        if (!rc) {
            rc = ww_store_run(
                db, "INSERT INTO ww_spectra (model, spectra) VALUES ($1, $2)", v, 2, err);
        }
    }
    if (!rc) {
        rc = add_floats(print->gram, WW_PRINT_GRAM, &room[0], &v[1], err);
    }
    if (!rc) {
        rc = add_floats(print->fine, WW_SKETCH_FINE, &room[1], &v[2], err);
    }
    if (!rc) {
        rc = ww_store_run(
            db, "INSERT INTO ww_details (model, gram, fine) VALUES ($1, $2, $3)", v, 3,
            err);
    }
    for (size_t i = 0; i < WW_LEN(room); i++) {
        ww_buf_release(&room[i]);
    }
    return rc;
}

/* The least hashes, each once: two tensors that share most rows share most of these. */
size_t ww_row_keys(const struct ww_print_tensor *t, uint64_t least[WW_ROW_KEYS])
{
    size_t n = 0;

    for (uint64_t r = 0; r < t->n_row_hashes; r++) {
        const uint64_t h = t->row_hashes[r];
        size_t at = n;
        while (at > 0 && least[at - 1] > h) {
            at--;
        }
        if (at == WW_ROW_KEYS || (at > 0 && least[at - 1] == h)) {
            continue;
        }
        n += n < WW_ROW_KEYS;
        memmove(least + at + 1, least + at, (n - at - 1) * sizeof(*least));
        least[at] = h;
    }
    return n;
}

static enum ww_err add_tensor(struct ww_db *db, int64_t id, uint32_t ordinal,
                              const struct ww_print_tensor *t, struct ww_buf *room,
                              struct ww_error *err)
{
    uint64_t least[WW_ROW_KEYS];
    const size_t n_least = ww_row_keys(t, least);
    enum ww_err rc = WW_OK;

    ww_buf_clear(room);
    for (uint64_t r = 0; r < t->n_row_hashes && !rc; r++) {
        rc = ww_buf_add_u64le(room, t->row_hashes[r], err);
    }
    if (!rc) {
        const struct ww_db_value v[] = {
            ww_db_int(id),
            ww_db_int(ordinal),
            ww_db_text(t->name),
            ww_db_int(t->layer == WW_NONE ? -1 : (int64_t)t->layer),
            ww_db_blob(t->sha256, WW_SHA256_BYTES),
            ww_db_blob(room->data, room->len)};
        rc = ww_store_run(
            db,
            "INSERT INTO ww_tensors (model, ordinal, name, layer, sha256, hashes) "
            "VALUES ($1, $2, $3, $4, $5, $6)",
            v, WW_LEN(v), err);
    }
    for (size_t i = 0; i < n_least && !rc; i++) {
        const struct ww_db_value v[] = {ww_db_int((int64_t)least[i]), ww_db_int(id),
                                        ww_db_int(ordinal)};
        rc = ww_store_run(
            db, "INSERT INTO ww_rows (hash, model, ordinal) VALUES ($1, $2, $3)", v, 3,
            err);
    }
    return rc;
}

static enum ww_err add_model(struct ww_db *db, int64_t id,
                             const struct ww_store_model *who,
                             const struct ww_print *print, struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_int(id),
                                    ww_db_text(who->name),
                                    ww_db_blob(print->digest, WW_SHA256_BYTES),
                                    ww_db_blob(print->family, WW_SHA256_BYTES),
                                    ww_db_int(who->root),
                                    ww_db_text(who->place),
                                    ww_db_blob(who->stamp, WW_SHA256_BYTES),
                                    ww_db_int(print->n_tensors),
                                    ww_db_int((int64_t)print->n_elements),
                                    ww_db_int(print->n_decoded)};
    struct ww_buf room;
    enum ww_err rc =
        ww_store_run(db,
                     "INSERT INTO ww_models (id, name, digest, family, root, place, "
                     "stamp, n_tensors, n_elements, decoded) "
                     "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                     v, WW_LEN(v), err);

    ww_buf_init(&room, (size_t)256 << 20);
    if (!rc) {
        rc = add_details(db, id, print, err);
    }
    for (uint32_t k = 0; k < print->n_tensors && !rc; k++) {
        rc = add_tensor(db, id, k, &print->tensors[k], &room, err);
    }
    ww_buf_release(&room);
    return rc;
}

static enum ww_err look_there(void *payload, const struct ww_db_value *c, size_t n,
                              struct ww_error *err)
{
    bool *there = payload;
    enum ww_err rc = ww_store_blob(&c[1], WW_SHA256_BYTES, "a stamp", err);
    (void)n;

    *there = !rc && c[0].type == WW_DB_TEXT && ww_store_at_hand(c[0].bytes, c[1].bytes);
    return rc;
}

/* Files that were moved, or copied to where they can be read. */
static enum ww_err keep_place(struct ww_db *db, const struct ww_store_model *who,
                              const struct ww_print *print, struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_blob(print->digest, WW_SHA256_BYTES),
                                    ww_db_text(who->place),
                                    ww_db_blob(who->stamp, WW_SHA256_BYTES)};
    bool there = false;
    enum ww_err rc = ww_db_run(db, "SELECT place, stamp FROM ww_models WHERE digest = $1",
                               v, 1, look_there, &there, err);

    return rc || there
               ? rc
               : ww_store_run(
                     db, "UPDATE ww_models SET place = $2, stamp = $3 WHERE digest = $1",
                     v, WW_LEN(v), err);
}

/* Inside the transaction, so that two writers of one model cannot both find it missing.
 */
static enum ww_err add_locked(struct ww_db *db, const struct ww_store_model *who,
                              const struct ww_print *print, char **known_as,
                              struct ww_error *err)
{
    const struct ww_db_value v[] = {ww_db_text(who->name)};
    int64_t taken = 0;
    int64_t id = 0;
    enum ww_err rc = ww_store_known(db, "digest", print->digest, known_as, err);

    if (rc || *known_as) {
        return rc ? rc : keep_place(db, who, print, err);
    }
    rc = ww_store_count(db, "SELECT count(*) FROM ww_models WHERE name = $1", v, 1,
                        &taken, err);
    if (!rc && taken > 0) {
        rc = WW_FAIL(err, WW_E_EXISTS,
                     "the catalogue knows other weights as '%s'; give this model another "
                     "name: NAME=FOLDER",
                     who->name);
    }
    if (!rc) {
        rc = ww_store_count(db, "SELECT COALESCE(MAX(id), 0) + 1 FROM ww_models", NULL, 0,
                            &id, err);
    }
    return rc ? rc : add_model(db, id, who, print, err);
}

enum ww_err ww_store_add(struct ww_db *db, const struct ww_store_model *who,
                         const struct ww_print *print, char **known_as,
                         struct ww_error *err)
{
    enum ww_err rc = ww_db_begin(db, "ww_models", err);

    *known_as = NULL;
    if (rc) {
        return rc;
    }
    rc = add_locked(db, who, print, known_as, err);
    if (!rc) {
        rc = ww_db_commit(db, err);
    }
    if (rc) {
        ww_db_rollback(db);
    }
    return rc;
}
