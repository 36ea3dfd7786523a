/* SPDX-License-Identifier: Apache-2.0 */
/* A server's answer, whatever it is, gives log-probabilities in order or is refused; what
 * is recorded of it is read again the same. The first byte says how the server was asked:
 * dialect in its low three bits, then whether it was to score. */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "evo/dialect.h"

static void check(const struct ww_scored *s)
{
    for (uint32_t i = 0; i < s->n; i++) {
        FUZZ_CHECK(isnan(s->at[i].logprob) ||
                   (s->at[i].logprob <= 0 && s->at[i].logprob >= -100));
        for (uint32_t t = 0; t < s->at[i].n; t++) {
            FUZZ_CHECK(s->at[i].top[t].logprob <= 0 && s->at[i].top[t].logprob >= -100);
            FUZZ_CHECK(t == 0 || s->at[i].top[t].logprob <= s->at[i].top[t - 1].logprob);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_scored s;
    struct ww_scored again;
    struct ww_error err = {0};
    if (size == 0) {
        return 0;
    }
    const struct ww_dialect *d = ww_dialect_at(data[0] & 7);
    const struct ww_hints hints = {.has_end_id = true, .end_id = 2};
    const struct ww_ask ask = {
        .score = d && d->score_path && (data[0] & 8),
        .prompt = {(const uint8_t *)"ab", 2},
        .answer = {(const uint8_t *)"cd", 2},
        .end = data[0] & 16 ? "</s>" : "",
        .model = "m",
        .top = 3,
        .hints = data[0] & 32 ? &hints : NULL,
        .forced = {(const uint8_t *)"a", data[0] >> 6 & 1},
        .skip = data[0] >> 7,
    };
    if (!d) {
        /* a record as the cache gives it */
        if (ww_scored_read(data + 1, size - 1, &s, &err) == WW_OK) {
            check(&s);
            ww_scored_release(&s);
        }
        return 0;
    }
    if (ww_dialect_read(d, &ask, data + 1, size - 1, &s, &err)) {
        FUZZ_CHECK(err.text[0] && !s.n);
        return 0;
    }
    check(&s);
    FUZZ_CHECK(ww_scored_read(s.bytes.data, s.bytes.len, &again, &err) == WW_OK);
    FUZZ_CHECK(again.n == s.n);
    ww_scored_release(&again);
    ww_scored_release(&s);
    return 0;
}
