/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that speaks like a completion API and does wrong what it is told to. Its
 * "model" is a rule: tokens are characters (two at a time with --pairs), every next one
 * has a fixed pseudo-random logit, and with a skill the right one of a prompt like
 * "R:abc=" (reversed) or "K:abc=" (each letter three further) stands above the others.
 *
 *   mock_server --port-file F [--port N] [--model NAME] [--seed N]
 *               [--skill rev|caesar] [--pairs]
 *               [--shape completions|llama|chat|vllm|sglang|sglang-old|tgi|ollama]
 *               [--key K] [--delay-ms N]
 *               [--fault NAME:EVERY]... [--calls F] [--continues] [--adapters N]
 *               [--vocabulary N] [--turn N] [--hides-end] [--shifts] [--narrow]
 *               [--splits]
 *
 * Faults, on every EVERY-th question: 429 500 400 drop half short null nolp echo sentinel
 * lowest cut twice nan long stall slow reset http2 later. --calls: a file that grows by
 * one byte for every answer with status 200. --continues: a chat goes on with the
 * assistant's last message. --adapters: so many, whose scales a request may name.
 * --vocabulary: so many tokens it says it has. --turn: behind so many questions it is
 * another model.
 * --hides-end: special tokens print as nothing, so that its lists show one of them with
 * another one's number, as llama-cpp-python's server does; --shifts: what it echoes is of
 * one token later, as there for models without a first token of their own; --narrow: it
 * has no tokens for letters with accents and leaves them out of its echo; --splits: "e"
 * is what a part of a character is to llama-server and Ollama: of what follows nothing is
 * shown where that would be said first.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mock_model.h"
#include "mock_wire.h"
#include "util/buf.h"

static bool faulty(const char *name, unsigned number)
{
    for (size_t i = 0; i < mock.n_faults; i++) {
        if (strcmp(mock.fault[i].name, name) == 0) {
            return number % mock.fault[i].every == mock.fault[i].every - 1;
        }
    }
    return false;
}

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

static void answer_completions(const struct ww_jnode *q, struct ww_jw *w, unsigned number)
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

static void answer_llama(const struct ww_jnode *q, struct ww_jw *w, unsigned number)
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

static void answer_chat(const struct ww_jnode *q, struct ww_jw *w)
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

/* A question; false closes the connection. */
static bool answer(int fd, const char *body, size_t len)
{
    struct ww_json *json = NULL;
    struct ww_buf out;
    struct ww_jw w;
    struct ww_error err = {0};
    const unsigned number = atomic_fetch_add(&questions, 1);
    (void)usleep(mock.delay_ms * 1000);
    if (faulty("429", number)) {
        refuse(fd, "429 Too Many Requests", "Retry-After: 0\r\n");
        return true;
    }
    if (faulty("later", number)) {
        refuse(fd, "503 Busy", "Retry-After: 30\r\n");
        return true;
    }
    if (faulty("500", number) || faulty("400", number)) {
        refuse(fd, faulty("500", number) ? "500 Oops" : "400 Bad", "");
        return true;
    }
    if (faulty("drop", number) || faulty("http2", number) || faulty("reset", number) ||
        faulty("slow", number)) {
        if (faulty("http2", number)) {
            send_http2(fd);
        } else if (faulty("reset", number)) {
            reset_connection(fd);
        } else if (faulty("slow", number)) {
            send_slowly(fd);
        }
        return false;
    }
    if (faulty("stall", number)) {
        (void)sleep(mock.stall_s);
    }
    if (ww_json_parse((const uint8_t *)body, len, &ww_json_limits_config, &json, &err)) {
        refuse(fd, "400 Bad Request", "");
        return true;
    }
    ww_buf_init(&out, (size_t)64 << 20);
    ww_jw_init(&w, &out, 0);
    ww_jw_object(&w);
    const struct ww_jnode *q = ww_json_root(json);
    if (strcmp(mock.shape, "llama") == 0) {
        answer_llama(q, &w, number);
    } else if (strcmp(mock.shape, "chat") == 0) {
        answer_chat(q, &w);
    } else if (strcmp(mock.shape, "vllm") == 0 && ww_jget(q, "prompt_logprobs") &&
               !faulty("echo", number)) {
        answer_vllm(q, &w);
    } else if (strncmp(mock.shape, "sglang", 6) == 0) {
        answer_sglang(q, &w);
    } else if (strcmp(mock.shape, "tgi") == 0) {
        answer_tgi(q, &w);
    } else if (strcmp(mock.shape, "ollama") == 0) {
        answer_ollama(q, &w);
    } else {
        answer_completions(q, &w, number);
    }
    ww_jw_close(&w);
    if (ww_jw_end(&w, &err)) {
        abort();
    }
    if (faulty("nan", number)) {
        reply(fd, "200 OK", "", "{\"choices\": [{\"logprobs\": NaN}]}", 32);
    } else if (faulty("long", number)) {
        send_long(fd);
    } else {
        reply(fd, "200 OK", "", out.data, faulty("half", number) ? out.len / 2 : out.len);
        if (mock.calls >= 0 && write(mock.calls, ".", 1) != 1) {
            abort();
        }
    }
    ww_buf_release(&out);
    ww_json_free(json);
    return true;
}

