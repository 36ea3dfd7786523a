/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One easy handle per connection. Everything that a server, a proxy variable or a
 * redirect could decide for us is set here once: protocols, no redirects, no proxy from
 * the environment, checked certificates, caps.
 */
#include "http/client.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "crypto/secret.h"
#include "http/libcurl.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define DEFAULT_MAX_BYTES ((size_t)64 << 20)
#define BEARER "Authorization: Bearer "

struct ww_http {
    CURL *curl;
    char *base;
    struct ww_secret *bearer;
    size_t max_bytes;
    char reason[CURL_ERROR_SIZE];
};

/* What libcurl's callbacks see of one request. */
struct exchange {
    struct ww_http_reply *reply;
    const volatile bool *cancel;
    struct ww_error err;
    enum ww_err failed;
};

static bool loopback(const char *host, size_t len)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < WW_LEN(names); i++) {
        if (strlen(names[i]) == len && strncasecmp(names[i], host, len) == 0) {
            return true;
        }
    }
    return false;
}

static enum ww_err check_base(const struct ww_http_options *o, struct ww_error *err)
{
    const char *base = o->base;
    const bool plain = strncmp(base, "http://", 7) == 0;
    if (!plain && strncmp(base, "https://", 8) != 0) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "'%s' is no address of a server: expected https://HOST[:PORT][/PATH]", base);
    }
    for (const char *c = base; *c; c++) {
        if (!isgraph((unsigned char)*c) || strchr("@?#\"<>\\^`{|}", *c)) {
            return WW_FAIL(
                err, WW_E_USAGE,
                "an address of a server has a user, a query or a character that is "
                "not allowed; keys come from a file");
        }
    }
    const char *host = base + (plain ? 7 : 8);
    const size_t len = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    if (len == 0 || len > strlen(host)) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "'%s' names no host, expected http://HOST[:PORT] or https://HOST[:PORT]",
            base);
    }
    if (plain && !o->allow_plain && !loopback(host, len)) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "'%s' is not encrypted and not on this machine: use https, or allow it "
            "('allow_plain: true')",
            base);
    }
    return WW_OK;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
    struct exchange *x = data;
    x->failed = ww_buf_add(&x->reply->body, bytes, size * n, &x->err);
    return x->failed ? 0 : size * n;
}

static size_t on_header(char *line, size_t size, size_t n, void *data)
{
    struct exchange *x = data;
    static const char name[] = "retry-after:";
    char value[64];
    const size_t len = size * n;
    const size_t skip = sizeof(name) - 1;
    if (len > skip && len - skip < sizeof(value) && strncasecmp(line, name, skip) == 0) {
        memcpy(value, line + skip, len - skip);
        value[len - skip] = '\0';
        x->reply->retry_after_s = ww_http_retry_after(value, (int64_t)time(NULL));
    }
    return len;
}

static int on_progress(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct exchange *x = data;
    (void)a, (void)b, (void)c, (void)d;
    return x->cancel && *x->cancel;
}

static CURLcode set_limits(CURL *curl, const struct ww_http_options *o, char *reason)
{
    const struct {
        CURLoption option;
        long value;
    } numbers[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_NOPROGRESS, 0},
        {CURLOPT_SSL_VERIFYPEER, 1},
        {CURLOPT_SSL_VERIFYHOST, 2},
        {CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2},
        {CURLOPT_CONNECTTIMEOUT_MS, o->connect_ms ? (long)o->connect_ms : 10000},
        {CURLOPT_TIMEOUT_MS, o->total_ms ? (long)o->total_ms : 600000},
        {CURLOPT_LOW_SPEED_LIMIT, 1},
        {CURLOPT_LOW_SPEED_TIME, o->stall_s ? (long)o->stall_s : 120},
        {CURLOPT_TCP_NODELAY, 1},
        {CURLOPT_MAXCONNECTS, 1},
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
    };
    CURLcode rc = CURLE_OK;
    for (size_t i = 0; !rc && i < WW_LEN(numbers); i++) {
        rc = ww_curl.easy_setopt(curl, numbers[i].option, numbers[i].value);
    }
    const struct {
        CURLoption option;
        const char *value;
    } texts[] = {
        {CURLOPT_PROTOCOLS_STR, "http,https"},
        {CURLOPT_PROXY, ""}, /* none, whatever the environment says */
        {CURLOPT_USERAGENT, "weightward/" WW_VERSION},
        {CURLOPT_CAINFO, o->ca_file},
    };
    for (size_t i = 0; !rc && i < WW_LEN(texts); i++) {
        rc = texts[i].value ? ww_curl.easy_setopt(curl, texts[i].option, texts[i].value)
                            : rc;
    }
    rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    return rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
}

