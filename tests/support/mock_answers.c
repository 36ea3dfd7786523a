/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of the usual kinds: completions with an echo, llama-server's, chats. */
#include "mock_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_map(struct ww_jw *w, const double *lp, unsigned top, int gold)
{
    int best[N_SIGNS + 1];
    char room[2];
    const unsigned n = likeliest(lp, top, best);
    bool shown = gold < 0;
    ww_jw_object(w);
    for (unsigned i = 0; i < n; i++) {
        const bool hidden = mock.hides_end && best[i] == N_SIGNS && gold != N_SIGNS;
        ww_jw_kdouble(w, sign_text(best[i], room), hidden ? -60 : lp[best[i]]);
        shown = shown || best[i] == gold;
    }
    if (!shown) { /* as servers do with echo */
        ww_jw_kdouble(w, sign_text(gold, room), lp[gold]);
    }
    ww_jw_close(w);
}

static const char *without_accents(const char *text, size_t *len, char *out, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < *len && n + 1 < room; i++) {
        out[n] = text[i];
        n += (uint8_t)text[i] < 0x80;
    }
    out[n] = '\0';
    *len = n;
    return out;
}

/* {tokens, token_logprobs, top_logprobs, text_offset}; the end token has no length in the
 * offsets, as where special tokens print as nothing. */
static void write_echo(struct ww_jw *w, const char *text, size_t len, unsigned top,
                       unsigned number)
{
    static _Thread_local struct cut c;
    double lp[N_SIGNS + 1];
    size_t offset = 0;
    static _Thread_local char plain[sizeof(c.from) / sizeof(c.from[0])];
    if (mock.narrow) {
        text = without_accents(text, &len, plain, sizeof(plain));
    }
    cut_text(text, len, &c);
    ww_jw_key(w, "tokens");
    ww_jw_array(w);
    for (size_t i = 0; i < c.n; i++) {
        const bool end = strncmp(text + c.from[i], END, strlen(END)) == 0;
        ww_jw_strn(w, text + c.from[i], end ? 0 : c.len[i]);
    }
    ww_jw_close(w);
    ww_jw_key(w, "token_logprobs");
    ww_jw_array(w);
    for (size_t i = 0; i < c.n - faulty("short", number); i++) {
        const double gold = token_logprob(text, &c, i, lp);
        if (i == 0 || (i + 1 == c.n && faulty("null", number))) {
            ww_jw_null(w);
        } else {
            ww_jw_double(w, faulty("sentinel", number) ? -9999.0
                            : faulty("lowest", number) ? -3.4028234663852886e38
                                                       : gold);
        }
    }
    ww_jw_close(w);
    ww_jw_key(w, "top_logprobs");
    ww_jw_array(w);
    for (size_t i = 0; i < c.n; i++) {
        token_logprob(text, &c, i, lp);
        if (i == 0) {
            ww_jw_null(w);
        } else {
            const bool end = strncmp(text + c.from[i], END, strlen(END)) == 0;
            write_map(w, lp, top, end ? N_SIGNS : sign_of(text + c.from[i]));
        }
    }
    ww_jw_close(w);
    ww_jw_key(w, "text_offset");
    ww_jw_array(w);
    for (size_t i = 0; i < c.n; i++) {
        ww_jw_u64(w, offset);
        for (size_t b = 0; b < c.len[i] && strncmp(text + c.from[i], END, strlen(END));
             b++) {
            offset += ((uint8_t)text[c.from[i] + b] & 0xC0) != 0x80;
        }
    }
    ww_jw_close(w);
}

static void write_next(struct ww_jw *w, const char *text, size_t len, unsigned top)
{
    double lp[N_SIGNS + 1];
    int best[1];
    char room[2];
    distribution(text, len, lp);
    (void)likeliest(lp, 1, best);
    ww_jw_key(w, "tokens");
    ww_jw_array(w);
    ww_jw_str(w, sign_text(best[0], room));
    ww_jw_close(w);
    ww_jw_key(w, "token_logprobs");
    ww_jw_array(w);
    ww_jw_double(w, lp[best[0]]);
    ww_jw_close(w);
    ww_jw_key(w, "top_logprobs");
    ww_jw_array(w);
    write_map(w, lp, top, -1);
    ww_jw_close(w);
    ww_jw_key(w, "text_offset");
    ww_jw_array(w);
    ww_jw_u64(w, len);
    ww_jw_close(w);
}

/* {id, token, bytes, logprob} */
static void write_entry(struct ww_jw *w, int sign, double logprob, bool bytes)
{
    char room[2];
    const char *token = sign_text(sign, room);
    ww_jw_ku64(w, "id", (uint64_t)sign);
    ww_jw_kstr(w, "token", token);
    ww_jw_kdouble(w, "logprob", logprob);
    if (bytes) {
        ww_jw_key(w, "bytes");
        ww_jw_array(w);
        for (const char *b = token; *b; b++) {
            ww_jw_u64(w, (uint8_t)*b);
        }
        ww_jw_close(w);
    }
}

/* A generated token with its list; forced: the token that must be said, -1: the
 * likeliest. Told to, a token of the list has the text of another one. */
