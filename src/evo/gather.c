/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over one item's questions. */
#include "evo/gather_int.h"

#include <math.h>
#include <string.h>

#include "crypto/hash.h"
#include "evo/pool.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define DOMAIN "weightward.evo-answer/1"

static void add_field(struct ww_sha256 *h, const void *bytes, size_t len)
{
    ww_sha256_u64le(h, len);
    ww_sha256_update(h, bytes, len);
}

static void add_scales(struct ww_sha256 *h, const struct ww_ask *ask)
{
    uint8_t bytes[8];
    add_field(h, "adapters", 8);
    for (uint32_t i = 0; i < ask->n_scales; i++) {
        uint64_t bits = 0;
        memcpy(&bits, &ask->scales[i], sizeof(bits));
        ww_put_u64le(bytes, bits);
        add_field(h, bytes, sizeof(bytes));
    }
}

enum ww_err ww_answer_key(const struct ww_member *member, const char *dialect,
                          uint32_t version, const struct ww_ask *ask, uint8_t out[32],
                          struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    uint8_t numbers[9];
    enum ww_err rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    numbers[0] = ask->score;
    ww_put_u32le(numbers + 1, ask->top);
    ww_put_u32le(numbers + 5, version);
    const char *texts[] = {DOMAIN, member->url, member->model, dialect, ask->end};
    for (size_t i = 0; i < WW_LEN(texts); i++) {
        add_field(h, texts[i], strlen(texts[i]));
    }
    add_field(h, numbers, sizeof(numbers));
    add_field(h, ask->prompt.data, ask->prompt.len);
    add_field(h, ask->answer.data, ask->answer.len);
    if (ask->n_scales > 0) {
        add_scales(h, ask);
    }
    if (ask->forced.len > 0) {
        add_field(h, "forced", 6);
        add_field(h, ask->forced.data, ask->forced.len);
    }
    ww_sha256_final(h, out);
    ww_sha256_free(h);
    return WW_OK;
}

void ww_gathered_release(struct ww_gathered *g)
{
    for (size_t i = 0; i < g->n_said; i++) {
        ww_scored_release(&g->said[i]);
    }
    for (uint32_t k = 0; g->made && k < g->k; k++) {
        ww_scored_release(&g->made[k]);
    }
    ww_free(g->made);
    ww_free(g->said);
    ww_free(g->keys);
    ww_free(g->gold);
    ww_free(g->logprob);
    ww_free(g->untold);
    ww_free(g->at);
    ww_free(g->prompt_surprise);
    memset(g, 0, sizeof(*g));
}

static enum ww_err make_room(struct ww_gathered *g, size_t more, struct ww_error *err)
{
    if (g->n_said + more <= g->room) {
        return WW_OK;
    }
    const size_t room = 2 * g->room + more + 16;
    void *said = ww_realloc_array(g->said, room, sizeof(*g->said));
    if (said) {
        g->said = said;
    }
    void *keys = ww_realloc_array(g->keys, room, sizeof(*g->keys));
    if (keys) {
        g->keys = keys;
    }
    if (!said || !keys) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    g->room = room;
    return WW_OK;
}

enum ww_err ww_gather_ask(const struct ww_gather *gather, uint32_t member,
                          const struct ww_ask *ask, struct ww_gathered *g,
                          struct ww_error *err)
{
    const struct ww_dialect *d = gather->facts[member].dialect;
    enum ww_err rc = make_room(g, 1, err);
    if (rc) {
        return rc;
    }
    uint8_t *key = g->keys[g->n_said];
    rc = ww_answer_key(&gather->members->member[member], d->name, d->version, ask, key,
                       err);
    bool found = false;
    rc = rc ? rc
            : gather->fetch(gather->payload, member, ask, key, &found,
                            &g->said[g->n_said], err);
    g->complete = !rc && found;
    g->n_said += g->complete;
    return rc;
}

enum ww_err ww_gather_take(struct ww_gathered *g, struct ww_gathered *from,
                           struct ww_error *err)
{
    enum ww_err rc = make_room(g, from->n_said, err);
    if (rc || from->n_said == 0) {
        return rc;
    }
    memcpy(g->said + g->n_said, from->said, from->n_said * sizeof(*g->said));
    memcpy(g->keys + g->n_said, from->keys, from->n_said * sizeof(*g->keys));
    g->n_said += from->n_said;
    from->n_said = 0;
    return WW_OK;
}

