/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/tokenizer.h"

#include <string.h>

#include "merge/json_edit.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/model.h"

#define FILE_NAME "tokenizer.json"
#define MAX_ID UINT64_C(16777216) /* far beyond any vocabulary */

static enum ww_err malformed(struct ww_error *err, const char *what, const char *why)
{
    return WW_FAIL(err, WW_E_MALFORMED, "tokenizer.json of '%s': %s", what, why);
}

static enum ww_err add(struct ww_vocab *v, const char *token, uint64_t id,
                       const struct ww_jnode *entry, const char *what,
                       struct ww_error *err)
{
    uint32_t existing = WW_NONE;
    enum ww_err rc = WW_OK;

    if (id >= MAX_ID) {
        return malformed(err, what, "a token's id is no id");
    }
    if (v->names.n == v->capacity) {
        const size_t capacity = v->capacity ? 2 * v->capacity : 4096;
        uint64_t *ids = ww_realloc_array(v->ids, capacity, sizeof(*ids));
        const struct ww_jnode **added = NULL;
        v->ids = ids ? ids : v->ids;
        added = ww_realloc_array(v->added, capacity, sizeof(*added));
        v->added = added ? added : v->added;
        if (!ids || !added) {
            return WW_FAIL_MEMORY(err, "a vocabulary");
        }
        v->capacity = capacity;
    }
    rc = ww_names_add(&v->names, token, &existing, err);
    if (rc) {
        return rc;
    }
    if (existing != WW_NONE) {
        if (v->ids[existing] != id) {
            return WW_FAIL(err, WW_E_MALFORMED,
                           "tokenizer.json of '%s': token '%s' has two ids", what, token);
        }
        v->added[existing] = entry ? entry : v->added[existing];
        return WW_OK;
    }
    v->ids[v->names.n - 1] = id;
    v->added[v->names.n - 1] = entry;
    v->end = id + 1 > v->end ? id + 1 : v->end;
    return WW_OK;
}

/* {"token": id, ...} or [["token", score], ...] */
static enum ww_err read_model(struct ww_vocab *v, const struct ww_jnode *vocab,
                              const char *what, struct ww_error *err)
{
    const bool is_list = ww_jtype(vocab) == WW_J_ARRAY;
    uint64_t next = 0;
    enum ww_err rc = WW_OK;

    if (!vocab || (!is_list && ww_jtype(vocab) != WW_J_OBJECT)) {
        return malformed(err, what, "it has no vocabulary");
    }
    for (const struct ww_jnode *n = ww_jfirst(vocab); n && !rc; n = ww_jnext(n)) {
        const char *token = ww_jkey(n);
        uint64_t id = next++;
        if (is_list ? !ww_jstr(ww_jfirst(n), &token) : !ww_ju64(n, &id)) {
            return malformed(err, what, "an entry of the vocabulary is no token");
        }
        rc = add(v, token, id, NULL, what, err);
    }
    return rc;
}

static enum ww_err read_added(struct ww_vocab *v, const struct ww_jnode *list,
                              const char *what, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (const struct ww_jnode *n = ww_jfirst(list); n && !rc; n = ww_jnext(n)) {
        const char *token = NULL;
        uint64_t id = 0;
        if (!ww_jstr(ww_jget(n, "content"), &token) || !ww_ju64(ww_jget(n, "id"), &id)) {
            return malformed(err, what, "an added token has no id or no content");
        }
        rc = add(v, token, id, n, what, err);
    }
    return rc;
}

enum ww_err ww_vocab_parse(const void *text, size_t len, const char *what,
                           struct ww_vocab *out, struct ww_error *err)
{
    const struct ww_jnode *root = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_buf_init(&out->text, ww_json_limits_bundle.max_bytes);
    rc = ww_buf_add(&out->text, text, len, err);
    if (!rc) {
        rc = ww_json_parse(text, len, &ww_json_limits_bundle, &out->json, err);
        if (rc) {
            ww_error_context(err, "tokenizer.json of '%s'", what);
        }
    }
    root = ww_json_root(out->json);
    if (!rc) {
        rc = read_model(out, ww_jget(ww_jget(root, "model"), "vocab"), what, err);
    }
    if (!rc) {
        rc = read_added(out, ww_jget(root, "added_tokens"), what, err);
    }
    if (rc) {
        ww_vocab_release(out);
    }
    return rc;
}

