/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread for each connection, as an answer waits for its members. The library counts a
 * connection as idle while we think, so its clock is stopped for that time.
 *
 * Bodies come with their length or not at all: what is too long is refused before it is
 * read.
 */
#include "serve/door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/reply.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/library.h"
#include "util/str.h"

#define IDLE_SECONDS 60
#define HEAD_BYTES ((size_t)32 << 10)
#define STACK_BYTES ((size_t)512 << 10)
#define EVENT_BYTES ((size_t)16 << 10)
#define MORE_CONNECTIONS 64 /* than answers: clients that wait, and those who look */

/* Loaded when the first door is opened. */
#define FUNCTIONS(X)                                                                     \
    X(start_daemon)                                                                      \
    X(quiesce_daemon)                                                                    \
    X(stop_daemon)                                                                       \
    X(get_daemon_info)                                                                   \
    X(set_connection_option)                                                             \
    X(lookup_connection_value)                                                           \
    X(create_response_from_buffer)                                                       \
    X(create_response_from_callback)                                                     \
    X(add_response_header)                                                               \
    X(queue_response)                                                                    \
    X(destroy_response)
#define MEMBER(name) __typeof__(MHD_##name) *name;
#define NAME(name) "MHD_" #name,

static struct {
    FUNCTIONS(MEMBER)
} mhd;
static const char *const names[] = {FUNCTIONS(NAME)};
static struct ww_library library =
    WW_LIBRARY_INIT(WW_LIBMICROHTTPD, "serving", names, mhd);
WW_LIBRARY_NOTE(microhttpd_note, WW_LIBMICROHTTPD, "serve", "evo serve", "recommended");

struct ww_door {
    struct ww_served *served;
    struct MHD_Daemon *daemon;
    bool shut;
    char where[64];
};

/* One request. */
struct visit {
    struct ww_served *served;
    struct MHD_Connection *connection;
    struct ww_buf body;
    struct ww_reply reply;
    bool replied;
    const char *allow; /* method that the path has; NULL */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static enum ww_err read_address(const char *listen, union address *out,
                                struct ww_error *err)
{
    const char *colon = strrchr(listen, ':');
    char host[INET6_ADDRSTRLEN] = "";
    uint64_t port = 0;
    memset(out, 0, sizeof(*out));
    if (colon && ww_parse_u64(colon + 1, strlen(colon + 1), &port) && port <= 65535) {
        const bool v6 = *listen == '[' && colon > listen + 1 && colon[-1] == ']';
        const char *from = listen + v6;
        const size_t len = (size_t)(colon - from) - v6;
        (void)snprintf(host, sizeof(host), "%.*s", len < sizeof(host) ? (int)len : 0,
                       from);
        if (v6 && inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
            out->v6.sin6_family = AF_INET6;
            out->v6.sin6_port = htons((uint16_t)port);
            return WW_OK;
        }
        if (!v6 && inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
            out->v4.sin_family = AF_INET;
            out->v4.sin_port = htons((uint16_t)port);
            return WW_OK;
        }
    }
    return WW_FAIL(
        err, WW_E_USAGE,
        "'%.80s' is no address to listen at: expected one like 127.0.0.1:8600 or "
        "[::1]:8600",
        listen);
}

enum ww_err ww_door_address(const char *listen, bool *here, struct ww_error *err)
{
    union address a;
    const enum ww_err rc = read_address(listen, &a, err);
    *here = !rc && (a.any.sa_family == AF_INET ? ntohl(a.v4.sin_addr.s_addr) >> 24 == 127
                                               : IN6_IS_ADDR_LOOPBACK(&a.v6.sin6_addr));
    return rc;
}

static void clock_stands(struct visit *v, bool stands)
{
    (void)mhd.set_connection_option(v->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    stands ? 0U : (unsigned)IDLE_SECONDS);
}

static enum MHD_Result queue(struct visit *v, unsigned status, struct MHD_Response *r,
                             const char *type)
{
    const bool stopping = atomic_load(&v->served->stopping);
    if (!r) {
        return MHD_NO;
    }
    (void)mhd.add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)mhd.add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_UNAUTHORIZED) {
        (void)mhd.add_response_header(r, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    } else if (status == MHD_HTTP_TOO_MANY_REQUESTS ||
               status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        (void)mhd.add_response_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    }
    if (v->allow) {
        (void)mhd.add_response_header(r, MHD_HTTP_HEADER_ALLOW, v->allow);
    }
    if (stopping) {
        (void)mhd.add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    }
    const enum MHD_Result queued = mhd.queue_response(v->connection, status, r);
    mhd.destroy_response(r);
    return queued;
}

