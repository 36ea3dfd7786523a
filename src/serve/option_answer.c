/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer that is one of the request's options. Every member scores them by the walk
 * that a fit goes (evo/gather.h), in its own tokens, so a pool of options says here what
 * it was measured to say. Options that begin alike ask the same at first: a question is
 * sent once. All of that is one step, so the time of an answer is looked at for each.
 */
#include <string.h>

#include "evo/gather.h"
#include "serve/fused_answer.h"
#include "util/alloc.h"
#include "util/fail.h"

/* What a member said while its options were scored. */
struct told {
    uint8_t (*keys)[32];
    struct ww_buf *records;
    size_t n;
    size_t room;
};

struct choosing {
    const struct ww_answer_pool *pool;
    double started; /* the answer */
    struct ww_task_item item;
    struct ww_gathered said[WW_POOL_MAX_MEMBERS];
};

struct asking {
    struct ww_endpoint *endpoint;
    const struct ww_dialect *dialect;
    double started;
    struct told told;
};

static enum ww_err keep(struct told *t, const uint8_t key[32],
                        const struct ww_scored *said, struct ww_error *err)
{
    if (t->n == t->room) {
        const size_t room = 2 * t->room + 16;
        void *keys = ww_realloc_array(t->keys, room, sizeof(*t->keys));
        t->keys = keys ? keys : t->keys;
        void *records = ww_realloc_array(t->records, room, sizeof(*t->records));
        t->records = records ? records : t->records;
        if (!keys || !records) {
            return WW_FAIL_MEMORY(err, "answers");
        }
        t->room = room;
    }
    ww_buf_init(&t->records[t->n], WW_SCORED_MAX_BYTES);
    memcpy(t->keys[t->n], key, sizeof(*t->keys));
    return ww_buf_add(&t->records[t->n++], said->bytes.data, said->bytes.len, err);
}

static enum ww_err fetch(void *payload, uint32_t member, const struct ww_ask *ask,
                         const uint8_t key[32], bool *found, struct ww_scored *out,
                         struct ww_error *err)
{
    struct asking *a = payload;
    (void)member;
    *found = true;
    for (size_t i = 0; i < a->told.n; i++) {
        if (memcmp(a->told.keys[i], key, sizeof(*a->told.keys)) == 0) {
            return ww_scored_read(a->told.records[i].data, a->told.records[i].len, out,
                                  err);
        }
    }
    enum ww_err rc = ww_answer_in_time(a->started, err);
    rc = rc ? rc : ww_endpoint_ask(a->endpoint, a->dialect, ask, out, err);
    if (rc) {
        return rc;
    }
    rc = keep(&a->told, key, out, err);
    if (rc) {
        ww_scored_release(out);
    }
    return rc;
}

static enum ww_err score(void *payload, uint32_t member, struct ww_endpoint *endpoint,
                         struct ww_error *err)
{
    struct choosing *c = payload;
    struct ww_member own = c->pool->member[member];
    const struct ww_members alone = {.k = 1, .member = &own};
    struct asking asking = {.endpoint = endpoint,
                            .dialect = c->pool->facts[member].dialect,
                            .started = c->started};
    const struct ww_gather gather = {.members = &alone,
                                     .facts = &c->pool->facts[member],
                                     .top = c->pool->top,
                                     .fetch = fetch,
                                     .payload = &asking,
                                     .level = WW_EVO_OPTIONS,
                                     .vocabulary = c->pool->vocabulary,
                                     .per_byte = c->pool->per_byte};
    enum ww_err rc = ww_gather_item(&gather, &c->item, 0, &c->said[member], err);
    for (size_t i = 0; i < asking.told.n; i++) {
        ww_buf_release(&asking.told.records[i]);
    }
    ww_free(asking.told.keys);
    ww_free(asking.told.records);
    return rc;
}

/* The members' lists as one. */
static enum ww_err fuse(struct ww_answer *a, const struct choosing *c,
                        struct ww_error *err)
{
    struct ww_fuse_list lists[WW_POOL_MAX_MEMBERS];
    const uint32_t k = a->pool.rule->k;
    const size_t n = a->question->n_options;
    struct ww_span *token = ww_calloc(k * n, sizeof(*token));
    double *logprob = ww_calloc(k * n, sizeof(*logprob));
    enum ww_err rc = token && logprob ? WW_OK : WW_FAIL_MEMORY(err, "options");
    for (uint32_t m = 0; m < k && !rc; m++) {
        const struct ww_scored_at *at = c->said[m].n ? c->said[m].at[0] : NULL;
        lists[m] = (struct ww_fuse_list){token + m * n, logprob + m * n,
                                         at && at->n == n ? at->n : 0};
        for (uint32_t i = 0; i < lists[m].n; i++) {
            logprob[m * n + i] = at->top[i].logprob;
            for (size_t o = 0; o < n; o++) { /* spans of the request live longer */
                if (ww_span_eq(a->question->option[o], at->top[i].bytes)) {
                    token[m * n + i] = a->question->option[o];
                }
            }
        }
        if (!lists[m].n) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED, "member '%s' did not score the options",
                         a->pool.member[m].name);
        }
    }
    rc = rc ? rc : ww_fuse_next(&a->fuse, lists, err);
    ww_free(token);
    ww_free(logprob);
    return rc;
}

enum ww_err ww_option_answer_step(struct ww_answer *a, struct ww_error *err)
{
    const struct ww_question *q = a->question;
    struct choosing *c = ww_calloc(1, sizeof(*c));
    if (!c) {
        return WW_FAIL_MEMORY(err, "options");
    }
    c->pool = &a->pool;
    c->started = a->started;
    c->item = (struct ww_task_item){.prompt = {q->prompt.data, q->prompt.len},
                                    .answer = q->option[0],
                                    .options = q->option,
                                    .n_options = q->n_options,
                                    .weight = 1,
                                    .task = ""};
    enum ww_err rc = ww_panel_run(a->panel, score, c, err);
    rc = rc ? rc : fuse(a, c, err);
    if (!rc) {
        const uint32_t at =
            ww_fuse_draw(&a->fuse, q->temperature, q->top_p, ww_answer_draw(a));
        a->taken = a->fuse.list[at];
        a->list = a->fuse.list;
        a->n = a->fuse.n;
        rc = ww_buf_add(&a->text, a->taken.token.data, a->taken.token.len, err);
    }
    for (uint32_t m = 0; m < a->pool.rule->k; m++) {
        ww_gathered_release(&c->said[m]);
    }
    ww_free(c);
    return rc;
}
