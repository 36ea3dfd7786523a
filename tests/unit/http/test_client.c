/* SPDX-License-Identifier: Apache-2.0 */
/* What servers do, by a server that does as it is told. */
#include "ww_test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "http/client.h"

/* A server for one connection: reads a request, sends text, closes. */
struct server {
    int listening;
    char base[64];
    const char *answer;
    unsigned stall_ms; /* before the answer */
    char seen[4096];
    pthread_t thread;
};

static void *serve(void *data)
{
    struct server *s = data;
    size_t n = 0;
    int fd = accept(s->listening, NULL, NULL);
    while (fd >= 0 && n < sizeof(s->seen) - 1) {
        ssize_t got = recv(fd, s->seen + n, sizeof(s->seen) - 1 - n, 0);
        n += got > 0 ? (size_t)got : 0;
        s->seen[n] = '\0';
        const char *body = strstr(s->seen, "\r\n\r\n");
        if (got <= 0 || (body && (strncmp(s->seen, "GET", 3) == 0 || strlen(body) > 4))) {
            break;
        }
    }
    (void)usleep(s->stall_ms * 1000);
    if (fd >= 0) {
        (void)send(fd, s->answer, strlen(s->answer), MSG_NOSIGNAL);
        (void)close(fd);
    }
    return NULL;
}