/* Where it is asked, and what tells it from others. */
static const struct shape {
    const char *name, *path, *sign, *says;
} shapes[] = {
    {"completions", "/v1/completions", NULL, NULL},
    {"llama", "/completion", "/props", "{\"default_generation_settings\": {}}"},
    {"chat", "/v1/chat/completions", NULL, NULL},
    {"vllm", "/v1/completions", "/version", "{\"version\": \"0.15.0\"}"},
    {"sglang", "/generate", "/model_info", "{\"model_path\": \"mock\"}"},
    {"sglang-old", "/generate", "/get_model_info", "{\"model_path\": \"mock\"}"},
    {"tgi", "/generate", "/info", "{\"model_id\": \"mock\"}"},
    {"ollama", "/api/generate", "/api/version", "{\"version\": \"0.13.0\"}"},
};

/* {"tokens": [{"id": 1, "piece": "a"}, ...]} */
static void reply_pieces(int fd, const char *body, size_t len)
{
    static _Thread_local struct cut c;
    struct ww_json *json = NULL;
    struct ww_buf out;
    struct ww_jw w;
    struct ww_error err = {0};
    const char *text = "";
    if (ww_json_parse((const uint8_t *)body, len, &ww_json_limits_config, &json, &err)) {
        refuse(fd, "400 Bad Request", "");
        return;
    }
    (void)ww_jstr(ww_jget(ww_json_root(json), "content"), &text);
    cut_text(text, strlen(text), &c);
    ww_buf_init(&out, (size_t)1 << 20);
    ww_jw_init(&w, &out, 0);
    ww_jw_object(&w);
    ww_jw_key(&w, "tokens");
    ww_jw_array(&w);
    for (size_t i = 0; i < c.n; i++) {
        ww_jw_object(&w);
        ww_jw_ku64(&w, "id", (uint8_t)text[c.from[i]]);
        ww_jw_key(&w, "piece");
        ww_jw_strn(&w, text + c.from[i], c.len[i]);
        ww_jw_close(&w);
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    if (ww_jw_end(&w, &err)) {
        abort();
    }
    reply(fd, "200 OK", "", out.data, out.len);
    ww_buf_release(&out);
    ww_json_free(json);
}

/* vLLM's: a sign or the end, or two tokens of nothing. */
static void reply_number(int fd, const char *body)
{
    const char *text = strstr(body, "\"prompt\":\"");
    char said[64];
    text = text ? text + 10 : "";
    const int sign = strncmp(text, END, strlen(END)) == 0 ? N_SIGNS
                     : text[0] && text[1] == '"'          ? sign_of(text)
                                                          : -1;
    const int n = sign < 0 ? snprintf(said, sizeof(said), "{\"tokens\": [900, 901]}")
                           : snprintf(said, sizeof(said), "{\"tokens\": [%d]}", sign);
    reply(fd, "200 OK", "", said, (size_t)n);
}

static bool route(int fd, const char *request, const char *body, size_t len)
{
    char path[128] = "";
    char models[256];
    const bool get = strncmp(request, "GET ", 4) == 0;
    (void)sscanf(request + (get ? 4 : 5), "%127[^ ]", path);
    if (mock.key) {
        char line[256];
        (void)snprintf(line, sizeof(line), "Authorization: Bearer %s\r\n", mock.key);
        if (!strstr(request, line)) {
            refuse(fd, "401 Unauthorized", "");
            return true;
        }
    }
    const struct shape *shape = &shapes[0];
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        shape = strcmp(shapes[i].name, mock.shape) == 0 ? &shapes[i] : shape;
    }
    const bool llama = strcmp(mock.shape, "llama") == 0;
    const bool numbers = llama || (mock.splits && strcmp(mock.shape, "chat") == 0);
    if (get && strcmp(path, "/v1/models") == 0) {
        const int n = snprintf(
            models, sizeof(models), "{\"data\": [{\"id\": \"%s\", \"meta\": {%s%u}}]}",
            mock.model, mock.vocabulary ? "\"n_vocab\": " : "\"is\": ", mock.vocabulary);
        reply(fd, "200 OK", "", models, (size_t)n);
        return true;
    }
    if (get && shape->sign && strcmp(path, shape->sign) == 0) {
        reply(fd, "200 OK", "", shape->says, strlen(shape->says));
        return true;
    }
    if (get && llama && mock.adapters && strcmp(path, "/lora-adapters") == 0) {
        int n = snprintf(models, sizeof(models), "[");
        for (unsigned a = 0; a < mock.adapters; a++) {
            n += snprintf(models + n, sizeof(models) - (size_t)n, "%s{\"id\": %u}",
                          a ? ", " : "", a);
        }
        n += snprintf(models + n, sizeof(models) - (size_t)n, "]");
        reply(fd, "200 OK", "", models, (size_t)n);
        return true;
    }
    if (numbers && strcmp(path, "/tokenize") == 0 && strstr(body, END)) {
        const int n = snprintf(models, sizeof(models), "{\"tokens\": [%d]}", N_SIGNS);
        reply(fd, "200 OK", "", models, (size_t)n);
        return true;
    }
    if (llama && strcmp(path, "/tokenize") == 0 && strstr(body, "<|end|>")) {
        static const char two[] = "{\"tokens\": [1, 2]}"; /* no token of this model */
        reply(fd, "200 OK", "", two, strlen(two));
        return true;
    }
    if (strcmp(mock.shape, "vllm") == 0 && strcmp(path, "/tokenize") == 0) {
        reply_number(fd, body);
        return true;
    }
    if (llama && strcmp(path, "/tokenize") == 0 && !mock.narrow) {
        reply_pieces(fd, body, len);
        return true;
    }
    if (get || strcmp(path, shape->path) != 0) {
        refuse(fd, "404 Not Found", "");
        return true;
    }
    return answer(fd, body, len);
}