/* Room for one more position. */
static enum ww_err add_position(struct ww_gathered *g, struct ww_span gold,
                                struct ww_error *err)
{
    const size_t n = (size_t)g->n + 1;
    void *golds = ww_realloc_array(g->gold, n, sizeof(*g->gold));
    if (golds) {
        g->gold = golds;
    }
    void *logprob = ww_realloc_array(g->logprob, n, g->k * sizeof(*g->logprob));
    if (logprob) {
        g->logprob = logprob;
    }
    void *at = ww_realloc_array(g->at, n, g->k * sizeof(const struct ww_scored_at *));
    if (at) {
        g->at = at;
    }
    void *untold = ww_realloc_array(g->untold, n, g->k * sizeof(*g->untold));
    if (untold) {
        g->untold = untold;
    }
    if (!golds || !logprob || !at || !untold) {
        return WW_FAIL_MEMORY(err, "answers");
    }
    g->gold[g->n] = gold;
    for (uint32_t k = 0; k < g->k; k++) {
        g->at[(size_t)g->n * g->k + k] = NULL;
        g->logprob[(size_t)g->n * g->k + k] = WW_POOL_FLOOR;
        g->untold[(size_t)g->n * g->k + k] = false;
    }
    g->n++;
    return WW_OK;
}

enum ww_err ww_gather_made(struct ww_gathered *g, uint32_t member,
                           struct ww_scored_writer *w, struct ww_error *err)
{
    struct ww_scored *made = &g->made[member];
    enum ww_err rc = ww_scored_end(w, (double)NAN, 0, made, err);
    for (uint32_t i = 0; i < made->n && !rc; i++) {
        if (i == g->n) {
            rc = add_position(g, made->at[i].gold, err);
        }
        if (!rc) {
            g->logprob[(size_t)i * g->k + member] = made->at[i].logprob;
            g->at[(size_t)i * g->k + member] = &made->at[i];
        }
    }
    return rc;
}

/* A whole scored answer as a column; the first one makes the positions. */
static enum ww_err take_scored(const struct ww_gather *gather, uint32_t member,
                               uint32_t first, const struct ww_scored *said,
                               size_t number, struct ww_gathered *g, struct ww_error *err)
{
    bool same = first == member || said->n == g->n;
    g->prompt_surprise[member] = said->prompt_surprise;
    for (uint32_t i = 0; i < said->n && same; i++) {
        if (first == member) {
            enum ww_err rc = add_position(g, said->at[i].gold, err);
            if (rc) {
                return rc;
            }
        }
        same = ww_span_eq(g->gold[i], said->at[i].gold);
        g->logprob[(size_t)i * g->k + member] = said->at[i].logprob;
        g->at[(size_t)i * g->k + member] = &said->at[i];
    }
    if (!same || said->n == 0) {
        return WW_FAIL(err, WW_E_UNRELATED,
                       "members '%s' and '%s' cut the answer of item %zu into other "
                       "tokens; a pool of tokens needs one tokenizer",
                       gather->members->member[first].name,
                       gather->members->member[member].name, number + 1);
    }
    return WW_OK;
}

/* Is the member asked once? Where its scores come without lists that is enough only for
 * who needs none. */
static bool scores(const struct ww_gather *gather, uint32_t member)
{
    const struct ww_member_facts *facts = &gather->facts[member];
    return facts->scores_prompts && (facts->top > 0 || gather->no_lists);
}

