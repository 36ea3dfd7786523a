/* SPDX-License-Identifier: Apache-2.0 */
/* What a server can do to a connection that no JSON says. */
#ifndef MOCK_WIRE_H
#define MOCK_WIRE_H

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void send_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        const ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        at += n;
        len -= (size_t)n;
    }
}

static void reply(int fd, const char *status, const char *more, const void *body,
                  size_t len)
{
    char head[256];
    const int n =
        snprintf(head, sizeof(head),
                 "HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: "
                 "%zu\r\n\r\n",
                 status, more, len);
    send_all(fd, head, (size_t)n);
    send_all(fd, body, len);
}

static void refuse(int fd, const char *status, const char *more)
{
    static const char body[] = "{\"error\": {\"message\": \"as told\"}}";
    reply(fd, status, more, body, sizeof(body) - 1);
}

/* An absurd body. */
static void send_long(int fd)
{
    static char spaces[1 << 20];
    char head[128];
    memset(spaces, ' ', sizeof(spaces));
    const int n =
        snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                 sizeof(spaces) * 70);
    send_all(fd, head, (size_t)n);
    for (int i = 0; i < 70; i++) {
        send_all(fd, spaces, sizeof(spaces));
    }
}

/* A byte now and then, for as long as anybody listens. */
static void send_slowly(int fd)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 4096\r\n\r\n{";
    send_all(fd, head, sizeof(head) - 1);
    while (send(fd, " ", 1, MSG_NOSIGNAL) == 1) {
        (void)usleep(100000);
    }
}

/* Frames of HTTP/2 (RFC 9113): settings, then the reset of stream 1 by an internal error.
 */
static void send_http2(int fd)
{
    static const char frames[] = "\0\0\0\4\0\0\0\0\0"
                                 "\0\0\4\3\0\0\0\0\1\0\0\0\2";
    send_all(fd, frames, sizeof(frames) - 1);
}

/* The connection is torn down without a last word. */
static void reset_connection(int fd)
{
    const struct linger none = {1, 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}

#endif
