/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of an answer that is known: a position for each, and the end. */
#include <math.h>

#include "evo/byte_walk.h"
#include "evo/gather_int.h"
#include "evo/probe.h"
#include "la/fixmath.h"
#include "util/fail.h"

#define MOST_BYTES 16384

struct walk {
    const struct ww_gather *gather;
    uint32_t member;
    const struct ww_task_item *item;
    size_t number;
    struct ww_gathered *g;
    struct ww_byte_walk walk;
};

static enum ww_err ask(struct walk *w, size_t j, struct ww_error *err)
{
    const struct ww_task_item *item = w->item;
    const struct ww_ask question =
        ww_ask_next(&w->gather->members->member[w->member], &w->gather->facts[w->member],
                    item->prompt, (struct ww_span){item->answer.data, j}, w->gather->top);
    enum ww_err rc = ww_gather_ask(w->gather, w->member, &question, w->g, err);
    if (rc || !w->g->complete) {
        return rc;
    }
    const struct ww_scored *said = &w->g->said[w->g->n_said - 1];
    if (said->n != 1) {
        return WW_FAIL(err, WW_E_MALFORMED, "a recorded answer is of another kind");
    }
    ww_byte_walk_told(&w->walk, j, &said->at[0]);
    return WW_OK;
}

static enum ww_err write_choice(const struct walk *w, size_t j,
                                struct ww_scored_writer *out, struct ww_error *err)
{
    struct ww_said_token list[WW_BYTE_CHOICES];
    uint8_t bytes[WW_BYTE_CHOICES];
    const struct ww_span answer = w->item->answer;
    const unsigned gold = j < answer.len ? answer.data[j] : WW_BYTE_END;
    double left = 1;
    const size_t n = ww_byte_walk_list(&w->walk, bytes, list, &left);
    out->top = (uint32_t)n; /* a list of our own: the right byte is not appended to it */
    const double others = n < WW_BYTE_CHOICES ? (double)(WW_BYTE_CHOICES - n) : 1;
    const double unseen = (left > 1e-12 ? left : 1e-12) / others;
    const double mass = w->walk.choice[gold] > unseen ? w->walk.choice[gold] : unseen;
    return ww_scored_add(out, (struct ww_span){answer.data + j, gold != WW_BYTE_END},
                         ww_fix_log(mass < 1 ? mass : 1), list, n, err);
}

static enum ww_err walk_bytes(struct walk *w, struct ww_error *err)
{
    const uint8_t *answer = w->item->answer.data;
    const size_t places =
        w->item->answer.len + (w->gather->members->member[0].end[0] != 0);
    struct ww_scored_writer out = {0};
    enum ww_err rc = ww_scored_begin(&out, WW_BYTE_CHOICES, err);
    for (size_t j = 0; j < places && !rc; j++) {
        bool wanted = false;
        rc = ww_byte_walk_enter(&w->walk, answer, j, &wanted, err);
        if (rc) {
            ww_error_context(err, "item %zu", w->number + 1);
        } else if (wanted) {
            rc = ask(w, j, err);
        }
        if (rc || !w->g->complete) {
            break;
        }
        ww_byte_walk_choose(&w->walk, answer, j);
        rc = write_choice(w, j, &out, err);
    }
    if (!rc && w->g->complete) {
        rc = ww_gather_made(w->g, w->member, &out, err);
    }
    ww_scored_drop(&out);
    return rc;
}

enum ww_err ww_gather_bytes(const struct ww_gather *gather,
                            const struct ww_task_item *item, size_t number,
                            struct ww_gathered *g, struct ww_error *err)
{
    struct walk w = {.gather = gather, .item = item, .number = number, .g = g};
    enum ww_err rc = WW_OK;
    if (item->answer.len > MOST_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "the answer of item %zu has %zu bytes, at most %d", number + 1,
                       item->answer.len, MOST_BYTES);
    }
    g->vocabulary = WW_BYTE_CHOICES;
    for (uint32_t k = 0; k < g->k && !rc && g->complete; k++) {
        w.member = k;
        ww_byte_walk_begin(&w.walk, gather->members->member[k].end);
        rc = walk_bytes(&w, err);
        ww_byte_walk_release(&w.walk);
    }
    return rc;
}