enum ww_err ww_vocab_read(int dirfd, const char *what, struct ww_vocab *out, bool *found,
                          struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, ww_json_limits_bundle.max_bytes);
    rc = ww_file_read_at(dirfd, FILE_NAME, WW_LINKS_HUB, &text, &local);
    *found = rc != WW_E_NOTFOUND;
    if (rc == WW_E_NOTFOUND) {
        rc = WW_OK;
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
    } else {
        rc = ww_vocab_parse(text.data, text.len, what, out, err);
    }
    ww_buf_release(&text);
    return rc;
}

void ww_vocab_release(struct ww_vocab *vocab)
{
    ww_names_release(&vocab->names);
    ww_json_free(vocab->json);
    ww_free(vocab->ids);
    ww_free(vocab->added);
    ww_buf_release(&vocab->text);
    memset(vocab, 0, sizeof(*vocab));
}

uint64_t ww_vocab_id(const struct ww_vocab *vocab, const char *token)
{
    const uint32_t i = ww_names_find(&vocab->names, token);
    return i == WW_NONE ? UINT64_MAX : vocab->ids[i];
}

/* An entry of added_tokens under another id; entry NULL: a plain token. */
static void write_entry(struct ww_jw *w, const char *token, const struct ww_jnode *entry,
                        uint64_t id)
{
    static const struct {
        const char *key;
        bool fallback;
    } flags[] = {{"single_word", false},
                 {"lstrip", false},
                 {"rstrip", false},
                 {"normalized", true},
                 {"special", false}};

    ww_jw_object(w);
    ww_jw_ku64(w, "id", id);
    ww_jw_kstr(w, "content", token);
    for (size_t i = 0; i < WW_LEN(flags); i++) {
        bool v = flags[i].fallback;
        (void)ww_jbool(ww_jget(entry, flags[i].key), &v);
        ww_jw_kbool(w, flags[i].key, v);
    }
    ww_jw_close(w);
}

static enum ww_err write_added(const struct ww_vocab *vocab,
                               const struct ww_vocab_extra *extra, size_t n,
                               uint64_t first_id, struct ww_buf *out,
                               struct ww_error *err)
{
    const struct ww_jnode *list = ww_jget(ww_json_root(vocab->json), "added_tokens");
    struct ww_jw w;

    ww_jw_init(&w, out, 0);
    ww_jw_array(&w);
    for (const struct ww_jnode *e = ww_jfirst(list); e; e = ww_jnext(e)) {
        const char *token = "";
        uint64_t id = 0;
        (void)ww_jstr(ww_jget(e, "content"), &token);
        (void)ww_ju64(ww_jget(e, "id"), &id);
        write_entry(&w, token, e, id);
    }
    for (size_t i = 0; i < n; i++) {
        write_entry(&w, extra[i].token, extra[i].entry, first_id + i);
    }
    ww_jw_close(&w);
    return ww_jw_end(&w, err);
}

enum ww_err ww_vocab_extend(const struct ww_vocab *vocab,
                            const struct ww_vocab_extra *extra, size_t n,
                            uint64_t first_id, struct ww_buf *out, struct ww_error *err)
{
    struct ww_json_edit edit = {.key = "added_tokens", .insert = true};
    struct ww_json_edits edits = {.items = &edit, .n = 1};
    struct ww_buf list;
    enum ww_err rc = WW_OK;

    ww_buf_init(&list, ww_json_limits_bundle.max_bytes);
    rc = write_added(vocab, extra, n, first_id, &list, err);
    if (!rc) {
        edit.value = ww_buf_cstr(&list);
        rc = ww_json_edit(vocab->text.data, vocab->text.len, &edits, out, err);
    }
    ww_buf_release(&list);
    return rc;
}
