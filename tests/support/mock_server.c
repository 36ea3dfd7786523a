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

bool faulty(const char *name, unsigned number)
{
    for (size_t i = 0; i < mock.n_faults; i++) {
        if (strcmp(mock.fault[i].name, name) == 0) {
            return number % mock.fault[i].every == mock.fault[i].every - 1;
        }
    }
    return false;
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
