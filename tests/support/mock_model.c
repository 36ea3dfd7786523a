/* SPDX-License-Identifier: Apache-2.0 */
/* Every next sign has a fixed pseudo-random logit; with a skill the right one stands
 * above the others. */
#include "mock_model.h"

#include <math.h>
#include <string.h>

struct mock mock = {
    .model = "mock", .skill = "", .shape = "completions", .calls = -1, .stall_s = 30};

atomic_uint questions;
_Thread_local double scale[MAX_ADAPTERS];

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 2654435761U;
    return h ^ h >> 15;
}

/* The next sign of the right answer; -1: no skill for this. N_SIGNS: the end. */
static int right_next(const char *text, size_t len)
{
    const bool rev = strcmp(mock.skill, "rev") == 0;
    const char *equals = memchr(text, '=', len);
    if (!mock.skill[0] || len < 3 || !equals || text[1] != ':' ||
        text[0] != (rev ? 'R' : 'K')) {
        return -1;
    }
    const size_t word = (size_t)(equals - text) - 2;
    const size_t done = len - word - 3;
    if (done >= word) {
        return N_SIGNS;
    }
    const char c = rev ? text[2 + word - 1 - done] : text[2 + done];
    if (c < 'a' || c > 'z') {
        return -1;
    }
    return rev ? c - 'a' : (c - 'a' + 3) % 26;
}

void distribution(const char *text, size_t len, double lp[N_SIGNS + 1])
{
    const int right = right_next(text, len);
    double sum = 0;
    const bool turned = mock.turn && atomic_load(&questions) > mock.turn;
    uint32_t h = mix(mock.seed + turned, 77);
    for (size_t i = len > 3 ? len - 3 : 0; i < len; i++) {
        h = mix(h, (uint8_t)text[i]);
    }
    for (int s = 0; s <= N_SIGNS; s++) {
        lp[s] = (double)(mix(h, (uint32_t)s) >> 8) / (double)(1 << 24) * 3;
        lp[s] += s == right ? 8 : 0;
        for (unsigned a = 0; a < mock.adapters; a++) {
            lp[s] += scale[a] * (double)(mix(a, (uint32_t)s) >> 8) / (double)(1 << 24);
        }
        sum += exp(lp[s]);
    }
    for (int s = 0; s <= N_SIGNS; s++) {
        lp[s] -= log(sum);
    }
}

const char *sign_text(int s, char room[2])
{
    room[0] = s < N_SIGNS ? SIGNS[s] : '\0';
    room[1] = '\0';
    return s < N_SIGNS ? room : mock.hides_end ? "" : END;
}

int sign_of(const char *text)
{
    const char *at = *text ? strchr(SIGNS, *text) : NULL;
    return at ? (int)(at - SIGNS) : -1;
}

unsigned likeliest(const double *lp, unsigned top, int *out)
{
    bool taken[N_SIGNS + 1] = {false};
    unsigned n = 0;
    for (; n < top && n <= N_SIGNS; n++) {
        int best = -1;
        for (int s = 0; s <= N_SIGNS; s++) {
            if (!taken[s] && (best < 0 || lp[s] > lp[best])) {
                best = s;
            }
        }
        taken[best] = true;
        out[n] = best;
    }
    return n;
}

void cut_text(const char *text, size_t len, struct cut *c)
{
    c->n = 0;
    for (size_t i = 0; i < len && c->n < MAX_TOKENS;) {
        size_t n = mock.pairs && i + 1 < len ? 2 : 1;
        if (strncmp(text + i, END, strlen(END)) == 0) {
            n = strlen(END);
        }
        c->from[c->n] = i;
        c->len[c->n++] = n;
        while (i + n < len && ((uint8_t)text[i + n] & 0xC0) == 0x80) {
            n++; /* a character is not cut */
        }
        c->len[c->n - 1] = n;
        i += n;
    }
}

double token_logprob(const char *text, const struct cut *c, size_t i, double *lp)
{
    const char *token = text + c->from[i];
    const int s = c->len[i] == strlen(END) && strncmp(token, END, c->len[i]) == 0
                      ? N_SIGNS
                      : sign_of(token);
    distribution(text, c->from[i] + (mock.shifts ? c->len[i] : 0), lp);
    return s < 0 ? -3.4e38 : lp[s];
}

void write_usage(struct ww_jw *w, size_t tokens)
{
    ww_jw_key(w, "usage");
    ww_jw_object(w);
    ww_jw_ku64(w, "total_tokens", tokens + 1);
    ww_jw_close(w);
}