static int write_token(struct ww_jw *w, const char *text, size_t len, unsigned top,
                       int forced, bool twice)
{
    double lp[N_SIGNS + 1];
    int best[N_SIGNS + 1] = {0};
    distribution(text, len, lp);
    const unsigned n = likeliest(lp, top, best);
    const int said = forced >= 0 ? forced : best[0];
    ww_jw_object(w);
    write_entry(w, said, lp[said], true);
    ww_jw_key(w, "top_logprobs");
    ww_jw_array(w);
    for (unsigned i = 0; i < n; i++) {
        ww_jw_object(w);
        write_entry(w, twice && i == 5 ? best[6] : best[i], lp[best[i]], !twice);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_close(w);
    return said;
}

bool begins_split(const char *text)
{
    double lp[N_SIGNS + 1];
    int best[1];
    distribution(text, strlen(text), lp);
    (void)likeliest(lp, 1, best);
    return mock.splits && best[0] == SPLIT;
}

static void write_list(struct ww_jw *w, const char *text, unsigned top, uint64_t tokens,
                       int forced, bool twice)
{
    char so_far[8192];
    size_t len = strlen(text) < sizeof(so_far) / 2 ? strlen(text) : sizeof(so_far) / 2;
    memcpy(so_far, text, len);
    ww_jw_array(w);
    for (uint64_t i = 0; i < tokens && i < 64; i++) {
        char room[2];
        const int said = write_token(w, so_far, len, top, forced, twice);
        if (said == N_SIGNS) {
            break;
        }
        so_far[len++] = *sign_text(said, room);
    }
    ww_jw_close(w);
}

void answer_completions(const struct ww_jnode *q, struct ww_jw *w, unsigned number)
{
    const struct ww_jnode *ids = ww_jget(q, "logprob_token_ids");
    uint64_t id = 0;
    const char *prompt = "";
    uint64_t top = 5;
    bool echo = false;
    static _Thread_local struct cut c;
    (void)ww_jstr(ww_jget(q, "prompt"), &prompt);
    (void)ww_ju64(ww_jget(q, "logprobs"), &top);
    (void)ww_jbool(ww_jget(q, "echo"), &echo);
    ww_jw_kstr(w, "model", mock.model);
    ww_jw_key(w, "choices");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "text", prompt);
    ww_jw_key(w, "logprobs");
    if (faulty("nolp", number)) {
        ww_jw_null(w);
    } else {
        ww_jw_object(w);
        if (ids && ww_ju64(ww_jfirst(ids), &id)) {
            write_number(w, prompt, id);
        } else if (echo && !faulty("echo", number)) {
            write_echo(w, prompt, strlen(prompt), (unsigned)top, number);
        } else {
            write_next(w, prompt, strlen(prompt), (unsigned)top);
        }
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_close(w);
    cut_text(prompt, strlen(prompt), &c);
    write_usage(w, c.n);
}

void answer_llama(const struct ww_jnode *q, struct ww_jw *w, unsigned number)
{
    const char *prompt = "";
    const char *forced = NULL;
    uint64_t top = 5, tokens = 1;
    const struct ww_jnode *lora = ww_jget(q, "lora");
    const struct ww_jnode *bias = ww_jget(q, "logit_bias");
    memset(scale, 0, sizeof(scale));
    (void)ww_jstr(ww_jget(q, "prompt"), &prompt);
    (void)ww_ju64(ww_jget(q, "n_probs"), &top);
    (void)ww_ju64(ww_jget(q, "n_predict"), &tokens);
    for (unsigned a = 0; lora && a < mock.adapters; a++) {
        (void)ww_jdouble(ww_jget(ww_jat(lora, a), "scale"), &scale[a]);
    }
    const struct ww_jnode *told = bias ? ww_jat(ww_jat(bias, 0), 0) : NULL;
    uint64_t id = 0;
    const bool numbered = ww_ju64(told, &id) && id <= N_SIGNS;
    (void)ww_jstr(told, &forced);
    ww_jw_ku64(w, "tokens_evaluated", strlen(prompt));
    ww_jw_ku64(w, "tokens_predicted", 1);
    ww_jw_kbool(w, "truncated", faulty("cut", number));
    if (!told && begins_split(prompt)) {
        return;
    }
    ww_jw_key(w, "completion_probabilities");
    write_list(w, prompt, (unsigned)top, tokens,
               numbered ? (int)id
               : forced ? sign_of(forced)
                        : -1,
               faulty("twice", number));
}

void answer_chat(const struct ww_jnode *q, struct ww_jw *w)
{
    const char *prompt = "";
    const char *begun = "";
    char text[2048];
    uint64_t top = 5, tokens = 1;
    const struct ww_jnode *messages = ww_jget(q, "messages");
    (void)ww_jstr(ww_jget(ww_jat(messages, 0), "content"), &prompt);
    (void)ww_jstr(ww_jget(ww_jat(messages, 1), "content"), &begun);
    (void)ww_ju64(ww_jget(q, "max_tokens"), &tokens);
    (void)snprintf(text, sizeof(text), "%.1000s%.1000s", prompt,
                   mock.continues ? begun : "");
    (void)ww_ju64(ww_jget(q, "top_logprobs"), &top);
    const struct ww_jnode *bias = ww_jget(q, "logit_bias");
    ww_jw_key(w, "choices");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "finish_reason", "length");
    if (bias || !begins_split(text)) {
        ww_jw_key(w, "logprobs");
        ww_jw_object(w);
        ww_jw_key(w, "content");
        write_list(w, text, (unsigned)top, tokens, bias ? N_SIGNS : -1, false);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_close(w);
    write_usage(w, strlen(text));
}
