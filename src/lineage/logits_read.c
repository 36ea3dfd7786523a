/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines are taken one by one, so that a file of full vectors needs memory for the tokens
 * that are kept and for one line. Tokens are drawn by selection sampling (Knuth, vol. 2,
 * 3.4.2, algorithm S), which gives them in order.
 */
#include "lineage/logits_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json/json.h"
#include "lineage/draws.h"
#include "lineage/logits_matrix.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define LINE_MOST ((size_t)64 << 20)
#define LIST_MOST ((size_t)1 << 26)
#define READ_BYTES ((size_t)1 << 20)
#define VALUES_MOST ((uint64_t)1 << 29) /* 4 GiB */

static const struct ww_json_limits line_limits = {LINE_MOST, 4, 4000000, false};

struct ww_said_pair {
    uint32_t id;
    double value;
};

void ww_said_begin(struct ww_said *a, size_t most, uint64_t seed)
{
    memset(a, 0, sizeof(*a));
    a->most = most;
    a->seed = seed;
}

void ww_said_release(struct ww_said *a)
{
    ww_free(a->ids);
    ww_free(a->values);
    ww_free(a->pairs);
    ww_free(a->ends);
    memset(a, 0, sizeof(*a));
}

/* take of the numbers below n, ascending, into out. */
static void draw_sorted(uint64_t seed, uint64_t n, size_t take, uint32_t *out)
{
    uint64_t state = seed;
    size_t have = 0;

    for (uint64_t i = 0; i < n && have < take; i++) {
        if (ww_draw(&state) % (n - i) < take - have) {
            out[have++] = (uint32_t)i;
        }
    }
}

enum ww_err ww_said_vocab(struct ww_said *a, uint64_t vocab, struct ww_error *err)
{
    if (vocab < 2 || vocab >= UINT32_MAX) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "an answer over %llu tokens, expected two or more",
                       (unsigned long long)vocab);
    }
    a->vocab = vocab;
    a->n_ids = vocab < a->most ? (size_t)vocab : a->most;
    a->ids = ww_calloc(a->n_ids, sizeof(*a->ids));
    if (!a->ids) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    draw_sorted(a->seed, vocab, a->n_ids, a->ids);
    return WW_OK;
}

enum ww_err ww_said_room(struct ww_said *a, struct ww_error *err)
{
    const size_t more = a->capacity ? 2 * a->capacity : 64;
    double *grown = NULL;

    if (a->n == WW_SAID_MOST || (uint64_t)(a->n + 1) * a->n_ids > VALUES_MOST) {
        return WW_FAIL(err, WW_E_LIMIT, "more than %zu answers of %zu tokens; give fewer",
                       a->n, a->n_ids);
    }
    if (a->n < a->capacity) {
        return WW_OK;
    }
    grown = ww_realloc_array(a->values, more, a->n_ids * sizeof(*grown));
    if (!grown) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    a->values = grown;
    a->capacity = more;
    return WW_OK;
}

enum ww_err ww_said_check(double value, uint64_t number, struct ww_error *err)
{
    if (!(fabs(value) <= WW_SAID_RANGE)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "answer %llu: a value of %g stands for a masked token or is no "
                       "logit; leave such tokens out by \"ids\"",
                       (unsigned long long)number, value);
    }
    return WW_OK;
}

static enum ww_err take_vector(struct ww_said *a, const struct ww_jnode *list,
                               uint64_t number, struct ww_error *err)
{
    const size_t vocab = ww_jsize(list);
    const struct ww_jnode *node = ww_jfirst(list);
    size_t kept = 0;
    enum ww_err rc = a->vocab ? WW_OK : ww_said_vocab(a, vocab, err);

    if (!rc && vocab != a->vocab) {
        rc = WW_FAIL(err, WW_E_SHAPE, "line %llu: %zu tokens, those before have %llu",
                     (unsigned long long)number, vocab, (unsigned long long)a->vocab);
    }
    rc = rc ? rc : ww_said_room(a, err);
    for (uint32_t id = 0; node && !rc; node = ww_jnext(node), id++) {
        double value = 0;
        if (!ww_jdouble(node, &value)) {
            return WW_FAIL(err, WW_E_JSON, "line %llu: token %u has no number",
                           (unsigned long long)number, id);
        }
        rc = ww_said_check(value, number, err);
        if (!rc && kept < a->n_ids && a->ids[kept] == id) {
            a->values[a->n * a->n_ids + kept++] = value;
        }
    }
    a->n += !rc;
    return rc;
}

