/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a journal. The check of a line covers the one before it, so that a line that
 * was changed, lost or moved shows; only the last one may be unfinished, since every line
 * is flushed before the next is begun.
 */
#include <inttypes.h>
#include <string.h>

#include "crypto/hash.h"
#include "evo/evaluator.h"
#include "evo/journal_int.h"
#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define BITS_BYTES 8
static const struct ww_json_limits limits = {4u << 20, 4, WW_TRIAL_MAX_SCORES + 16,
                                             false};

static void check_of(const char *before, const void *json, size_t len,
                     char out[WW_JOURNAL_CHECK + 1], struct ww_sha256 *h)
{
    uint8_t digest[WW_SHA256_BYTES];
    ww_sha256_reset(h);
    ww_sha256_update(h, before, strlen(before));
    ww_sha256_update(h, json, len);
    ww_sha256_final(h, digest);
    ww_hex(out, digest, WW_JOURNAL_CHECK / 2);
}

static void put_bits(struct ww_jw *w, double value)
{
    uint64_t bits = 0;
    uint8_t bytes[BITS_BYTES];
    char hex[WW_HEX_BYTES(BITS_BYTES)];
    memcpy(&bits, &value, sizeof(bits));
    for (int i = 0; i < BITS_BYTES; i++) {
        bytes[i] = (uint8_t)(bits >> (8 * (BITS_BYTES - 1 - i)));
    }
    ww_hex(hex, bytes, BITS_BYTES);
    ww_jw_str(w, hex);
}

static bool get_bits(const struct ww_jnode *node, double *value)
{
    uint8_t bytes[BITS_BYTES];
    uint64_t bits = 0;
    if (!ww_jhex(node, bytes, BITS_BYTES)) {
        return false;
    }
    for (int i = 0; i < BITS_BYTES; i++) {
        bits = bits << 8 | bytes[i];
    }
    memcpy(value, &bits, sizeof(bits));
    return true;
}

static void write_entry(struct ww_jw *w, uint32_t trial,
                        const struct ww_journal_entry *entry)
{
    ww_jw_ku64(w, "trial", trial);
    ww_jw_khex(w, "what", entry->what, sizeof(entry->what));
    ww_jw_ku64(w, "attempts", entry->attempts);
    if (entry->n == 0) {
        ww_jw_kstr(w, "why", entry->why ? entry->why : "");
        return;
    }
    ww_jw_key(w, "scores");
    ww_jw_array(w);
    for (uint32_t i = 0; i < entry->n; i++) {
        put_bits(w, entry->scores[i]);
    }
    ww_jw_close(w);
}

enum ww_err ww_journal_line(const struct ww_journal *journal, uint32_t trial,
                            const struct ww_journal_entry *entry, const uint8_t run[32],
                            struct ww_buf *line, struct ww_error *err)
{
    struct ww_buf json;
    struct ww_jw w;
    struct ww_sha256 *h = NULL;
    char check[WW_JOURNAL_CHECK + 1];
    enum ww_err rc = ww_sha256_new(&h, err);
    ww_buf_init(&json, limits.max_bytes);
    if (rc) {
        goto out;
    }
    ww_jw_init(&w, &json, 0);
    ww_jw_object(&w);
    if (entry) {
        write_entry(&w, trial, entry);
    } else {
        ww_jw_kstr(&w, "schema", WW_JOURNAL_SCHEMA);
        ww_jw_khex(&w, "run", run, WW_SHA256_BYTES);
    }
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (rc) {
        goto out;
    }
    check_of(journal->check, json.data, json.len, check, h);
    rc = ww_buf_addf(line, err, "%s ", check);
    if (!rc) {
        rc = ww_buf_add(line, json.data, json.len, err);
    }
    if (!rc) {
        rc = ww_buf_add_str(line, "\n", err);
    }
out:
    ww_buf_release(&json);
    ww_sha256_free(h);
    return rc;
}

static enum ww_err bad_line(const struct ww_journal *journal, size_t number,
                            const char *what, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_MALFORMED,
                   "journal '%s', line %zu: %s; the journal is damaged, begin a new one",
                   journal->path, number, what);
}

static bool read_what(const struct ww_jnode *root, const char *key, uint8_t out[32])
{
    return ww_jhex(ww_jget(root, key), out, 32);
}