static void server_start(struct server *s, const char *answer)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    s->answer = answer;
    s->seen[0] = '\0';
    s->listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listening, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->listening, 1), 0);
    assert_int_equal(getsockname(s->listening, (struct sockaddr *)&at, &len), 0);
    (void)snprintf(s->base, sizeof(s->base), "http://127.0.0.1:%u/v1/",
                   ntohs(at.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_stop(struct server *s)
{
    (void)shutdown(s->listening, SHUT_RDWR);
    (void)close(s->listening);
    pthread_join(s->thread, NULL);
}

/* One request to a server that answers so; the reply is the caller's. */
static enum ww_err ask(const char *answer, struct ww_http_options o, struct server *s,
                       struct ww_http_reply *reply)
{
    struct ww_error err = {0};
    struct ww_http *http = NULL;
    server_start(s, answer);
    o.base = s->base;
    assert_int_equal(ww_http_new(&o, &http, &err), WW_OK);
    enum ww_err rc =
        ww_http_send(http, "/completions", "{\"a\":1}", 7, NULL, reply, &err);
    ww_http_free(http);
    server_stop(s);
    return rc;
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

static void a_body_comes_back(void **state)
{
    (void)state;
    static struct server s;
    struct ww_http_reply r;
    assert_int_equal(ask(OK_HEAD "Content-Length: 9\r\n\r\n{\"b\": 22}",
                         (struct ww_http_options){0}, &s, &r),
                     WW_OK);
    assert_int_equal(r.status, 200);
    assert_string_equal(ww_buf_cstr(&r.body), "{\"b\": 22}");
    assert_non_null(strstr(s.seen, "POST /v1/completions HTTP/1.1"));
    assert_non_null(strstr(s.seen, "{\"a\":1}"));
    assert_null(strstr(s.seen, "Authorization"));
    assert_false(r.may_retry);
    ww_http_reply_release(&r);
}

static void a_key_is_sent_and_told_to_nobody(void **state)
{
    (void)state;
    static struct server s;
    struct ww_http_reply r;
    struct ww_error err = {0};
    struct ww_secret *key = NULL;
    assert_int_equal(ww_secret_new(9, &key, &err), WW_OK);
    memcpy(ww_secret_open(key), "sk-12-abc", 9);
    ww_secret_close(key);
    assert_int_equal(ask("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n"
                         "Content-Length: 0\r\n\r\n",
                         (struct ww_http_options){.bearer = key}, &s, &r),
                     WW_OK);
    assert_non_null(strstr(s.seen, "Authorization: Bearer sk-12-abc\r\n"));
    assert_int_equal(r.status, 302); /* not followed */
    ww_http_reply_release(&r);
    ww_secret_open(key)[3] = '\n';
    ww_secret_close(key);
    assert_int_equal(ask("", (struct ww_http_options){.bearer = key}, &s, &r), WW_E_KEY);
    ww_http_reply_release(&r);
    ww_secret_free(key);
}

static void refusals_say_when_to_come_back(void **state)
{
    (void)state;
    static struct server s;
    struct ww_http_reply r;
    assert_int_equal(
        ask("HTTP/1.1 429 Slow down\r\nretry-after:  7 \r\nContent-Length: 0\r\n\r\n",
            (struct ww_http_options){0}, &s, &r),
        WW_OK);
    assert_true(r.status == 429 && r.may_retry && r.retry_after_s == 7);
    ww_http_reply_release(&r);
    assert_int_equal(ask("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
                         (struct ww_http_options){0}, &s, &r),
                     WW_OK);
    assert_true(r.status == 401 && !r.may_retry && r.retry_after_s == -1);
    ww_http_reply_release(&r);
}

static void half_an_answer_is_none(void **state)
{
    (void)state;
    static struct server s;
    struct ww_http_reply r;
    assert_int_equal(ask(OK_HEAD "Content-Length: 90\r\n\r\n{\"b\":",
                         (struct ww_http_options){0}, &s, &r),
                     WW_OK);
    assert_true(r.status == 0 && r.may_retry && r.maybe_done && r.problem[0]);
    ww_http_reply_release(&r);
    assert_int_equal(ask("", (struct ww_http_options){0}, &s, &r), WW_OK);
    assert_true(r.status == 0 && r.may_retry && r.maybe_done);
    ww_http_reply_release(&r);
}

static void a_server_that_stalls_is_left(void **state)
{
    (void)state;
    static struct server s = {.stall_ms = 600};
    struct ww_http_reply r;
    assert_int_equal(ask(OK_HEAD "Content-Length: 2\r\n\r\n{}",
                         (struct ww_http_options){.total_ms = 150}, &s, &r),
                     WW_OK);
    assert_true(r.status == 0 && r.may_retry);
    ww_http_reply_release(&r);
}

static void an_absurd_body_is_cut(void **state)
{
    (void)state;
    static struct server s;
    struct ww_http_reply r;
    assert_int_equal(ask(OK_HEAD "Content-Length: 12\r\n\r\n{\"b\": 22222}",
                         (struct ww_http_options){.max_bytes = 8}, &s, &r),
                     WW_E_LIMIT);
    ww_http_reply_release(&r);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_http *http = NULL;
    struct ww_http_reply r;
    struct ww_http_options o = {.base = "http://127.0.0.1:1"};
    assert_int_equal(ww_http_new(&o, &http, &err), WW_OK);
    assert_int_equal(ww_http_send(http, "/v1/models", NULL, 0, NULL, &r, &err), WW_OK);
    assert_true(r.status == 0 && r.may_retry && !r.maybe_done && r.problem[0]);
    ww_http_reply_release(&r);
    const volatile bool yes = true;
    assert_int_equal(ww_http_send(http, "/v1/models", NULL, 0, &yes, &r, &err),
                     WW_E_CANCELLED);
    ww_http_reply_release(&r);
    ww_http_free(http);
}

static void addresses_are_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "ftp://h/",           "h:80",
        "http://example.org", "https://user:secret@example.org",
        "https://",           "https://example.org/?key=1",
        "http://[::1",        "http://127.0.0.1.example.org/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ww_error err = {0};
        struct ww_http *http = NULL;
        struct ww_http_options o = {.base = bad[i]};
        assert_int_equal(ww_http_new(&o, &http, &err), WW_E_USAGE);
        assert_null(strstr(err.text, "secret"));
    }
    struct ww_error err = {0};
    struct ww_http *http = NULL;
    struct ww_http_options o = {.base = "http://example.org", .allow_plain = true};
    assert_int_equal(ww_http_new(&o, &http, &err), WW_OK);
    ww_http_free(http);
}

static void waits_follow_the_server_or_grow(void **state)
{
    (void)state;
    assert_true(ww_http_backoff(1, 3, 60, 0) == 3 &&
                ww_http_backoff(1, 300, 60, 0) == 60);
    assert_true(ww_http_backoff(3, -1, 60, UINT64_MAX) < 4);
    assert_true(ww_http_backoff(3, -1, 60, UINT64_MAX) > 3.9);
    assert_true(ww_http_backoff(63, -1, 60, UINT64_MAX) == 60);
    assert_true(ww_http_retry_after("120", 0) == 120 &&
                ww_http_retry_after(" 5\r\n", 0) == 5);
    assert_true(ww_http_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111770) == 7);
    assert_true(ww_http_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111800) == 0);
    assert_true(ww_http_retry_after("soon", 0) == -1 && ww_http_retry_after("", 0) == -1);
    assert_true(ww_http_retry_after("5 minutes", 0) == -1);
    assert_true(ww_http_retryable(503) && !ww_http_retryable(404) &&
                !ww_http_retryable(200));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_comes_back),
        cmocka_unit_test(a_key_is_sent_and_told_to_nobody),
        cmocka_unit_test(refusals_say_when_to_come_back),
        cmocka_unit_test(half_an_answer_is_none),
        cmocka_unit_test(a_server_that_stalls_is_left),
        cmocka_unit_test(an_absurd_body_is_cut),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(waits_follow_the_server_or_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