/* body is copied. */
static enum MHD_Result send_json(struct visit *v, unsigned status,
                                 const struct ww_buf *body)
{
    return queue(
        v, status,
        mhd.create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY),
        "application/json");
}

static enum MHD_Result send_refusal(struct visit *v, const struct ww_refusal *refusal)
{
    struct ww_error ignored = {0};
    struct ww_buf body;
    ww_buf_init(&body, HEAD_BYTES);
    enum MHD_Result sent = MHD_NO;
    if (!ww_shape_error(refusal->text, refusal->type, refusal->code, &body, &ignored)) {
        sent = send_json(v, refusal->status, &body);
    }
    ww_buf_release(&body);
    return sent;
}

static enum MHD_Result refuse(struct visit *v, unsigned status, const char *code,
                              const char *text)
{
    struct ww_refusal refusal;
    ww_refuse(&refusal, status, status >= 500 ? "server_error" : "invalid_request_error",
              code, text);
    return send_refusal(v, &refusal);
}

static ssize_t read_stream(void *payload, uint64_t pos, char *to, size_t room)
{
    struct visit *v = payload;
    struct ww_reply *r = &v->reply;
    (void)pos;
    if (r->sent == r->out.len && !r->over) {
        clock_stands(v, true);
        ww_reply_more(r);
        clock_stands(v, false);
    }
    const size_t left = r->out.len - r->sent;
    const size_t n = left < room ? left : room;
    if (n == 0) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    memcpy(to, r->out.data + r->sent, n);
    r->sent += n;
    return (ssize_t)n;
}

static enum MHD_Result ask(struct visit *v, bool chat)
{
    struct ww_refusal refusal;
    clock_stands(v, true);
    v->replied = true;
    const bool good =
        ww_reply_begin(&v->reply, v->served, v->body.data, v->body.len, chat, &refusal);
    ww_buf_release(&v->body);
    clock_stands(v, false);
    if (!good) {
        return send_refusal(v, &refusal);
    }
    if (!v->reply.question.stream) {
        return send_json(v, MHD_HTTP_OK, &v->reply.out);
    }
    return queue(v, MHD_HTTP_OK,
                 mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, EVENT_BYTES,
                                                   read_stream, v, NULL),
                 "text/event-stream");
}

static enum MHD_Result on_completion(struct visit *v, const char *path)
{
    (void)path;
    return ask(v, false);
}

static enum MHD_Result on_chat(struct visit *v, const char *path)
{
    (void)path;
    return ask(v, true);
}

static enum MHD_Result on_health(struct visit *v, const char *path)
{
    static const char good[] = "{\"status\":\"ok\"}";
    static const char stopping[] = "{\"status\":\"stopping\"}";
    static const char changed[] = "{\"status\":\"member_changed\"}";
    static const char denied[] = "{\"status\":\"permit_denied\"}";
    struct ww_error ignored = {0};
    struct ww_buf body;
    (void)path;
    ww_buf_init(&body, sizeof(changed));
    enum MHD_Result sent = MHD_NO;
    const char *state = atomic_load(&v->served->stopping)      ? stopping
                        : atomic_load(&v->served->changed)     ? changed
                        : ww_served_allow(v->served, &ignored) ? denied
                                                               : good;
    if (!ww_buf_add_str(&body, state, &ignored)) {
        sent = send_json(v, state == good ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                         &body);
    }
    ww_buf_release(&body);
    return sent;
}

