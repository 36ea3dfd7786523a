/* SPDX-License-Identifier: Apache-2.0 */
#include "rmm/asking.h"

#include <string.h>
#include <unistd.h>

#include "evidence/ancestors.h"
#include "merge/extract_write.h"
#include "trust/facts.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "weightward/guard.h"

#define MAX_BYTES ((size_t)1 << 20)

bool ww_path_asks(const char *path)
{
    return strcmp(path, WW_POLICY_REFERENCE) == 0 ||
           (ww_str_starts(path, WW_ANCESTORS_DIR "/") &&
            ww_str_ends(path, ".policy.json"));
}

/* Members name the same policies more often than not: each once, in its newest version.
 */
static enum ww_err add_need(struct ww_source_facts *to, const struct ww_policy_need *need,
                            struct ww_error *err)
{
    for (size_t i = 0; i < to->n_needs; i++) {
        if (strcmp(to->needs[i].id, need->id) == 0) {
            if (to->needs[i].version < need->version) {
                to->needs[i].version = need->version;
            }
            return WW_OK;
        }
    }
    /* Said here already: each one is compared with all before it. */
    if (to->n_needs >= WW_REFERENCE_MAX_NEEDS) {
        return WW_FAIL(
            err, WW_E_LIMIT,
            "all members together ask for more than %d policies, and what they "
            "share would have to; pack fewer together",
            WW_REFERENCE_MAX_NEEDS);
    }
    return ww_facts_need(to, need->id, need->version, false, err);
}

static enum ww_err read_request(const struct ww_member *m, uint32_t file,
                                struct ww_source_facts *to, struct ww_error *err)
{
    const struct ww_pack_table_file *entry = &m->table.files[file];
    const size_t len = (size_t)entry->size_bytes;
    struct ww_source_facts one = {0};
    uint8_t *text = NULL;
    enum ww_err rc = WW_OK;

    if (entry->size_bytes > MAX_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT, "member '%s': '%s' is longer than %zu bytes",
                       m->name, entry->path, MAX_BYTES);
    }
    text = ww_calloc(1, len + 1);
    if (!text) {
        return WW_FAIL_MEMORY(err, "what adapters ask for");
    }
    rc = ww_pread_full(m->files[file].fd, text, len, 0, entry->path, err);
    if (!rc) {
        rc = ww_reference_read(text, len, &one, err);
    }
    for (size_t i = 0; i < one.n_needs && !rc; i++) {
        rc = add_need(to, &one.needs[i], err);
    }
    if (rc) {
        ww_error_context(err, "member '%s'", m->name);
    }
    ww_facts_release(&one);
    ww_free(text);
    return rc;
}

static enum ww_err put(const struct ww_source_facts *facts, const char *path,
                       struct ww_member *basis, struct ww_error *err)
{
    struct ww_buf text;
    int fd = -1;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, MAX_BYTES);
    rc = ww_reference_write(facts->needs, facts->n_needs, &text, err);
    if (!rc) {
        rc = ww_extract_scratch(path, &fd, err);
    }
    if (!rc) {
        rc = ww_pwrite_full(fd, text.data, text.len, 0, WW_POLICY_REFERENCE, err);
        if (rc) {
            close(fd);
        }
    }
    ww_buf_release(&text);
    return rc ? rc : ww_member_with_file(basis, WW_POLICY_REFERENCE, fd, err);
}

enum ww_err ww_basis_inherit(const struct ww_member *members, size_t n, const char *path,
                             struct ww_member *basis, struct ww_error *err)
{
    struct ww_source_facts facts = {0};
    bool asks = false;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n && !rc; i++) {
        for (uint32_t f = 0; f < members[i].table.n_files && !rc; f++) {
            if (ww_path_asks(members[i].table.files[f].path)) {
                asks = true;
                rc = read_request(&members[i], f, &facts, err);
            }
        }
    }
    if (!rc && asks) {
        rc = put(&facts, path, basis, err);
    }
    ww_facts_release(&facts);
    return rc;
}