enum ww_err ww_http_new(const struct ww_http_options *o, struct ww_http **out,
                        struct ww_error *err)
{
    enum ww_err rc = check_base(o, err);
    if (rc) {
        return rc;
    }
    rc = ww_curl_load(err);
    if (rc) {
        return rc;
    }
    struct ww_http *http = ww_calloc(1, sizeof(*http));
    if (http) {
        http->base = ww_strdup(o->base);
        http->curl = ww_curl.easy_init();
        http->bearer = o->bearer;
        http->max_bytes = o->max_bytes ? o->max_bytes : DEFAULT_MAX_BYTES;
    }
    if (!http || !http->base || !http->curl) {
        rc = WW_FAIL_MEMORY(err, "a connection");
    } else if (set_limits(http->curl, o, http->reason)) {
        rc =
            WW_FAIL(err, WW_E_INTERNAL, "libcurl does not know an option that is needed");
    }
    if (rc) {
        ww_http_free(http);
        return rc;
    }
    for (size_t len = strlen(http->base); len && http->base[len - 1] == '/';) {
        http->base[--len] = '\0';
    }
    *out = http;
    return WW_OK;
}

void ww_http_free(struct ww_http *http)
{
    if (http) {
        ww_curl.easy_cleanup(http->curl);
        ww_free(http->base);
        ww_free(http);
    }
}

void ww_http_reply_release(struct ww_http_reply *reply)
{
    ww_buf_release(&reply->body);
}

static bool add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = ww_curl.slist_append(*list, line);
    if (longer) {
        *list = longer;
    }
    return longer;
}

/* The key's line lives as long as the request and is wiped behind it. */
static enum ww_err add_bearer(struct ww_http *http, struct curl_slist **list,
                              struct ww_error *err)
{
    const size_t len = ww_secret_len(http->bearer);
    char *line = ww_calloc(sizeof(BEARER) + len, 1);
    enum ww_err rc = WW_OK;
    if (!line) {
        return WW_FAIL_MEMORY(err, "a request");
    }
    memcpy(line, BEARER, sizeof(BEARER) - 1);
    memcpy(line + sizeof(BEARER) - 1, ww_secret_open(http->bearer), len);
    ww_secret_close(http->bearer);
    for (size_t i = 0; !rc && i < len; i++) {
        if (!isgraph((unsigned char)line[sizeof(BEARER) - 1 + i])) {
            rc = WW_FAIL(err, WW_E_KEY,
                         "the server's key has a character that no key has");
        }
    }
    if (!rc && !add_line(list, line)) {
        rc = WW_FAIL_MEMORY(err, "a request");
    }
    ww_wipe(line, sizeof(BEARER) + len);
    ww_free(line);
    return rc;
}

static void free_lines(struct curl_slist *list)
{
    for (struct curl_slist *l = list; l; l = l->next) {
        ww_wipe(l->data, strlen(l->data));
    }
    ww_curl.slist_free_all(list);
}

static void say_why(const struct ww_http *http, CURLcode code,
                    struct ww_http_reply *reply)
{
    const char *why = http->reason[0] ? http->reason : ww_curl.easy_strerror(code);
    (void)snprintf(reply->problem, sizeof(reply->problem), "%s", why);
}