static enum ww_err read_head(const struct ww_journal *journal,
                             const struct ww_jnode *root, const uint8_t run[32],
                             struct ww_error *err)
{
    const char *schema = NULL;
    uint8_t found[32];
    if (!ww_jstr(ww_jget(root, "schema"), &schema) || !read_what(root, "run", found)) {
        return bad_line(journal, 1, "no head", err);
    }
    if (!ww_str_eq(schema, WW_JOURNAL_SCHEMA)) {
        return WW_FAIL(err, WW_E_VERSION, "journal '%s' is of schema '%s', expected '%s'",
                       journal->path, schema, WW_JOURNAL_SCHEMA);
    }
    if (memcmp(found, run, sizeof(found)) != 0) {
        return WW_FAIL(err, WW_E_EXISTS,
                       "journal '%s' is another search's: the space, the evaluator, the "
                       "number of evaluations or the seed differ; name a new journal",
                       journal->path);
    }
    return WW_OK;
}

static bool read_scores(const struct ww_jnode *list, struct ww_journal_entry *entry)
{
    size_t n = ww_jsize(list);
    const struct ww_jnode *at = ww_jfirst(list);
    if (n == 0 || n > WW_TRIAL_MAX_SCORES) {
        return false;
    }
    entry->scores = ww_calloc(n, sizeof(*entry->scores));
    for (; entry->scores && at; at = ww_jnext(at)) {
        if (!get_bits(at, &entry->scores[entry->n++])) {
            return false;
        }
    }
    return entry->scores != NULL;
}

static enum ww_err read_trial(struct ww_journal *journal, const struct ww_jnode *root,
                              size_t number, struct ww_error *err)
{
    struct ww_journal_entry entry = {0};
    const struct ww_jnode *scores = ww_jget(root, "scores");
    const char *why = NULL;
    uint64_t trial = 0;
    uint64_t attempts = 0;
    enum ww_err rc = WW_OK;
    bool good = ww_ju64(ww_jget(root, "trial"), &trial) &&
                trial < WW_JOURNAL_MAX_TRIALS && read_what(root, "what", entry.what) &&
                ww_ju64(ww_jget(root, "attempts"), &attempts) && attempts <= UINT32_MAX;
    good = good &&
           (scores ? read_scores(scores, &entry) : ww_jstr(ww_jget(root, "why"), &why));
    if (!good || ww_journal_find(journal, (uint32_t)trial)) {
        rc = bad_line(journal, number, good ? "a trial twice" : "no trial", err);
    } else {
        entry.attempts = (uint32_t)attempts;
        entry.why = (char *)(uintptr_t)why;
        rc = ww_journal_keep(journal, (uint32_t)trial, &entry, err);
    }
    ww_free(entry.scores);
    return rc;
}

static enum ww_err read_line(struct ww_journal *journal, const uint8_t *line, size_t len,
                             size_t number, const uint8_t run[32], struct ww_sha256 *h,
                             struct ww_error *err)
{
    const size_t before = WW_JOURNAL_CHECK + 1;
    struct ww_json *json = NULL;
    char check[WW_JOURNAL_CHECK + 1];
    enum ww_err rc = WW_OK;
    if (len <= before) {
        return bad_line(journal, number, "too short", err);
    }
    check_of(journal->check, line + before, len - before, check, h);
    if (memcmp(check, line, WW_JOURNAL_CHECK) != 0 || line[WW_JOURNAL_CHECK] != ' ') {
        return bad_line(journal, number, "its check does not fit", err);
    }
    rc = ww_json_parse(line + before, len - before, &limits, &json, err);
    if (!rc) {
        rc = number == 1 ? read_head(journal, ww_json_root(json), run, err)
                         : read_trial(journal, ww_json_root(json), number, err);
    }
    ww_json_free(json);
    memcpy(journal->check, check, sizeof(check));
    return rc;
}

enum ww_err ww_journal_read(struct ww_journal *journal, const uint8_t *text, size_t len,
                            const uint8_t run[32], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);
    for (size_t at = 0, number = 1; !rc && at < len; number++) {
        const uint8_t *end = memchr(text + at, '\n', len - at);
        if (!end) {
            break; /* unfinished: cut off */
        }
        size_t n = (size_t)(end - text) - at;
        rc = read_line(journal, text + at, n, number, run, h, err);
        at += n + 1;
        journal->size_bytes = at;
        if (rc == WW_E_EXISTS && !memchr(text + at, '\n', len - at)) {
            ww_error_clear(err); /* another search's, which tried nothing: begun anew */
            journal->size_bytes = 0;
            memset(journal->check, 0, sizeof(journal->check));
            rc = WW_OK;
            break;
        }
    }
    ww_sha256_free(h);
    return rc;
}