static int by_id(const void *x, const void *y)
{
    const struct ww_said_pair *a = x;
    const struct ww_said_pair *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

static enum ww_err room_for_list(struct ww_said *a, size_t n, struct ww_error *err)
{
    struct ww_said_pair *pairs = a->pairs;
    size_t *ends = NULL;
    size_t more = a->pairs_capacity ? a->pairs_capacity : 1024;

    if (a->n == WW_SAID_MOST || n > LIST_MOST - a->n_pairs) {
        return WW_FAIL(err, WW_E_LIMIT, "more than %zu answers; give fewer", a->n);
    }
    while (more < a->n_pairs + n) {
        more *= 2;
    }
    if (more > a->pairs_capacity) {
        pairs = ww_realloc_array(pairs, more, sizeof(*pairs));
        if (!pairs) {
            return WW_FAIL_MEMORY(err, "answers");
        }
        a->pairs = pairs;
        a->pairs_capacity = more;
    }
    ends = ww_realloc_array(a->ends, a->n + 1, sizeof(*ends));
    if (!ends) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    a->ends = ends;
    return WW_OK;
}

static enum ww_err take_list(struct ww_said *a, const struct ww_jnode *ids,
                             const struct ww_jnode *list, uint64_t number,
                             struct ww_error *err)
{
    const struct ww_jnode *id = ww_jfirst(ids);
    const struct ww_jnode *value = ww_jfirst(list);
    const size_t n = ww_jsize(ids);
    struct ww_said_pair *to = NULL;
    enum ww_err rc = WW_OK;

    if (n != ww_jsize(list)) {
        return WW_FAIL(err, WW_E_SHAPE, "line %llu: %zu ids and %zu values",
                       (unsigned long long)number, n, ww_jsize(list));
    }
    rc = room_for_list(a, n, err);
    to = rc ? NULL : a->pairs + a->n_pairs;
    for (size_t i = 0; i < n && !rc; i++, id = ww_jnext(id), value = ww_jnext(value)) {
        uint64_t token = 0;
        if (!ww_ju64(id, &token) || token >= UINT32_MAX ||
            !ww_jdouble(value, &to[i].value)) {
            return WW_FAIL(err, WW_E_JSON, "line %llu: item %zu is no token with a value",
                           (unsigned long long)number, i);
        }
        to[i].id = (uint32_t)token;
        rc = ww_said_check(to[i].value, number, err);
    }
    if (rc) {
        return rc;
    }
    qsort(to, n, sizeof(*to), by_id);
    for (size_t i = 1; i < n; i++) {
        if (to[i].id == to[i - 1].id) {
            return WW_FAIL(err, WW_E_JSON, "line %llu: token %u stands there twice",
                           (unsigned long long)number, to[i].id);
        }
    }
    a->n_pairs += n;
    a->ends[a->n++] = a->n_pairs;
    return WW_OK;
}

static enum ww_err take_object(struct ww_said *a, const struct ww_jnode *line,
                               uint64_t number, struct ww_error *err)
{
    static const char *const known[] = {"prompt", "ids", "logits", "logprobs"};
    const struct ww_jnode *ids = ww_jget(line, "ids");
    const struct ww_jnode *logits = ww_jget(line, "logits");
    const struct ww_jnode *logprobs = ww_jget(line, "logprobs");
    const struct ww_jnode *list = logits ? logits : logprobs;
    enum ww_err rc = ww_jonly(line, known, WW_LEN(known), WW_E_JSON, "an answer", err);

    if (rc) {
        return rc;
    }
    if (!list || (logits && logprobs) || ww_jtype(list) != WW_J_ARRAY ||
        (ids && ww_jtype(ids) != WW_J_ARRAY)) {
        return WW_FAIL(err, WW_E_JSON,
                       "line %llu: expected a list \"logits\" or \"logprobs\", and "
                       "\"ids\" beside it when it is not of all tokens",
                       (unsigned long long)number);
    }
    if (a->n > 0 &&
        (a->logprobs != (logprobs != NULL) || (a->vocab == 0) != (ids != NULL))) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "line %llu is of another kind than those before it",
                       (unsigned long long)number);
    }
    a->logprobs = logprobs != NULL;
    return ids ? take_list(a, ids, list, number, err) : take_vector(a, list, number, err);
}

enum ww_err ww_said_line(struct ww_said *a, const uint8_t *text, size_t len,
                         uint64_t number, struct ww_error *err)
{
    struct ww_json *json = NULL;
    enum ww_err rc = ww_json_parse(text, len, &line_limits, &json, err);

    if (rc) {
        ww_error_context(err, "line %llu", (unsigned long long)number);
        return rc;
    }
    if (ww_jtype(ww_json_root(json)) != WW_J_OBJECT) {
        rc = WW_FAIL(err, WW_E_JSON, "line %llu: expected an object",
                     (unsigned long long)number);
    } else {
        rc = take_object(a, ww_json_root(json), number, err);
    }
    ww_json_free(json);
    return rc;
}

/* Tokens that all lists have: those of the first, less those that another lacks. */
static size_t intersect(const struct ww_said *a, uint32_t *ids)
{
    size_t n = 0;

    for (size_t i = 0; i < a->ends[0]; i++) {
        ids[n++] = a->pairs[i].id;
    }
    for (size_t row = 1; row < a->n; row++) {
        size_t at = a->ends[row - 1];
        size_t kept = 0;
        for (size_t i = 0; i < n; i++) {
            while (at < a->ends[row] && a->pairs[at].id < ids[i]) {
                at++;
            }
            if (at < a->ends[row] && a->pairs[at].id == ids[i]) {
                ids[kept++] = ids[i];
            }
        }
        n = kept;
    }
    return n;
}

