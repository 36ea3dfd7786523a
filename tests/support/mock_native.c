/* SPDX-License-Identifier: Apache-2.0 */
/* Servers with shapes of their own, as their documentation shows them. */
#include "mock_model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Tokens that no sign stands for have numbers behind the signs. */
static int64_t number_of(const char *text, const struct cut *c, size_t i)
{
    const char *token = text + c->from[i];
    const int s = sign_of(token);
    return c->len[i] == strlen(END) && strncmp(token, END, c->len[i]) == 0 ? N_SIGNS
           : s < 0 ? 100 + (uint8_t)*token
                   : s;
}

static void put_text(struct ww_jw *w, int64_t number, const char *text,
                     const struct cut *c, size_t i)
{
    char room[2];
    if (number <= N_SIGNS) {
        ww_jw_str(w, sign_text((int)number, room));
    } else {
        ww_jw_strn(w, text + c->from[i], c->len[i]);
    }
}

static void put_number_key(struct ww_jw *w, int64_t number)
{
    char key[24];
    (void)snprintf(key, sizeof(key), "%d", (int)number);
    ww_jw_key(w, key);
}

/* {"12": {"logprob", "rank", "decoded_token"}, ...}, the right one among them. */
static void vllm_position(struct ww_jw *w, const char *text, const struct cut *c,
                          size_t i, unsigned top)
{
    double lp[N_SIGNS + 1];
    int best[N_SIGNS + 1];
    char room[2];
    const double gold = token_logprob(text, c, i, lp);
    const int64_t right = number_of(text, c, i);
    const unsigned n = likeliest(lp, top, best);
    bool shown = false;
    ww_jw_object(w);
    for (unsigned t = 0; t < n; t++) {
        put_number_key(w, best[t]);
        ww_jw_object(w);
        ww_jw_kdouble(w, "logprob", lp[best[t]]);
        ww_jw_ku64(w, "rank", t + 1);
        ww_jw_kstr(w, "decoded_token", sign_text(best[t], room));
        ww_jw_close(w);
        shown = shown || best[t] == right;
    }
    if (!shown) {
        put_number_key(w, right);
        ww_jw_object(w);
        ww_jw_kdouble(w, "logprob", gold);
        ww_jw_ku64(w, "rank", 99);
        ww_jw_key(w, "decoded_token");
        put_text(w, right, text, c, i);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

void answer_vllm(const struct ww_jnode *q, struct ww_jw *w)
{
    static _Thread_local struct cut c;
    const char *prompt = "";
    uint64_t top = 0;
    (void)ww_jstr(ww_jget(q, "prompt"), &prompt);
    (void)ww_ju64(ww_jget(q, "prompt_logprobs"), &top);
    cut_text(prompt, strlen(prompt), &c);
    ww_jw_key(w, "choices");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_ku64(w, "index", 0);
    ww_jw_kstr(w, "text", "x");
    ww_jw_kstr(w, "logprobs", NULL);
    ww_jw_key(w, "prompt_logprobs");
    ww_jw_array(w);
    ww_jw_null(w); /* what the text begins with */
    for (size_t i = 0; i < c.n; i++) {
        vllm_position(w, prompt, &c, i, (unsigned)top);
    }
    ww_jw_close(w);
    ww_jw_key(w, "prompt_token_ids");
    ww_jw_array(w);
    ww_jw_u64(w, 99);
    for (size_t i = 0; i < c.n; i++) {
        ww_jw_i64(w, number_of(prompt, &c, i));
    }
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
    write_usage(w, c.n + 1);
}

/* [log-probability, number, text] */
static void put_triple(struct ww_jw *w, double logprob, int64_t number, const char *text,
                       const struct cut *c, size_t i)
{
    ww_jw_array(w);
    ww_jw_double(w, logprob);
    ww_jw_i64(w, number);
    put_text(w, number, text, c, i);
    ww_jw_close(w);
}

static void put_triples(struct ww_jw *w, const double *lp, unsigned top)
{
    int best[N_SIGNS + 1];
    const unsigned n = likeliest(lp, top, best);
    ww_jw_array(w);
    for (unsigned t = 0; t < n; t++) {
        put_triple(w, lp[best[t]], best[t], NULL, NULL, 0);
    }
    ww_jw_close(w);
}

void answer_sglang(const struct ww_jnode *q, struct ww_jw *w)
{
    static _Thread_local struct cut c;
    const char *prompt = "";
    uint64_t top = 0;
    int64_t from = -1;
    double lp[N_SIGNS + 1];
    (void)ww_jstr(ww_jget(q, "text"), &prompt);
    (void)ww_ju64(ww_jget(q, "top_logprobs_num"), &top);
    (void)ww_ji64(ww_jget(q, "logprob_start_len"), &from);
    cut_text(prompt, strlen(prompt), &c);
    ww_jw_kstr(w, "text", "x");
    ww_jw_key(w, "meta_info");
    ww_jw_object(w);
    ww_jw_ku64(w, "prompt_tokens", c.n);
    ww_jw_ku64(w, "completion_tokens", 1);
    ww_jw_key(w, "input_token_logprobs");
    ww_jw_array(w);
    for (size_t i = 0; i < c.n && from >= 0; i++) {
        const double gold = token_logprob(prompt, &c, i, lp);
        put_triple(w, i ? gold : (double)NAN, number_of(prompt, &c, i), prompt, &c, i);
    }
    ww_jw_close(w);
    ww_jw_key(w, "input_top_logprobs");
    ww_jw_array(w);
    for (size_t i = 0; i < c.n && from >= 0; i++) {
        (void)token_logprob(prompt, &c, i, lp);
        if (i == 0) {
            ww_jw_null(w);
        } else {
            put_triples(w, lp, (unsigned)top);
        }
    }
    ww_jw_close(w);
    distribution(prompt, strlen(prompt), lp);
    ww_jw_key(w, "output_top_logprobs");
    ww_jw_array(w);
    put_triples(w, lp, (unsigned)top);
    ww_jw_close(w);
    ww_jw_close(w);
}

static void put_tgi(struct ww_jw *w, double logprob, int64_t number, const char *text,
                    const struct cut *c, size_t i)
{
    ww_jw_object(w);
    ww_jw_key(w, "id");
    ww_jw_i64(w, number);
    ww_jw_key(w, "text");
    put_text(w, number, text, c, i);
    ww_jw_kdouble(w, "logprob", logprob);
    ww_jw_kbool(w, "special", number == N_SIGNS);
    ww_jw_close(w);
}

void answer_tgi(const struct ww_jnode *q, struct ww_jw *w)
{
    static _Thread_local struct cut c;
    const struct ww_jnode *how = ww_jget(q, "parameters");
    const char *prompt = "";
    uint64_t top = 0;
    bool prefill = false;
    double lp[N_SIGNS + 1];
    int best[N_SIGNS + 1];
    (void)ww_jstr(ww_jget(q, "inputs"), &prompt);
    (void)ww_ju64(ww_jget(how, "top_n_tokens"), &top);
    (void)ww_jbool(ww_jget(how, "decoder_input_details"), &prefill);
    cut_text(prompt, strlen(prompt), &c);
    ww_jw_kstr(w, "generated_text", "x");
    ww_jw_key(w, "details");
    ww_jw_object(w);
    ww_jw_key(w, "prefill");
    ww_jw_array(w);
    for (size_t i = 0; i < c.n && prefill; i++) {
        const double gold = token_logprob(prompt, &c, i, lp);
        put_tgi(w, i ? gold : (double)NAN, number_of(prompt, &c, i), prompt, &c, i);
    }
    ww_jw_close(w);
    distribution(prompt, strlen(prompt), lp);
    const unsigned n = likeliest(lp, (unsigned)top, best);
    ww_jw_key(w, "top_tokens");
    ww_jw_array(w);
    ww_jw_array(w);
    for (unsigned t = 0; t < n; t++) {
        put_tgi(w, lp[best[t]], best[t], NULL, NULL, 0);
    }
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
}

static void put_entry(struct ww_jw *w, int sign, double logprob)
{
    char room[2];
    const char *token = sign_text(sign, room);
    ww_jw_kstr(w, "token", token);
    ww_jw_kdouble(w, "logprob", logprob);
    ww_jw_key(w, "bytes");
    ww_jw_array(w);
    for (const char *b = token; *b; b++) {
        ww_jw_u64(w, (uint8_t)*b);
    }
    ww_jw_close(w);
}

void answer_ollama(const struct ww_jnode *q, struct ww_jw *w)
{
    const char *prompt = "";
    uint64_t top = 0;
    double lp[N_SIGNS + 1];
    int best[N_SIGNS + 1];
    (void)ww_jstr(ww_jget(q, "prompt"), &prompt);
    (void)ww_ju64(ww_jget(q, "top_logprobs"), &top);
    distribution(prompt, strlen(prompt), lp);
    const unsigned n = likeliest(lp, (unsigned)top, best);
    ww_jw_kstr(w, "model", mock.model);
    const bool split = begins_split(prompt);
    ww_jw_kstr(w, "response", split ? "" : "x");
    ww_jw_kbool(w, "done", true);
    ww_jw_ku64(w, "prompt_eval_count", strlen(prompt));
    ww_jw_ku64(w, "eval_count", 1);
    ww_jw_kstr(w, "done_reason", best[0] == N_SIGNS ? "stop" : "length");
    if (split || best[0] == N_SIGNS) { /* it says nothing of its end */
        return;
    }
    ww_jw_key(w, "logprobs");
    ww_jw_array(w);
    ww_jw_object(w);
    put_entry(w, best[0], lp[best[0]]);
    ww_jw_key(w, "top_logprobs");
    ww_jw_array(w);
    for (unsigned t = 0; t < n; t++) {
        ww_jw_object(w);
        put_entry(w, best[t], lp[best[t]]);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
}

/* One token by its number, as vLLM tells it; tokens are called by numbers then. */
void write_number(struct ww_jw *w, const char *text, uint64_t id)
{
    double lp[N_SIGNS + 1];
    char name[32];
    distribution(text, strlen(text), lp);
    (void)snprintf(name, sizeof(name), "token_id:%u", (unsigned)(id % (N_SIGNS + 1)));
    ww_jw_key(w, "top_logprobs");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kdouble(w, name, lp[id % (N_SIGNS + 1)]);
    ww_jw_close(w);
    ww_jw_close(w);
}