#define MODELS "/v1/models"

static enum MHD_Result on_models(struct visit *v, const char *path)
{
    const char *name = path + strlen(MODELS);
    struct ww_error ignored = {0};
    struct ww_buf body;
    if (*name && strcmp(name + 1, v->served->model) != 0) {
        return refuse(v, MHD_HTTP_NOT_FOUND, "model_not_found", "there is no such model");
    }
    ww_buf_init(&body, HEAD_BYTES);
    enum MHD_Result sent = MHD_NO;
    if (!ww_shape_models(v->served->model, v->served->created, !*name, &body, &ignored)) {
        sent = send_json(v, MHD_HTTP_OK, &body);
    }
    ww_buf_release(&body);
    return sent;
}

static const struct route {
    const char *path;
    bool below; /* and what lies below it */
    bool post;
    bool open; /* without a key, and while stopping */
    enum MHD_Result (*answer)(struct visit *v, const char *path);
} routes[] = {
    {"/health", false, false, true, on_health},
    {MODELS, true, false, false, on_models},
    {"/v1/completions", false, true, false, on_completion},
    {"/v1/chat/completions", false, true, false, on_chat},
};

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < WW_LEN(routes); i++) {
        const size_t len = strlen(routes[i].path);
        if (strncmp(path, routes[i].path, len) == 0 &&
            (!path[len] || (routes[i].below && path[len] == '/'))) {
            return &routes[i];
        }
    }
    return NULL;
}

