/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of an answer, whatever tokens a member has. A member's mass lies at the places
 * where one of its tokens may end; from each it goes on with the tokens that it lists
 * there (Gu et al. 2024, arXiv 2407.11009, by characters; Phan et al. 2024, arXiv
 * 2410.09303, for exact conditionals). At place j
 *
 *     P(byte b) = sum over p <= j of a_p P_p(tokens from p through j with b at j) / total
 *
 * where a_p is the mass of "a token ends at p" among what the answer so far allows. A
 * place is asked about when some mass ends there. What lists do not show is left out;
 * where no listed token leads on, the walk begins anew behind the character.
 */
#include <math.h>
#include <string.h>

#include "evo/gather_int.h"
#include "evo/pool.h"
#include "evo/probe.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"

#define END 256
#define CHOICES WW_GATHER_BYTES
#define LEAST 1e-6 /* mass that a place must have to be asked about */
#define MOST_BYTES 16384

struct walk {
    const struct ww_gather *gather;
    uint32_t member;
    const struct ww_task_item *item;
    size_t number;
    struct ww_gathered *g;
    double *mass;                   /* [answer.len + 1] */
    const struct ww_scored_at **at; /* [answer.len + 1] */
    size_t longest;                 /* token that was listed so far */
    double choice[CHOICES];         /* of the place */
};

static const uint8_t *answer_of(const struct walk *w, size_t p)
{
    return w->item->answer.data + p;
}

/* No member can be asked about the next byte here: requests are text. */
static bool is_inside(const struct walk *w, size_t j)
{
    return j < w->item->answer.len && (*answer_of(w, j) & 0xC0) == 0x80;
}

/* The token from p reaches j: all of it up to there is the answer's. */
static bool reaches(const struct walk *w, struct ww_span token, size_t p, size_t j)
{
    return token.len >= j - p && memcmp(token.data, answer_of(w, p), j - p) == 0;
}

static bool is_end(const struct walk *w, struct ww_span token)
{
    const char *end = w->gather->members->member[w->member].end;
    return token.len == 0 ||
           (*end && token.len == strlen(end) && memcmp(token.data, end, token.len) == 0);
}

/* Tokens from before it do not reach j. */
static size_t first_place(const struct walk *w, size_t j)
{
    return j > w->longest ? j - w->longest : 0;
}

/* Mass that ends at j, and how much goes through it. */
static double arrive(struct walk *w, size_t j)
{
    double through = 0;
    double ends = 0;
    for (size_t p = first_place(w, j); p < j; p++) {
        for (uint32_t i = 0; w->at[p] && i < w->at[p]->n; i++) {
            const struct ww_said_token *t = &w->at[p]->top[i];
            if (is_end(w, t->bytes) || t->bytes.data[0] == 0xFF ||
                !reaches(w, t->bytes, p, j)) {
                continue;
            }
            const double mass = w->mass[p] * ww_fix_exp(t->logprob);
            *(t->bytes.len == j - p ? &ends : &through) += mass;
        }
    }
    w->mass[j] = ends;
    return ends + through;
}

/* Only what the answer so far allows counts from here on. */
static void condition(struct walk *w, size_t j, double total)
{
    if (!(total > 1e-300)) {
        for (size_t p = first_place(w, j); p < j; p++) {
            w->at[p] = NULL;
        }
        w->mass[j] = is_inside(w, j) ? 0 : 1;
        return;
    }
    for (size_t p = first_place(w, j); p <= j; p++) {
        w->mass[p] /= total;
    }
}

static enum ww_err ask(struct walk *w, size_t j, struct ww_error *err)
{
    const struct ww_task_item *item = w->item;
    if (w->mass[j] < LEAST || is_inside(w, j)) {
        if (w->mass[j] > 0.5) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "item %zu has a token that ends inside of a character, where "
                           "no member can be asked for the next",
                           w->number + 1);
        }
        return WW_OK;
    }
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
    w->at[j] = &said->at[0];
    for (uint32_t i = 0; i < said->at[0].n; i++) {
        const size_t bytes = said->at[0].top[i].bytes.len;
        w->longest = bytes > w->longest ? bytes : w->longest;
    }
    return WW_OK;
}

