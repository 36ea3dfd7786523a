/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options as wholes: what a member says about an option is the sum of the
 * log-probabilities of its tokens, cut as that member cuts them and with its end token
 * where one is named, so that members need nothing in common (Mavromatis et al. 2024,
 * arXiv 2404.11531, for pools of such scores). A softmax over the item's options makes
 * them one distribution, and everything that is fitted to tokens is fitted to it.
 */
#include <math.h>

#include "evo/gather_int.h"
#include "evo/pool.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

/* One member of a pool as a pool of its own. */
struct alone {
    const struct ww_gather *all;
    uint32_t member;
};

static enum ww_err fetch(void *payload, uint32_t member, const struct ww_ask *ask,
                         const uint8_t key[32], bool *found, struct ww_scored *out,
                         struct ww_error *err)
{
    const struct alone *a = payload;
    (void)member;
    return a->all->fetch(a->all->payload, a->member, ask, key, found, out, err);
}

/* The log-probability of an option, whose bytes are set. */
static enum ww_err score(const struct ww_gather *gather, uint32_t member,
                         const struct ww_task_item *item, size_t number,
                         struct ww_said_token *option, struct ww_gathered *g,
                         struct ww_error *err)
{
    struct alone payload = {gather, member};
    const struct ww_members members = {.k = 1,
                                       .member = &gather->members->member[member]};
    const struct ww_gather one = {.members = &members,
                                  .facts = &gather->facts[member],
                                  .top = gather->top,
                                  .fetch = fetch,
                                  .payload = &payload,
                                  .vocabulary = gather->vocabulary,
                                  .no_lists = true};
    struct ww_task_item asked = *item;
    struct ww_gathered said;
    asked.answer = option->bytes;
    enum ww_err rc = ww_gather_item(&one, &asked, number, &said, err);
    if (rc) {
        return rc;
    }
    g->complete = said.complete;
    g->assumed += said.assumed;
    option->logprob = 0;
    for (uint32_t i = 0; i < said.n; i++) {
        option->logprob += said.logprob[i];
    }
    if (gather->per_byte) {
        option->logprob /= (double)option->bytes.len;
    }
    rc = ww_gather_take(g, &said, err);
    ww_gathered_release(&said);
    return rc;
}

static void normalise(struct ww_said_token *options, uint32_t n)
{
    double most = options[0].logprob;
    double sum = 0;
    for (uint32_t i = 1; i < n; i++) {
        most = options[i].logprob > most ? options[i].logprob : most;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += ww_fix_exp(options[i].logprob - most);
    }
    for (uint32_t i = 0; i < n; i++) {
        const double l = options[i].logprob - most - ww_fix_log(sum);
        options[i].logprob = l > WW_POOL_FLOOR ? l : WW_POOL_FLOOR;
    }
}

static enum ww_err column(const struct ww_gather *gather, uint32_t member,
                          const struct ww_task_item *item, size_t number,
                          struct ww_said_token *options, struct ww_gathered *g,
                          struct ww_error *err)
{
    struct ww_scored_writer w = {0};
    double gold = 0;
    enum ww_err rc = WW_OK;
    for (uint32_t i = 0; i < item->n_options && !rc; i++) {
        options[i].bytes = item->options[i];
        rc = score(gather, member, item, number, &options[i], g, err);
        if (rc || !g->complete) {
            return rc;
        }
    }
    normalise(options, item->n_options);
    for (uint32_t i = 0; i < item->n_options; i++) {
        if (ww_span_eq(options[i].bytes, item->answer)) {
            gold = options[i].logprob;
        }
    }
    rc = ww_scored_begin(&w, item->n_options, err);
    if (!rc) {
        rc = ww_scored_add(&w, item->answer, gold, options, item->n_options, err);
    }
    if (!rc) {
        rc = ww_gather_made(g, member, &w, err);
    }
    ww_scored_drop(&w);
    return rc;
}

enum ww_err ww_gather_options(const struct ww_gather *gather,
                              const struct ww_task_item *item, size_t number,
                              struct ww_gathered *g, struct ww_error *err)
{
    if (item->n_options == 0) {
        return WW_FAIL(err, WW_E_USAGE,
                       "item %zu has no 'options': give it some, or compare members by "
                       "tokens or bytes",
                       number + 1);
    }
    struct ww_said_token *options = ww_calloc(item->n_options, sizeof(*options));
    enum ww_err rc = options ? WW_OK : WW_FAIL_MEMORY(err, "options");
    g->vocabulary = item->n_options;
    for (uint32_t k = 0; k < g->k && !rc && g->complete; k++) {
        rc = column(gather, k, item, number, options, g, err);
    }
    ww_free(options);
    return rc;
}
