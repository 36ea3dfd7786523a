/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of a whole task file, tokens as numbers. */
#include "evo/answers.h"

#include <string.h>

#include "evo/collect.h"
#include "util/alloc.h"
#include "util/fail.h"

/* Arrays that the spans and lists lie in. */
struct ww_answer_owned {
    struct ww_gathered *gathered;  /* [n] */
    struct ww_member_facts *facts; /* [k] */
    uint32_t **token;              /* [n], one block for an item */
    double **logprob;
};

/* Numbers of byte strings, in the order in which they are first asked for. */
struct numbers {
    uint32_t *place; /* [room], number + 1; 0: empty */
    size_t room;
    struct ww_span *token;
    size_t n;
    size_t token_room;
};

/* FNV-1a, 64 bits. */
static size_t hash_of(struct ww_span s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < s.len; i++) {
        h = (h ^ s.data[i]) * UINT64_C(0x100000001b3);
    }
    return (size_t)(h ^ h >> 32);
}

static uint32_t *place_of(const struct numbers *t, struct ww_span s)
{
    size_t i = hash_of(s) & (t->room - 1);
    while (t->place[i] && !ww_span_eq(t->token[t->place[i] - 1], s)) {
        i = (i + 1) & (t->room - 1);
    }
    return &t->place[i];
}

static enum ww_err make_room(struct numbers *t, struct ww_error *err)
{
    if (t->n == t->token_room) {
        const size_t room = t->token_room ? 2 * t->token_room : 256;
        void *token = ww_realloc_array(t->token, room, sizeof(*t->token));
        if (!token) {
            return WW_FAIL_MEMORY(err, "tokens");
        }
        t->token = token;
        t->token_room = room;
    }
    if (t->n * 2 >= t->room) {
        const size_t room = t->room ? 2 * t->room : 1024;
        uint32_t *place = ww_calloc(room, sizeof(*place));
        if (!place) {
            return WW_FAIL_MEMORY(err, "tokens");
        }
        ww_free(t->place);
        t->place = place;
        t->room = room;
        for (size_t i = 0; i < t->n; i++) {
            *place_of(t, t->token[i]) = (uint32_t)i + 1;
        }
    }
    return WW_OK;
}

static void forget(struct numbers *t)
{
    for (size_t i = 0; i < t->room; i++) {
        t->place[i] = 0;
    }
    t->n = 0;
}

static enum ww_err number_of(struct numbers *t, struct ww_span s, uint32_t *out,
                             struct ww_error *err)
{
    enum ww_err rc = make_room(t, err);
    if (rc) {
        return rc;
    }
    uint32_t *place = place_of(t, s);
    if (!*place) {
        t->token[t->n++] = s;
        *place = (uint32_t)t->n;
    }
    *out = *place - 1;
    return WW_OK;
}

static size_t listed_tokens(const struct ww_gathered *g)
{
    size_t n = 0;
    for (size_t i = 0; i < (size_t)g->n * g->k; i++) {
        n += g->at[i] ? g->at[i]->n : 0;
    }
    return n;
}

/* The end token is called by its text in lists of generated tokens; here it is empty. */
static struct ww_span plain(struct ww_span token, const char *end)
{
    const struct ww_span named = {(const uint8_t *)end, strlen(end)};
    return named.len && ww_span_eq(token, named) ? (struct ww_span){NULL, 0} : token;
}

static enum ww_err number_position(const struct ww_gathered *g,
                                   const struct ww_members *members, uint32_t i,
                                   struct ww_answer_item *item, uint32_t **token,
                                   double **logprob, struct numbers *t,
                                   struct ww_error *err)
{
    enum ww_err rc = number_of(t, g->gold[i], &item->gold[i], err);
    for (uint32_t k = 0; k < g->k && !rc; k++) {
        const struct ww_scored_at *at = g->at[(size_t)i * g->k + k];
        struct ww_answer_at *to = &item->at[(size_t)i * g->k + k];
        to->gold = g->logprob[(size_t)i * g->k + k];
        to->untold = g->untold[(size_t)i * g->k + k];
        to->top = (struct ww_pool_list){*token, *logprob, at ? at->n : 0};
        for (uint32_t j = 0; at && j < at->n && !rc; j++) {
            rc = number_of(t, plain(at->top[j].bytes, members->member[k].end), *token,
                           err);
            *(*logprob)++ = at->top[j].logprob;
            (*token)++;
        }
    }
    return rc;
}

static enum ww_err number_item(const struct ww_gathered *g,
                               const struct ww_members *members, size_t index,
                               struct ww_answers *a, struct numbers *t,
                               struct ww_error *err)
{
    struct ww_answer_item *item = &a->item[index];
    const size_t listed = listed_tokens(g);
    enum ww_err rc = WW_OK;
    item->task = (uint32_t)index;
    item->n = g->n;
    item->gold = ww_calloc(g->n, sizeof(*item->gold));
    item->at = ww_calloc((size_t)g->n * g->k, sizeof(*item->at));
    item->prompt_surprise = g->prompt_surprise;
    uint32_t *token = a->owned->token[index] = ww_calloc(listed, sizeof(*token));
    double *logprob = a->owned->logprob[index] = ww_calloc(listed, sizeof(*logprob));
    if (!item->gold || !item->at || !token || !logprob) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    for (uint32_t i = 0; i < g->n && !rc; i++) {
        rc = number_position(g, members, i, item, &token, &logprob, t, err);
    }
    return rc;
}

