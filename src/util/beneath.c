/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux 5.6 resolves a path below a folder in one call (openat2, RESOLVE_BENEATH). Older
 * kernels lack it and some sandboxes forbid it, so there is a walk in user space: it
 * opens one component at a time without following links, reads links itself, and keeps
 * the chain of open folders so that ".." is a step back along descriptors and not along
 * names that somebody may have replaced meanwhile.
 */
#include "util/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/alloc.h"

#define MAX_FOLDERS 64
#define MAX_LINKS 40 /* as the kernel's own limit */
#define LINK_BYTES 4096
#define RACE_RETRIES 16
#define GO_ON INT_MIN /* no errno, negated, is this low */

struct walk {
    int dirs[MAX_FOLDERS]; /* dirs[0] is the caller's, the rest are ours */
    unsigned depth;
    unsigned links;
    char *left; /* what is still to be resolved, owned */
    char *next; /* a place in it */
    bool follow;
};

static void pop_folder(struct walk *w)
{
    close(w->dirs[w->depth]);
    w->depth--;
}

static int push_folder(struct walk *w, const char *name)
{
    if (w->depth + 1 == MAX_FOLDERS) {
        return -ENAMETOOLONG;
    }
    int fd =
        openat(w->dirs[w->depth], name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    w->dirs[++w->depth] = fd;
    return 0;
}

/* 1: name was a link and its target now stands in front of what is left; 0: no link. */
static int expand_link(struct walk *w, const char *name)
{
    char target[LINK_BYTES];
    ssize_t n = readlinkat(w->dirs[w->depth], name, target, sizeof(target));
    if (n < 0) {
        return errno == EINVAL ? 0 : -errno;
    }
    if (!w->follow || ++w->links > MAX_LINKS) {
        return -ELOOP;
    }
    if ((size_t)n == sizeof(target)) {
        return -ENAMETOOLONG;
    }
    if (n == 0 || target[0] == '/') {
        return -EXDEV;
    }
    char *left = ww_asprintf("%.*s/%s", (int)n, target, w->next);
    if (!left) {
        return -ENOMEM;
    }
    ww_free(w->left);
    w->left = left;
    w->next = left;
    return 1;
}

/* Cut the next component off; "" at the end. */
static char *next_name(struct walk *w)
{
    w->next += strspn(w->next, "/");
    char *name = w->next;
    w->next += strcspn(w->next, "/");
    if (*w->next) {
        *w->next++ = '\0';
        w->next += strspn(w->next, "/");
    }
    return name;
}

/* The descriptor when the path is used up, -errno on failure, GO_ON when not yet. */
static int step(struct walk *w, int flags)
{
    char *name = next_name(w);
    if (name[0] == '\0' || strcmp(name, ".") == 0) {
        if (*w->next) {
            return GO_ON;
        }
        int fd = openat(w->dirs[w->depth], ".", flags | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    if (strcmp(name, "..") == 0) {
        if (w->depth == 0) {
            return -EXDEV;
        }
        pop_folder(w);
        return GO_ON;
    }
    int linked = expand_link(w, name);
    if (linked) {
        return linked < 0 ? linked : GO_ON;
    }
    if (*w->next) {
        int failed = push_folder(w, name);
        return failed ? failed : GO_ON;
    }
    int fd = openat(w->dirs[w->depth], name, flags | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int ww_open_beneath_walk(int dirfd, const char *path, int flags, bool follow)
{
    struct walk w = {.dirs = {dirfd}, .follow = follow};
    if (path[0] == '/') {
        return -EXDEV;
    }
    w.left = ww_strdup(path);
    if (!w.left) {
        return -ENOMEM;
    }
    w.next = w.left;
    int result = GO_ON;
    while (result == GO_ON) {
        result = step(&w, flags);
    }
    while (w.depth > 0) {
        pop_folder(&w);
    }
    ww_free(w.left);
    return result;
}

/* Without O_NOFOLLOW: with it, a last link asked for as a folder would be ENOTDIR. */
int ww_open_beneath(int dirfd, const char *path, int flags, bool follow)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve =
            RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (follow ? 0 : RESOLVE_NO_SYMLINKS),
    };
    /* EAGAIN: a rename elsewhere raced with the resolution of "..". */
    for (int i = 0; i < RACE_RETRIES; i++) {
        long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
        if (fd >= 0) {
            return (int)fd;
        }
        if (errno == ENOSYS || errno == EPERM || errno == EINVAL || errno == E2BIG) {
            return ww_open_beneath_walk(dirfd, path, flags, follow);
        }
        if (errno != EAGAIN && errno != EINTR) {
            return -errno;
        }
    }
    return -EAGAIN;
}
