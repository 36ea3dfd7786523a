/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/hub_cache.h"

#include <string.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

/* Letters, digits, ., - and _, as names and revisions of the hub are; none leads away. */
static bool is_word(const char *s, size_t len)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    return len > 0 && s[0] != '.' && strspn(s, allowed) >= len;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* *out stays NULL for a name that is none of the hub. */
static enum ww_err model_folder(const char *cache, const char *name, char **out,
                                struct ww_error *err)
{
    const size_t org = strcspn(name, "/");
    const char *rest = name[org] ? name + org + 1 : NULL;

    if (!is_word(name, org) || (rest && !is_word(rest, strlen(rest)))) {
        return WW_OK;
    }
    *out = ww_asprintf("%s/models--%.*s%s%s", cache, (int)org, name, rest ? "--" : "",
                       rest ? rest : "");
    return *out ? WW_OK : WW_FAIL_MEMORY(err, "a model's name");
}

/* The commit that a branch or a tag points at; empty when there is none. */
static enum ww_err read_ref(const char *folder, const char *revision, struct ww_buf *buf,
                            struct ww_error *err)
{
    char *path = ww_asprintf("%s/refs/%s", folder, revision);
    struct stat st;
    enum ww_err rc = path ? WW_OK : WW_FAIL_MEMORY(err, "a model's name");

    if (!rc && stat(path, &st) == 0) {
        rc = ww_file_read(path, buf, err);
    }
    ww_free(path);
    return rc;
}

enum ww_err ww_hub_folder(const char *cache, const char *name, const char *revision,
                          char **out, struct ww_error *err)
{
    const char *wanted = revision ? revision : "main";
    char *folder = NULL;
    char *path = NULL;
    struct ww_buf ref;
    enum ww_err rc = model_folder(cache, name, &folder, err);

    *out = NULL;
    ww_buf_init(&ref, 128);
    if (rc || !is_folder(folder) || !is_word(wanted, strlen(wanted))) {
        goto out;
    }
    rc = read_ref(folder, wanted, &ref, err);
    if (rc) {
        goto out;
    }
    if (ref.len > 0) {
        wanted = ww_buf_cstr(&ref);
    }
    const size_t len = strcspn(wanted, "\r\n");
    if (!is_word(wanted, len)) {
        goto out;
    }
    path = ww_asprintf("%s/snapshots/%.*s", folder, (int)len, wanted);
    if (!path) {
        rc = WW_FAIL_MEMORY(err, "a model's name");
        goto out;
    }
    if (is_folder(path)) {
        *out = path;
        path = NULL;
    }
out:
    ww_free(path);
    ww_free(folder);
    ww_buf_release(&ref);
    return rc;
}

bool ww_hub_has(const char *cache, const char *path)
{
    return cache && ww_str_starts(path, cache) &&
           ww_str_starts(path + strlen(cache), "/models--");
}
