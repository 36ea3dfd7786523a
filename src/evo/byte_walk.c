/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member's mass lies at the places where one of its tokens may end; from each it goes
 * on with the tokens that it lists there (Gu et al. 2024, arXiv 2407.11009, by
 * characters; Phan et al. 2024, arXiv 2410.09303, for exact conditionals). At place j
 *
 *     P(byte b) = sum over p <= j of a_p P_p(tokens from p through j with b at j) / total
 *
 * where a_p is the mass of "a token ends at p" among what the answer so far allows. A
 * place is asked about when some mass ends there. What lists do not show is left out;
 * where no listed token leads on, the walk begins anew behind the character, and until
 * there all bytes are as likely.
 */
#include "evo/byte_walk.h"

#include <string.h>

#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define LEAST 1e-6 /* mass that a place must have to be asked about */
#define NOTHING 1e-300
#define NOTHING_LISTED 1e-30

void ww_byte_walk_begin(struct ww_byte_walk *walk, const char *end)
{
    memset(walk, 0, sizeof(*walk));
    walk->end = end;
}

void ww_byte_walk_release(struct ww_byte_walk *walk)
{
    ww_free(walk->mass);
    ww_free(walk->at);
    memset(walk, 0, sizeof(*walk));
}

static enum ww_err make_room(struct ww_byte_walk *w, size_t places, struct ww_error *err)
{
    if (places <= w->room) {
        return WW_OK;
    }
    const size_t room = places + places / 2 + 64;
    double *mass = ww_realloc_array(w->mass, room, sizeof(*mass));
    w->mass = mass ? mass : w->mass;
    const struct ww_scored_at **at = ww_realloc_array(w->at, room, sizeof(*at));
    w->at = at ? at : w->at;
    if (!mass || !at) {
        return WW_FAIL_MEMORY(err, "an answer's bytes");
    }
    for (size_t i = w->room; i < room; i++) {
        mass[i] = 0;
        at[i] = NULL;
    }
    w->room = room;
    return WW_OK;
}

size_t ww_byte_inside(const uint8_t *text, size_t len)
{
    for (size_t n = 1; n <= 3 && n <= len; n++) {
        const uint8_t b = text[len - n];
        if ((b & 0xC0) != 0x80) {
            const size_t whole = b >= 0xF0 ? 4 : b >= 0xE0 ? 3 : b >= 0xC0 ? 2 : 1;
            return whole > n ? n : 0;
        }
    }
    return 0;
}

bool ww_byte_fits(const uint8_t *text, size_t len, unsigned byte)
{
    static const uint8_t tails[][3] = {{0x80, 0x80, 0x80}, {0xBF, 0xBF, 0xBF}};
    const size_t n = ww_byte_inside(text, len);
    uint8_t c[4] = {0};
    if (byte > 0xFF || (n == 0 && (byte == 0 || (byte & 0xC0) == 0x80))) {
        return false;
    }
    if (n > 0) { /* text may be NULL */
        memcpy(c, text + len - n, n);
    }
    c[n] = (uint8_t)byte;
    const size_t whole = c[0] >= 0xF0 ? 4 : c[0] >= 0xE0 ? 3 : c[0] >= 0xC0 ? 2 : 1;
    /* The lowest and the highest character that begin so bound all that do. */
    for (size_t t = 0; t < WW_LEN(tails); t++) {
        memcpy(c + n + 1, tails[t], whole > n + 1 ? whole - n - 1 : 0);
        if (ww_utf8_next(c, whole, NULL) == whole) {
            return true;
        }
    }
    return false;
}

/* The token from p reaches j: all of it up to there was said. */
static bool reaches(struct ww_span token, const uint8_t *said, size_t p, size_t j)
{
    return token.len >= j - p && (j == p || memcmp(token.data, said + p, j - p) == 0);
}

static bool is_end(const struct ww_byte_walk *w, struct ww_span token)
{
    return token.len == 0 || (*w->end && token.len == strlen(w->end) &&
                              memcmp(token.data, w->end, token.len) == 0);
}

size_t ww_byte_walk_needs(const struct ww_byte_walk *walk, size_t j)
{
    const size_t near = j > walk->longest ? j - walk->longest : 0;
    return near > walk->past ? near : walk->past;
}