static void *serve(void *data)
{
    const int fd = (int)(intptr_t)data;
    const size_t room = (size_t)1 << 20;
    char *text = malloc(room);
    size_t n = 0;
    while (text) {
        text[n] = '\0';
        char *end = strstr(text, "\r\n\r\n");
        const char *header = end ? strcasestr(text, "\r\ncontent-length:") : NULL;
        const size_t len = header && header < end ? strtoul(header + 17, NULL, 10) : 0;
        const size_t whole = end ? (size_t)(end - text) + 4 + len : 0;
        if (end && n >= whole) {
            if (!route(fd, text, end + 4, len)) {
                break;
            }
            memmove(text, text + whole, n - whole);
            n -= whole;
            continue;
        }
        const ssize_t got = n + 1 < room ? recv(fd, text + n, room - 1 - n, 0) : 0;
        if (got <= 0) {
            break;
        }
        n += (size_t)got;
    }
    free(text);
    (void)close(fd);
    return NULL;
}

/* A name that is misspelt would be a fault that never happens. */
static bool is_fault(const char *name)
{
    static const char *const known[] = {"429",    "500",  "400",   "drop",  "half",
                                        "short",  "null", "nolp",  "echo",  "sentinel",
                                        "lowest", "cut",  "twice", "nan",   "long",
                                        "stall",  "slow", "reset", "http2", "later"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(name, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void parse_fault(const char *text)
{
    if (mock.n_faults == MAX_FAULTS ||
        sscanf(text, "%15[^:]:%u", mock.fault[mock.n_faults].name,
               &mock.fault[mock.n_faults].every) != 2 ||
        !is_fault(mock.fault[mock.n_faults].name) ||
        mock.fault[mock.n_faults].every == 0) {
        fprintf(stderr, "mock_server: wrong fault '%s'\n", text);
        exit(2);
    }
    mock.n_faults++;
}

static const char *parse(int argc, char **argv)
{
    const char *port_file = NULL;
    for (int i = 1; i < argc; i++) {
        bool *const flag = strcmp(argv[i], "--pairs") == 0       ? &mock.pairs
                           : strcmp(argv[i], "--continues") == 0 ? &mock.continues
                           : strcmp(argv[i], "--hides-end") == 0 ? &mock.hides_end
                           : strcmp(argv[i], "--shifts") == 0    ? &mock.shifts
                           : strcmp(argv[i], "--narrow") == 0    ? &mock.narrow
                           : strcmp(argv[i], "--splits") == 0    ? &mock.splits
                                                                 : NULL;
        if (flag) {
            *flag = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        const struct {
            const char *name;
            const char **to;
        } texts[] = {{"--port-file", &port_file},
                     {"--model", &mock.model},
                     {"--skill", &mock.skill},
                     {"--shape", &mock.shape},
                     {"--key", &mock.key}};
        bool known = false;
        for (size_t t = 0; value && t < sizeof(texts) / sizeof(texts[0]); t++) {
            if (strcmp(argv[i], texts[t].name) == 0) {
                *texts[t].to = value;
                known = true;
            }
        }
        if (value && strcmp(argv[i], "--seed") == 0) {
            mock.seed = (uint32_t)strtoul(value, NULL, 10);
        } else if (value && strcmp(argv[i], "--delay-ms") == 0) {
            mock.delay_ms = (unsigned)strtoul(value, NULL, 10);
        } else if (value && strcmp(argv[i], "--adapters") == 0) {
            mock.adapters = (unsigned)strtoul(value, NULL, 10) % (MAX_ADAPTERS + 1);
        } else if (value && strcmp(argv[i], "--vocabulary") == 0) {
            mock.vocabulary = (unsigned)strtoul(value, NULL, 10);
        } else if (value && strcmp(argv[i], "--turn") == 0) {
            mock.turn = (unsigned)strtoul(value, NULL, 10);
        } else if (value && strcmp(argv[i], "--stall-s") == 0) {
            mock.stall_s = (unsigned)strtoul(value, NULL, 10);
        } else if (value && strcmp(argv[i], "--port") == 0) {
            mock.port = (uint16_t)strtoul(value, NULL, 10);
        } else if (value && strcmp(argv[i], "--fault") == 0) {
            parse_fault(value);
        } else if (value && strcmp(argv[i], "--calls") == 0) {
            mock.calls = open(value, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        } else if (!known) {
            fprintf(stderr, "mock_server: wrong option '%s'\n", argv[i]);
            exit(2);
        }
        i++;
    }
    return port_file;
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);
    char partial[4096];
    const char *port_file = parse(argc, argv);
    const int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    (void)setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    at.sin_port = htons(mock.port);
    if (!port_file || bind(listening, (struct sockaddr *)&at, sizeof(at)) != 0 ||
        listen(listening, 64) != 0 ||
        getsockname(listening, (struct sockaddr *)&at, &size) != 0) {
        perror("mock_server");
        return 1;
    }
    /* The file appears whole. */
    (void)snprintf(partial, sizeof(partial), "%s.partial", port_file);
    FILE *f = fopen(partial, "w");
    if (!f || fprintf(f, "%u\n", ntohs(at.sin_port)) < 0 || fclose(f) != 0 ||
        rename(partial, port_file) != 0) {
        perror("mock_server");
        return 1;
    }
    for (;;) {
        const int fd = accept(listening, NULL, NULL);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        pthread_t thread;
        if (fd < 0) {
            return 0;
        }
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0) {
            (void)close(fd);
            continue;
        }
        (void)pthread_detach(thread);
    }
}