static enum ww_err ask_scoring(const struct ww_gather *gather,
                               const struct ww_task_item *item, size_t number,
                               uint32_t *first, struct ww_gathered *g,
                               struct ww_error *err)
{
    *first = g->k;
    for (uint32_t k = 0; k < g->k; k++) {
        if (!scores(gather, k)) {
            continue;
        }
        const struct ww_member *m = &gather->members->member[k];
        const struct ww_ask ask = {.score = true,
                                   .prompt = item->prompt,
                                   .answer = item->answer,
                                   .end = m->end,
                                   .model = m->model,
                                   .top = gather->top};
        enum ww_err rc = ww_gather_ask(gather, k, &ask, g, err);
        if (rc || !g->complete) {
            return rc;
        }
        *first = *first == g->k ? k : *first;
        rc = take_scored(gather, k, *first, &g->said[g->n_said - 1], number, g, err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

/* A token in no list: its share of what the list leaves over, no more than the last. */
static double unseen(const struct ww_scored_at *at, uint32_t vocabulary)
{
    double shown = 0;
    for (uint32_t i = 0; i < at->n; i++) {
        shown += ww_fix_exp(at->top[i].logprob);
    }
    const double rest = 1 - shown > 1e-12 ? 1 - shown : 1e-12;
    const double others = vocabulary > at->n ? vocabulary - at->n : 1;
    const double r = ww_fix_log(rest / others);
    const double last = at->n ? at->top[at->n - 1].logprob : 0;
    const double least = r < last ? r : last;
    return least > WW_POOL_FLOOR ? least : WW_POOL_FLOOR;
}

static const double *find_logprob(const struct ww_scored_at *at, struct ww_span gold)
{
    for (uint32_t i = 0; i < at->n; i++) {
        if (ww_span_eq(at->top[i].bytes, gold)) {
            return &at->top[i].logprob;
        }
    }
    return NULL;
}

/* The longest listed token that the answer goes on with, ending between characters; else
 * one character. */
static struct ww_span next_gold(const struct ww_scored_at *const *at, uint32_t k,
                                struct ww_span rest)
{
    const size_t character = ww_utf8_next(rest.data, rest.len, NULL);
    struct ww_span best = {rest.data, character ? character : 1};
    for (uint32_t m = 0; m < k; m++) {
        for (uint32_t i = 0; at[m] && i < at[m]->n; i++) {
            const struct ww_span t = at[m]->top[i].bytes;
            if (t.len > best.len && t.len <= rest.len &&
                memcmp(t.data, rest.data, t.len) == 0 &&
                (t.len == rest.len || (rest.data[t.len] & 0xC0) != 0x80)) {
                best.len = t.len;
            }
        }
    }
    return best;
}

/* Every member that does not score, at one position. */
static enum ww_err ask_position(const struct ww_gather *gather,
                                const struct ww_task_item *item, size_t done,
                                const struct ww_scored_at **at, struct ww_gathered *g,
                                struct ww_error *err)
{
    for (uint32_t k = 0; k < g->k; k++) {
        if (scores(gather, k)) {
            continue;
        }
        const struct ww_ask ask =
            ww_ask_next(&gather->members->member[k], &gather->facts[k], item->prompt,
                        (struct ww_span){item->answer.data, done}, gather->top);
        enum ww_err rc = ww_gather_ask(gather, k, &ask, g, err);
        if (rc || !g->complete) {
            return rc;
        }
        const struct ww_scored *said = &g->said[g->n_said - 1];
        if (said->n != 1) {
            return WW_FAIL(err, WW_E_MALFORMED, "a recorded answer is of another kind");
        }
        at[k] = &said->at[0];
    }
    return WW_OK;
}

static bool is_end(const struct ww_member *m, struct ww_span token)
{
    return ww_span_eq(token, (struct ww_span){(const uint8_t *)m->end, strlen(m->end)});
}

/* A right token's log-probability: from the list, else by one more question where the
 * pool wants that and the server can, else estimated and called untold. */
static enum ww_err score_gold(const struct ww_gather *gather, uint32_t k,
                              const struct ww_task_item *item, size_t done,
                              const struct ww_scored_at *at, struct ww_span gold,
                              size_t place, struct ww_gathered *g, struct ww_error *err)
{
    double *out = &g->logprob[place];
    const struct ww_member *m = &gather->members->member[k];
    const double *listed = find_logprob(at, gold);
    const struct ww_member_facts *facts = &gather->facts[k];
    const bool ask_it =
        m->exact && facts->forces && gold.len > 0 &&
        (facts->hints.has_end_id || facts->dialect->by_number || !is_end(m, gold));
    const uint32_t usual = gather->vocabulary ? gather->vocabulary : WW_GATHER_VOCABULARY;
    *out = listed ? *listed : unseen(at, facts->vocabulary ? facts->vocabulary : usual);
    g->untold[place] = !listed;
    if (listed || !ask_it) {
        g->assumed += !listed && !facts->vocabulary;
        return WW_OK;
    }
    struct ww_ask ask =
        ww_ask_next(m, facts, item->prompt, (struct ww_span){item->answer.data, done}, 1);
    ask.forced = gold;
    enum ww_err rc = ww_gather_ask(gather, k, &ask, g, err);
    if (!rc && g->complete) {
        const struct ww_scored *said = &g->said[g->n_said - 1];
        const bool told = said->n && said->at[0].n;
        *out = told ? said->at[0].top[0].logprob : *out;
        g->untold[place] = !told;
        g->assumed += !told && !facts->vocabulary;
    }
    return rc;
}

static enum ww_err walk(const struct ww_gather *gather, const struct ww_task_item *item,
                        size_t number, bool cut, struct ww_gathered *g,
                        struct ww_error *err)
{
    const struct ww_scored_at *at[WW_POOL_MAX_MEMBERS] = {NULL};
    size_t done = 0;
    enum ww_err rc = WW_OK;
    for (uint32_t i = 0; !rc; i++) {
        const bool at_end = done == item->answer.len;
        const bool more = cut ? i < g->n : !at_end || gather->members->member[0].end[0];
        if (!more || (at_end && i && !g->gold[i - 1].len)) {
            break;
        }
        rc = ask_position(gather, item, done, at, g, err);
        if (rc || !g->complete) {
            break;
        }
        const struct ww_span rest = {item->answer.data + done, item->answer.len - done};
        if (!cut) {
            rc = add_position(
                g, at_end ? (struct ww_span){NULL, 0} : next_gold(at, g->k, rest), err);
        }
        if (!rc && (g->gold[i].len > rest.len ||
                    (g->gold[i].len && g->gold[i].data[0] == 0xFF))) {
            rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                         "item %zu has a token that ends inside of a character, where no "
                         "member can be asked for the next",
                         number + 1);
        }
        for (uint32_t k = 0; k < g->k && !rc && g->complete; k++) {
            const char *end = gather->members->member[k].end;
            const struct ww_span gold =
                g->gold[i].len ? g->gold[i]
                               : (struct ww_span){(const uint8_t *)end, strlen(end)};
            if (at[k]) {
                g->at[(size_t)i * g->k + k] = at[k];
                rc = score_gold(gather, k, item, done, at[k], gold, (size_t)i * g->k + k,
                                g, err);
            }
        }
        if (!g->complete) {
            break;
        }
        done += rc ? 0 : g->gold[i].len;
    }
    return rc;
}

/* The tokens of the item's answer. */
static enum ww_err gather_tokens(const struct ww_gather *gather,
                                 const struct ww_task_item *item, size_t number,
                                 struct ww_gathered *g, struct ww_error *err)
{
    bool walks = false;
    uint32_t first = 0;
    for (uint32_t k = 0; k < g->k; k++) {
        walks = walks || !scores(gather, k);
    }
    enum ww_err rc = ask_scoring(gather, item, number, &first, g, err);
    if (!rc && g->complete && walks) {
        rc = walk(gather, item, number, first < g->k, g, err);
    }
    return rc;
}

enum ww_err ww_gather_item(const struct ww_gather *gather,
                           const struct ww_task_item *item, size_t number,
                           struct ww_gathered *out, struct ww_error *err)
{
    static enum ww_err (*const gather_level[])(
        const struct ww_gather *gather, const struct ww_task_item *item, size_t number,
        struct ww_gathered *g,
        struct ww_error *err) = {[WW_EVO_TOKENS] = gather_tokens,
                                 [WW_EVO_OPTIONS] = ww_gather_options,
                                 [WW_EVO_BYTES] = ww_gather_bytes};
    memset(out, 0, sizeof(*out));
    out->k = gather->members->k;
    out->complete = true;
    out->prompt_surprise = ww_calloc(out->k, sizeof(*out->prompt_surprise));
    out->made = ww_calloc(out->k, sizeof(*out->made));
    if (!out->prompt_surprise || !out->made) {
        ww_gathered_release(out);
        return WW_FAIL_MEMORY(err, "answers");
    }
    for (uint32_t k = 0; k < out->k; k++) {
        out->prompt_surprise[k] = (double)NAN;
    }
    enum ww_err rc = gather_level[gather->level](gather, item, number, out, err);
    if (rc) {
        ww_gathered_release(out);
    }
    return rc;
}
