/* SPDX-License-Identifier: Apache-2.0 */
/* The record that lies beside a part's tensors: what the join must know to trust nothing
 * but its own digests. */
#include <string.h>

#include "merge/parts.h"
#include "util/alloc.h"
#include "util/fail.h"

#define SCHEMA "weightward.merge-part/1"

enum ww_err ww_part_record_write(const struct ww_part_record *record, struct ww_buf *out,
                                 struct ww_error *err)
{
    struct ww_jw w;

    ww_buf_init(out, ww_json_limits_config.max_bytes);
    ww_jw_init(&w, out, 2);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "schema", SCHEMA);
    ww_jw_khex(&w, "plan_sha256", record->plan_sha256, WW_SHA256_BYTES);
    ww_jw_ku64(&w, "part", record->part);
    ww_jw_ku64(&w, "of", record->of);
    ww_jw_ku64(&w, "bytes", record->n_bytes);
    ww_jw_khex(&w, "sha256", record->sha256, WW_SHA256_BYTES);
    ww_jw_key(&w, "inputs");
    ww_jw_array(&w);
    for (uint32_t i = 0; i < record->n_inputs; i++) {
        ww_jw_object(&w);
        ww_jw_ku64(&w, "index", record->inputs[i]);
        ww_jw_khex(&w, "sha256", record->input_sha256[i], WW_SHA256_BYTES);
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

static bool read_head(const struct ww_jnode *root, struct ww_part_record *out)
{
    const char *schema = NULL;

    return ww_jstr(ww_jget(root, "schema"), &schema) && strcmp(schema, SCHEMA) == 0 &&
           ww_jhex(ww_jget(root, "plan_sha256"), out->plan_sha256, WW_SHA256_BYTES) &&
           ww_ju64(ww_jget(root, "part"), &out->part) &&
           ww_ju64(ww_jget(root, "of"), &out->of) && out->part >= 1 &&
           out->part <= out->of && out->of <= WW_MAX_PARTS &&
           ww_ju64(ww_jget(root, "bytes"), &out->n_bytes) &&
           ww_jhex(ww_jget(root, "sha256"), out->sha256, WW_SHA256_BYTES);
}

static enum ww_err read_inputs(const struct ww_jnode *list, struct ww_part_record *out,
                               bool *fine, struct ww_error *err)
{
    const size_t n = ww_jsize(list);

    *fine = ww_jtype(list) == WW_J_ARRAY && n < WW_NONE;
    if (!*fine) {
        return WW_OK;
    }
    out->inputs = ww_calloc(n, sizeof(*out->inputs));
    out->input_sha256 = ww_calloc(n, sizeof(*out->input_sha256));
    if (!out->inputs || !out->input_sha256) {
        return WW_FAIL_MEMORY(err, "a part of a merge");
    }
    for (const struct ww_jnode *at = ww_jfirst(list); at && *fine; at = ww_jnext(at)) {
        uint64_t index = 0;
        *fine = ww_ju64(ww_jget(at, "index"), &index) && index < WW_NONE &&
                ww_jhex(ww_jget(at, "sha256"), out->input_sha256[out->n_inputs],
                        WW_SHA256_BYTES);
        out->inputs[out->n_inputs] = (uint32_t)index;
        out->n_inputs += *fine;
    }
    return WW_OK;
}

enum ww_err ww_part_record_read(const void *text, size_t len, struct ww_part_record *out,
                                struct ww_error *err)
{
    struct ww_json *json = NULL;
    bool fine = false;
    enum ww_err rc = ww_json_parse(text, len, &ww_json_limits_config, &json, err);

    memset(out, 0, sizeof(*out));
    if (!rc) {
        fine = read_head(ww_json_root(json), out);
    }
    if (fine) {
        rc = read_inputs(ww_jget(ww_json_root(json), "inputs"), out, &fine, err);
    }
    if (!rc && !fine) {
        rc = WW_FAIL(err, WW_E_MANIFEST, "'" WW_PART_RECORD "' is no record of a part");
    }
    ww_json_free(json);
    if (rc) {
        ww_part_record_release(out);
    }
    return rc;
}

void ww_part_record_release(struct ww_part_record *record)
{
    ww_free(record->inputs);
    ww_free(record->input_sha256);
    memset(record, 0, sizeof(*record));
}