static CURLcode perform(struct ww_http *http, const char *url, const char *body,
                        size_t len, struct curl_slist *lines, struct exchange *x)
{
    CURL *curl = http->curl;
    CURLcode rc = ww_curl.easy_setopt(curl, CURLOPT_URL, url);
    rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_HTTPHEADER, lines);
    if (body) {
        rc = rc ? rc
                : ww_curl.easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
        rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    } else {
        rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
    rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_WRITEDATA, x);
    rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_HEADERDATA, x);
    rc = rc ? rc : ww_curl.easy_setopt(curl, CURLOPT_XFERINFODATA, x);
    http->reason[0] = '\0';
    rc = rc ? rc : ww_curl.easy_perform(curl);
    (void)ww_curl.easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    return rc;
}

static bool never_connected(const struct ww_http *http, CURLcode code)
{
    curl_off_t connected = 0; /* microseconds */
    (void)ww_curl.easy_getinfo(http->curl, CURLINFO_CONNECT_TIME_T, &connected);
    return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT ||
           (code == CURLE_OPERATION_TIMEDOUT && connected == 0);
}

/* Turn libcurl's verdict into ours. */
static enum ww_err judge(struct ww_http *http, CURLcode code, const struct exchange *x,
                         struct ww_http_reply *reply, struct ww_error *err)
{
    long status = 0;
    curl_off_t sent = 0;
    if (x->failed) {
        if (x->failed == WW_E_LIMIT) {
            return WW_FAIL(err, WW_E_LIMIT, "a server's answer has more than %zu bytes",
                           http->max_bytes);
        }
        return WW_FAIL(err, x->failed, "%s", x->err.text);
    }
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        return WW_FAIL(err, WW_E_CANCELLED, "interrupted");
    }
    if (code == CURLE_OUT_OF_MEMORY) {
        return WW_FAIL_MEMORY(err, "a request");
    }
    if (!code) {
        (void)ww_curl.easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
        reply->status = (unsigned)status;
        reply->may_retry = ww_http_retryable(reply->status);
        return WW_OK;
    }
    say_why(http, code, reply);
    (void)ww_curl.easy_getinfo(http->curl, CURLINFO_REQUEST_SIZE, &status);
    (void)ww_curl.easy_getinfo(http->curl, CURLINFO_SIZE_UPLOAD_T, &sent);
    reply->maybe_done = status > 0 || sent > 0;
    reply->unreachable = never_connected(http, code);
    /* Frames of HTTP/2, or no HTTP, are an unsupported protocol to libcurl: they pass. */
    reply->may_retry = code != CURLE_PEER_FAILED_VERIFICATION &&
                       code != CURLE_SSL_CACERT_BADFILE && code != CURLE_URL_MALFORMAT;
    return WW_OK;
}

enum ww_err ww_http_send(struct ww_http *http, const char *path, const char *body,
                         size_t len, const volatile bool *cancel,
                         struct ww_http_reply *reply, struct ww_error *err)
{
    struct exchange x = {.reply = reply, .cancel = cancel};
    struct curl_slist *lines = NULL;
    enum ww_err rc = WW_OK;

    memset(reply, 0, sizeof(*reply));
    ww_buf_init(&reply->body, http->max_bytes);
    reply->retry_after_s = -1;
    char *url = ww_asprintf("%s%s", http->base, path);
    if (!url || !add_line(&lines, "Content-Type: application/json") ||
        !add_line(&lines, "Accept: application/json") || !add_line(&lines, "Expect:")) {
        rc = WW_FAIL_MEMORY(err, "a request");
        goto out;
    }
    if (http->bearer) {
        rc = add_bearer(http, &lines, err);
        if (rc) {
            goto out;
        }
    }
    CURLcode code = perform(http, url, body, len, lines, &x);
    rc = judge(http, code, &x, reply, err);

out:
    free_lines(lines);
    ww_free(url);
    return rc;
}
