/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal says which plan a half-made folder belongs to, and nothing else: a resumed
 * run derives every byte again, so there is no progress that could be recorded wrongly.
 * It only protects a folder of something else from being overwritten.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "stream/out.h"
#include "util/fail.h"
#include "util/fs.h"

#define LABEL "weightward journal 1\n"
#define HEX (2 * WW_SHA256_BYTES)
#define TEXT_BYTES (sizeof(LABEL) - 1 + HEX + 1)

static void journal_text(const uint8_t digest[WW_SHA256_BYTES], char out[TEXT_BYTES + 1])
{
    memcpy(out, LABEL, sizeof(LABEL) - 1);
    ww_hex(out + sizeof(LABEL) - 1, digest, WW_SHA256_BYTES);
    memcpy(out + TEXT_BYTES - 1, "\n", 2);
}

enum ww_err ww_out_journal_write(const struct ww_out *out,
                                 const uint8_t digest[WW_SHA256_BYTES],
                                 struct ww_error *err)
{
    char text[TEXT_BYTES + 1];
    journal_text(digest, text);
    return ww_file_write_at(out->dirfd, WW_OUT_JOURNAL, text, TEXT_BYTES, 0644, true,
                            err);
}

static enum ww_err see_any(void *payload, const struct ww_walk_entry *entry, bool *skip,
                           struct ww_error *err)
{
    (void)err;
    *skip = true;
    if (!ww_str_starts(entry->path, WW_OUT_JOURNAL)) {
        *(bool *)payload = true;
    }
    return WW_OK;
}

enum ww_err ww_out_journal_match(const struct ww_out *out,
                                 const uint8_t digest[WW_SHA256_BYTES], bool *ours,
                                 struct ww_error *err)
{
    char text[TEXT_BYTES + 1];
    struct ww_buf found;
    struct ww_error lost = {0};
    bool any = false;

    *ours = false;
    ww_buf_init(&found, TEXT_BYTES);
    enum ww_err rc =
        ww_file_read_at(out->dirfd, WW_OUT_JOURNAL, WW_LINKS_REFUSE, &found, &lost);
    if (rc == WW_E_NOTFOUND) {
        /* A run killed while it was committing has put it beside the folder. */
        ww_error_clear(&lost);
        rc = ww_file_read_at(out->parent, out->spare, WW_LINKS_REFUSE, &found, &lost);
    }
    if (rc == WW_E_NOTFOUND) {
        rc = ww_walk(out->dirfd, see_any, &any, err);
        *ours = !any;
        goto out;
    }
    if (rc && rc != WW_E_LIMIT) {
        rc = WW_FAIL(err, rc, "cannot read the journal of '%s': %s", out->partial,
                     lost.text);
        goto out;
    }
    journal_text(digest, text);
    *ours = !rc && found.len == TEXT_BYTES && memcmp(found.data, text, TEXT_BYTES) == 0;
    rc = WW_OK;
out:
    ww_buf_release(&found);
    return rc;
}

void ww_out_journal_tidy(const struct ww_out *out)
{
    struct ww_buf found;
    struct stat st;

    if (fstatat(out->parent, out->partial, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return;
    }
    ww_buf_init(&found, TEXT_BYTES);
    if (!ww_file_read_at(out->parent, out->spare, WW_LINKS_REFUSE, &found, NULL) &&
        found.len == TEXT_BYTES && memcmp(found.data, LABEL, sizeof(LABEL) - 1) == 0) {
        unlinkat(out->parent, out->spare, 0);
    }
    ww_buf_release(&found);
}

static enum ww_err remove_stray(void *payload, const struct ww_walk_entry *entry,
                                bool *skip, struct ww_error *err)
{
    const struct ww_out *out = payload;

    (void)skip;
    if (entry->type == S_IFDIR || strcmp(entry->path, WW_OUT_JOURNAL) == 0) {
        return WW_OK;
    }
    for (uint32_t i = 0; i < out->plan->n_outputs; i++) {
        if (strcmp(entry->path, out->plan->outputs[i].path) == 0) {
            return WW_OK;
        }
    }
    if (unlinkat(out->dirfd, entry->path, 0) != 0 && errno != ENOENT) {
        int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                           "cannot remove '%s/%s', which an earlier run left",
                           out->partial, entry->path);
    }
    return WW_OK;
}

enum ww_err ww_out_remove_strays(const struct ww_out *out, struct ww_error *err)
{
    /* The walk hands the payload back as it came. */
    struct ww_out copy = *out;
    return ww_walk(out->dirfd, remove_stray, &copy, err);
}