/* What is refused by its head alone; false when nothing is. */
static bool refuse_head(struct visit *v, const struct route *route, const char *method,
                        enum MHD_Result *sent)
{
    const char *key = mhd.lookup_connection_value(v->connection, MHD_HEADER_KIND,
                                                  MHD_HTTP_HEADER_AUTHORIZATION);
    const char *length = mhd.lookup_connection_value(v->connection, MHD_HEADER_KIND,
                                                     MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *page = mhd.lookup_connection_value(v->connection, MHD_HEADER_KIND,
                                                   MHD_HTTP_HEADER_ORIGIN);
    const bool post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;
    uint64_t bytes = 0;
    /* Any page that a browser on this machine shows may send here, and says so. */
    if (page && v->served->bearers.n == 0) {
        *sent = refuse(v, MHD_HTTP_FORBIDDEN, "page_without_key",
                       "a page in a browser asks: where no keys are needed, none is "
                       "answered");
    } else if ((!route || !route->open) && !ww_bearers_allow(&v->served->bearers, key)) {
        *sent = refuse(v, MHD_HTTP_UNAUTHORIZED, "invalid_api_key",
                       key ? "the key is not known" : "a key is needed: Bearer");
    } else if (!route) {
        *sent = refuse(v, MHD_HTTP_NOT_FOUND, NULL, "there is nothing at this path");
    } else if (post != route->post ||
               (!post && strcmp(method, MHD_HTTP_METHOD_GET) != 0)) {
        v->allow = route->post ? MHD_HTTP_METHOD_POST : MHD_HTTP_METHOD_GET;
        *sent = refuse(v, MHD_HTTP_METHOD_NOT_ALLOWED, NULL,
                       route->post ? "POST is expected" : "GET is expected");
    } else if (!route->open && atomic_load(&v->served->stopping)) {
        *sent = refuse(v, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping",
                       "the server is being stopped");
    } else if (post && (!length || !ww_parse_u64(length, strlen(length), &bytes))) {
        *sent = refuse(v, MHD_HTTP_LENGTH_REQUIRED, NULL,
                       "a body with Content-Length is expected");
    } else if (bytes > WW_QUESTION_BYTES ||
               (!post && length && strcmp(length, "0") != 0)) {
        *sent = refuse(v, MHD_HTTP_CONTENT_TOO_LARGE, NULL,
                       "the body is too large: at most 1 MiB is read");
    } else {
        return false;
    }
    return true;
}

static struct visit *begin(struct ww_served *served, struct MHD_Connection *connection)
{
    struct visit *v = ww_calloc(1, sizeof(*v));
    if (v) {
        v->served = served;
        v->connection = connection;
        ww_buf_init(&v->body, WW_QUESTION_BYTES);
        (void)atomic_fetch_add(&served->running, 1);
        (void)atomic_fetch_add(&served->requests, 1);
    }
    return v;
}

/* Called for the head, then for each part of the body, then once more. */
static enum MHD_Result on_request(void *payload, struct MHD_Connection *connection,
                                  const char *path, const char *method,
                                  const char *version, const char *upload,
                                  size_t *upload_size, void **request)
{
    const struct ww_door *door = payload;
    const struct route *route = find_route(path);
    struct visit *v = *request;
    struct ww_error ignored = {0};
    enum MHD_Result sent = MHD_YES;
    (void)version;
    if (!v) {
        v = begin(door->served, connection);
        *request = v;
        if (!v) {
            return MHD_NO;
        }
        (void)refuse_head(v, route, method, &sent);
        return sent;
    }
    if (*upload_size) {
        const enum ww_err rc = ww_buf_add(&v->body, upload, *upload_size, &ignored);
        *upload_size = 0;
        return rc ? MHD_NO : MHD_YES;
    }
    return route->answer(v, path);
}

static void on_completed(void *payload, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    struct visit *v = *request;
    (void)payload;
    (void)connection;
    (void)how;
    if (v) {
        struct ww_served *served = v->served;
        if (v->replied) {
            ww_reply_release(&v->reply);
        }
        ww_buf_release(&v->body);
        ww_free(v);
        (void)atomic_fetch_sub(&served->running, 1);
    }
    *request = NULL;
}

/* The port that was got, in place of the one that was asked for. */
static void note_where(struct ww_door *d, const char *listen)
{
    const union MHD_DaemonInfo *info =
        mhd.get_daemon_info(d->daemon, MHD_DAEMON_INFO_BIND_PORT);
    const int host = (int)(strrchr(listen, ':') - listen);
    (void)snprintf(d->where, sizeof(d->where), "%.*s:%u", host, listen,
                   info ? (unsigned)info->port : 0U);
}

enum ww_err ww_door_open(struct ww_served *served, const char *listen,
                         struct ww_door **out, struct ww_error *err)
{
    union address at;
    struct ww_door *d = NULL;
    *out = NULL;
    enum ww_err rc = read_address(listen, &at, err);
    if (!rc) {
        rc = ww_library_load(&library, err);
    }
    if (rc) {
        return rc;
    }
    d = ww_calloc(1, sizeof(*d));
    if (!d) {
        return WW_FAIL_MEMORY(err, "a server");
    }
    d->served = served;
    errno = 0;
    d->daemon = mhd.start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_ITC | (at.any.sa_family == AF_INET6 ? MHD_USE_IPv6 : 0),
        0, NULL, NULL, on_request, d,                                    /* */
        MHD_OPTION_SOCK_ADDR, &at.any,                                   /* */
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,                 /* */
        MHD_OPTION_CONNECTION_LIMIT, served->answers + MORE_CONNECTIONS, /* */
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,           /* */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_BYTES,                  /* */
        MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES,                       /* */
        MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_END);
    if (!d->daemon) {
        const int e = errno;
        ww_free(d);
        return WW_FAIL_SYS(err, WW_E_IO, e, "cannot listen at '%s'", listen);
    }
    note_where(d, listen);
    *out = d;
    return WW_OK;
}

const char *ww_door_where(const struct ww_door *door)
{
    return door->where;
}

void ww_door_shut(struct ww_door *door)
{
    const MHD_socket listening = mhd.quiesce_daemon(door->daemon);
    if (listening != MHD_INVALID_SOCKET) {
        (void)close(listening);
    }
}

void ww_door_free(struct ww_door *door)
{
    if (door) {
        mhd.stop_daemon(door->daemon);
        ww_free(door);
    }
}