/* Mass that ends at j, and how much goes through it. */
static double arrive(struct ww_byte_walk *w, const uint8_t *said, size_t j)
{
    double through = 0;
    double ends = 0;
    for (size_t p = ww_byte_walk_needs(w, j); p < j; p++) {
        for (uint32_t i = 0; w->at[p] && i < w->at[p]->n; i++) {
            const struct ww_said_token *t = &w->at[p]->top[i];
            if (is_end(w, t->bytes) || t->bytes.data[0] == 0xFF ||
                !reaches(t->bytes, said, p, j)) {
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
static void condition(struct ww_byte_walk *w, size_t j, double total, bool inside)
{
    if (!(total > NOTHING)) {
        for (size_t p = ww_byte_walk_needs(w, j); p < j; p++) {
            w->at[p] = NULL;
        }
        w->mass[j] = inside ? 0 : 1;
        return;
    }
    for (size_t p = ww_byte_walk_needs(w, j); p <= j; p++) {
        w->mass[p] /= total;
    }
}

enum ww_err ww_byte_walk_enter(struct ww_byte_walk *walk, const uint8_t *said, size_t j,
                               bool *ask, struct ww_error *err)
{
    const bool inside = ww_byte_inside(said, j) > 0;
    enum ww_err rc = make_room(walk, j + 1, err);
    *ask = false;
    if (rc) {
        return rc;
    }
    condition(walk, j, arrive(walk, said, j), inside);
    if (inside && walk->mass[j] > 0.5) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "a token ends inside of a character, where no member can be asked "
                       "for the next");
    }
    *ask = !inside && walk->mass[j] >= LEAST;
    return WW_OK;
}

void ww_byte_walk_told(struct ww_byte_walk *walk, size_t j, const struct ww_scored_at *at)
{
    walk->at[j] = at;
    for (uint32_t i = 0; i < at->n; i++) {
        const size_t bytes = at->top[i].bytes.len;
        walk->longest = bytes > walk->longest ? bytes : walk->longest;
    }
    /* A token that is longer than those before it reaches on from j, not up to it. */
    walk->past = ww_byte_walk_needs(walk, j);
}

/* Where no listed token leads on, a member has no say: everything is as likely. */
static void know_nothing(double choice[WW_BYTE_CHOICES])
{
    double most = 0;
    for (unsigned b = 0; b < WW_BYTE_CHOICES; b++) {
        most = choice[b] > most ? choice[b] : most;
    }
    for (unsigned b = 0; b < WW_BYTE_CHOICES && !(most > NOTHING_LISTED); b++) {
        choice[b] = 1.0 / WW_BYTE_CHOICES;
    }
}

void ww_byte_walk_choose(struct ww_byte_walk *w, const uint8_t *said, size_t j)
{
    memset(w->choice, 0, sizeof(w->choice));
    for (size_t p = ww_byte_walk_needs(w, j); p <= j; p++) {
        for (uint32_t i = 0; w->at[p] && i < w->at[p]->n; i++) {
            const struct ww_said_token *t = &w->at[p]->top[i];
            const double mass = w->mass[p] * ww_fix_exp(t->logprob);
            if (is_end(w, t->bytes)) {
                w->choice[WW_BYTE_END] += p == j ? mass : 0;
            } else if (t->bytes.data[0] != 0xFF && t->bytes.len > j - p &&
                       reaches(t->bytes, said, p, j)) {
                w->choice[t->bytes.data[j - p]] += mass;
            }
        }
    }
    know_nothing(w->choice);
}

size_t ww_byte_walk_list(const struct ww_byte_walk *walk, uint8_t *bytes,
                         struct ww_said_token *list, double *left)
{
    size_t n = 0;
    *left = 1;
    for (unsigned b = 0; b < WW_BYTE_CHOICES; b++) {
        if (walk->choice[b] > NOTHING_LISTED) {
            const double mass = walk->choice[b] < 1 ? walk->choice[b] : 1;
            bytes[n] = (uint8_t)b;
            list[n] =
                (struct ww_said_token){{&bytes[n], b != WW_BYTE_END}, ww_fix_log(mass)};
            *left -= mass;
            n++;
        }
    }
    return n;
}