static enum ww_err fill_lists(struct ww_said *a, struct ww_error *err)
{
    size_t n = 0;

    a->ids = ww_calloc(a->ends[0], sizeof(*a->ids));
    if (!a->ids) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    n = intersect(a, a->ids);
    if ((uint64_t)a->n * n > VALUES_MOST) {
        return WW_FAIL(err, WW_E_LIMIT, "%zu answers of %zu tokens; give fewer", a->n, n);
    }
    a->n_ids =
        n < a->most ? n : a->most; /* the first ones: which they are means nothing */
    a->values = ww_calloc(a->n * a->n_ids, sizeof(*a->values));
    if (!a->values) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    for (size_t row = 0; row < a->n; row++) {
        size_t at = row ? a->ends[row - 1] : 0;
        for (size_t i = 0; i < a->n_ids; at++) {
            if (a->pairs[at].id == a->ids[i]) {
                a->values[row * a->n_ids + i++] = a->pairs[at].value;
            }
        }
    }
    return WW_OK;
}

enum ww_err ww_said_end(struct ww_said *a, struct ww_error *err)
{
    if (a->n == 0) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "no answer in it, expected one JSON object a line");
    }
    return a->vocab ? WW_OK : fill_lists(a, err);
}

struct lines {
    int fd;
    uint64_t offset;
    uint64_t size;
    struct ww_buf room;
    size_t at;      /* where the next line begins */
    size_t scanned; /* no line end before it */
};

static enum ww_err more_bytes(struct lines *l, const char *path, struct ww_error *err)
{
    const uint64_t left = l->size - l->offset;
    const size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;
    enum ww_err rc = WW_OK;

    if (l->at > 0) {
        memmove(l->room.data, l->room.data + l->at, l->room.len - l->at);
        l->room.len -= l->at;
        l->scanned -= l->at;
        l->at = 0;
    }
    if (l->room.len > LINE_MOST) {
        return WW_FAIL(err, WW_E_LIMIT, "'%s': a line is longer than %zu MiB", path,
                       LINE_MOST >> 20);
    }
    rc = ww_buf_reserve(&l->room, n + 1, err);
    if (!rc) {
        rc = ww_pread_full(l->fd, l->room.data + l->room.len, n, l->offset, path, err);
    }
    if (!rc) {
        l->room.len += n;
        l->offset += n;
    }
    return rc;
}

/* *len is SIZE_MAX behind the last line. */
static enum ww_err next_line(struct lines *l, const char *path, const uint8_t **text,
                             size_t *len, struct ww_error *err)
{
    for (;;) {
        const uint8_t *from = l->room.len ? l->room.data + l->scanned : NULL;
        const uint8_t *end = from ? memchr(from, '\n', l->room.len - l->scanned) : NULL;
        if (end || (l->offset == l->size && l->at < l->room.len)) {
            *text = l->room.data + l->at;
            *len = (size_t)((end ? end : l->room.data + l->room.len) - *text);
            l->at += *len + (end ? 1 : 0);
            l->scanned = l->at;
            return WW_OK;
        }
        l->scanned = l->room.len;
        if (l->offset == l->size) {
            *len = SIZE_MAX;
            return WW_OK;
        }
        enum ww_err rc = more_bytes(l, path, err);
        if (rc) {
            return rc;
        }
    }
}

/* What a file holds does not know its name. */
static enum ww_err in_file(const char *path, enum ww_err rc, struct ww_error *err)
{
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
    return rc;
}

static enum ww_err read_lines(struct ww_said *a, const char *path, struct ww_error *err)
{
    struct lines l = {.fd = -1};
    struct stat st;
    const uint8_t *text = NULL;
    size_t len = 0;
    uint64_t number = 0;
    enum ww_err rc = ww_file_open(path, &l.fd, &st, err); /* its errors name the file */

    ww_buf_init(&l.room, LINE_MOST + READ_BYTES + 1);
    l.size = rc ? 0 : (uint64_t)st.st_size;
    while (!rc && len != SIZE_MAX) {
        rc = next_line(&l, path, &text, &len, err);
        number++;
        if (!rc && len != SIZE_MAX && len > 0) {
            rc = in_file(path, ww_said_line(a, text, len, number, err), err);
        }
    }
    a->bytes_read = l.offset;
    ww_buf_release(&l.room);
    if (l.fd >= 0) {
        close(l.fd);
    }
    return rc;
}

enum ww_err ww_said_read(struct ww_said *a, const char *path, size_t most, uint64_t seed,
                         struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    ww_said_begin(a, most, seed);
    rc = ww_str_ends(path, ".safetensors")
             ? in_file(path, ww_said_matrix(a, path, err), err)
             : read_lines(a, path, err);
    return rc ? rc : in_file(path, ww_said_end(a, err), err);
}