static void choose(struct walk *w, size_t j)
{
    memset(w->choice, 0, sizeof(w->choice));
    for (size_t p = first_place(w, j); p <= j; p++) {
        for (uint32_t i = 0; w->at[p] && i < w->at[p]->n; i++) {
            const struct ww_said_token *t = &w->at[p]->top[i];
            const double mass = w->mass[p] * ww_fix_exp(t->logprob);
            if (is_end(w, t->bytes)) {
                w->choice[END] += p == j ? mass : 0;
            } else if (t->bytes.data[0] != 0xFF && t->bytes.len > j - p &&
                       reaches(w, t->bytes, p, j)) {
                w->choice[t->bytes.data[j - p]] += mass;
            }
        }
    }
}

static enum ww_err write_choice(const struct walk *w, size_t j,
                                struct ww_scored_writer *out, struct ww_error *err)
{
    struct ww_said_token list[CHOICES];
    uint8_t bytes[CHOICES];
    const unsigned gold = j < w->item->answer.len ? *answer_of(w, j) : END;
    double left = 1;
    size_t n = 0;
    for (unsigned b = 0; b < CHOICES; b++) {
        if (w->choice[b] > 1e-30) {
            const double mass = w->choice[b] < 1 ? w->choice[b] : 1;
            bytes[n] = (uint8_t)b;
            list[n] = (struct ww_said_token){{&bytes[n], b != END}, ww_fix_log(mass)};
            left -= mass;
            n++;
        }
    }
    out->top = (uint32_t)n; /* a list of our own: the right byte is not appended to it */
    const double others = n < CHOICES ? (double)(CHOICES - n) : 1;
    const double unseen = (left > 1e-12 ? left : 1e-12) / others;
    const double mass = w->choice[gold] > unseen ? w->choice[gold] : unseen;
    return ww_scored_add(out, (struct ww_span){answer_of(w, j), gold != END},
                         ww_fix_log(mass < 1 ? mass : 1), list, n, err);
}

static enum ww_err walk_bytes(struct walk *w, struct ww_error *err)
{
    const size_t len = w->item->answer.len;
    const size_t places = len + (w->gather->members->member[0].end[0] != 0);
    struct ww_scored_writer out = {0};
    enum ww_err rc = ww_scored_begin(&out, CHOICES, err);
    for (size_t j = 0; j < places && !rc; j++) {
        condition(w, j, arrive(w, j));
        rc = ask(w, j, err);
        if (rc || !w->g->complete) {
            break;
        }
        choose(w, j);
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
    const size_t len = item->answer.len;
    struct walk w = {.gather = gather, .item = item, .number = number, .g = g};
    enum ww_err rc = WW_OK;
    if (len > MOST_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "the answer of item %zu has %zu bytes, at most %d", number + 1,
                       len, MOST_BYTES);
    }
    g->vocabulary = CHOICES;
    w.mass = ww_calloc(len + 1, sizeof(*w.mass));
    w.at = ww_calloc(len + 1, sizeof(const struct ww_scored_at *));
    if (!w.mass || !w.at) {
        rc = WW_FAIL(err, WW_E_NOMEM, "out of memory for an answer's bytes");
    }
    for (uint32_t k = 0; k < g->k && !rc && g->complete; k++) {
        memset(w.mass, 0, (len + 1) * sizeof(*w.mass));
        memset(w.at, 0, (len + 1) * sizeof(const struct ww_scored_at *));
        w.member = k;
        w.longest = 0;
        rc = walk_bytes(&w, err);
    }
    ww_free(w.mass);
    ww_free(w.at);
    return rc;
}