static enum ww_err answers_new(uint32_t k, size_t n, struct ww_answers *out,
                               struct ww_error *err)
{
    memset(out, 0, sizeof(*out));
    out->k = k;
    out->n = n;
    out->item = ww_calloc(n, sizeof(*out->item));
    struct ww_answer_owned *o = out->owned = ww_calloc(1, sizeof(*o));
    if (o) {
        o->gathered = ww_calloc(n, sizeof(*o->gathered));
        o->facts = ww_calloc(k, sizeof(*o->facts));
        o->token = ww_calloc(n, sizeof(uint32_t *));
        o->logprob = ww_calloc(n, sizeof(double *));
    }
    if (!out->item || !o || !o->gathered || !o->facts || !o->token || !o->logprob) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    return WW_OK;
}

static enum ww_err read_facts(struct ww_answer_cache *cache,
                              const struct ww_members *members, uint32_t top,
                              struct ww_member_facts *facts, struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (uint32_t k = 0; k < members->k && !rc; k++) {
        bool found = false;
        rc = ww_cached_facts(cache, &members->member[k], top, &found, &facts[k], err);
        if (!rc && !found) {
            rc = WW_FAIL(
                err, WW_E_NOTFOUND,
                "the cache has no answers of member '%s' with lists of %u tokens; "
                "collect them first",
                members->member[k].name, top);
        }
    }
    return rc;
}

static enum ww_err read_root(struct ww_answer_cache *cache, struct ww_answers *a,
                             struct ww_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < a->n; i++) {
        n += a->owned->gathered[i].n_said;
    }
    uint8_t(*keys)[32] = ww_calloc(n, sizeof(*keys));
    if (!keys) {
        return WW_FAIL_MEMORY(err, "the names of answers");
    }
    n = 0;
    for (size_t i = 0; i < a->n; i++) {
        const struct ww_gathered *g = &a->owned->gathered[i];
        memcpy(keys[n], g->keys, g->n_said * sizeof(*keys));
        n += g->n_said;
    }
    a->calls = n;
    enum ww_err rc = ww_answer_cache_root(cache, keys, n, a->root, err);
    ww_free(keys);
    return rc;
}

static enum ww_err read_items(struct ww_answer_cache *cache,
                              const struct ww_members *members,
                              const struct ww_tasks *tasks,
                              const struct ww_answers_view *view, struct ww_answers *a,
                              struct ww_error *err)
{
    struct numbers t = {0};
    const struct ww_gather gather = {.members = members,
                                     .facts = a->owned->facts,
                                     .top = a->top,
                                     .fetch = ww_fetch_cached,
                                     .payload = cache,
                                     .level = view->level,
                                     .vocabulary = view->vocabulary,
                                     .per_byte = view->per_byte};
    enum ww_err rc = WW_OK;
    size_t most = 0;
    for (size_t i = 0; i < tasks->n && !rc; i++) {
        struct ww_gathered *g = &a->owned->gathered[i];
        rc = ww_gather_item(&gather, &tasks->item[i], i, g, err);
        if (!rc && !g->complete) {
            rc = WW_FAIL(err, WW_E_NOTFOUND,
                         "the cache lacks answers about item %zu; collect them first",
                         i + 1);
        }
        if (view->level == WW_EVO_OPTIONS) {
            forget(&t); /* an item's options are numbered by themselves */
        }
        rc = rc ? rc : number_item(g, members, i, a, &t, err);
        most = t.n > most ? t.n : most;
        a->item[i].weight = tasks->item[i].weight;
        a->item[i].vocabulary = g->vocabulary;
        a->assumed += g->assumed;
    }
    ww_free(t.place);
    a->token = t.token;
    a->tokens = most;
    return rc;
}

enum ww_err ww_answers_load(const struct ww_members *members,
                            const struct ww_tasks *tasks, const char *dir,
                            const struct ww_answers_view *view, struct ww_answers *out,
                            struct ww_error *err)
{
    struct ww_answer_cache *cache = NULL;
    enum ww_err rc = answers_new(members->k, tasks->n, out, err);
    out->top = view->top ? view->top : WW_EVO_TOP;
    rc = rc ? rc : ww_answer_cache_open(dir, false, &cache, err);
    rc = rc ? rc : read_facts(cache, members, out->top, out->owned->facts, err);
    for (uint32_t k = 0; k < members->k && !rc && view->level == WW_EVO_TOKENS; k++) {
        const uint32_t told = out->owned->facts[k].vocabulary;
        out->told = told > out->told ? told : out->told;
    }
    rc = rc ? rc : read_items(cache, members, tasks, view, out, err);
    rc = rc ? rc : read_root(cache, out, err);
    ww_answer_cache_close(cache);
    if (rc) {
        ww_answers_release(out);
    }
    return rc;
}

void ww_answers_release(struct ww_answers *a)
{
    struct ww_answer_owned *o = a->owned;
    for (size_t i = 0; a->item && i < a->n; i++) {
        ww_free(a->item[i].gold);
        ww_free(a->item[i].at);
        if (o) {
            /* prompt_surprise is the gathered item's. */
            ww_gathered_release(&o->gathered[i]);
            ww_free(o->token[i]);
            ww_free(o->logprob[i]);
        } else {
            ww_free(a->item[i].prompt_surprise);
        }
    }
    for (uint32_t k = 0; o && k < a->k; k++) {
        ww_member_facts_release(&o->facts[k]);
    }
    if (o) {
        ww_free(o->gathered);
        ww_free(o->facts);
        ww_free(o->token);
        ww_free(o->logprob);
        ww_free(o);
    }
    ww_free(a->item);
    ww_free(a->token);
    memset(a, 0, sizeof(*a));
}
