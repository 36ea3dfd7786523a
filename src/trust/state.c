/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rollback protection after TUF (section 5.3): versions only go up. The lock is held on a
 * file beside the state, because the state itself is replaced as a whole. Versions are
 * those of the policies that the root names, whether they were read this time or not, so
 * that leaving one out does not forget it.
 */
#include "trust/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "policy/words.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define TYPE "weightward.policy-state/1"
#define STATE_MAX_BYTES ((size_t)1 << 20)

static enum ww_err lock_beside(const char *path, int *fd, struct ww_error *err)
{
    char *name = ww_asprintf("%s.lock", path);

    *fd = -1;
    if (!name) {
        return WW_FAIL_MEMORY(err, "a path");
    }
    *fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (*fd < 0 || flock(*fd, LOCK_EX) != 0) {
        const int e = errno;
        enum ww_err rc =
            WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot lock '%s'", name);
        ww_free(name);
        return rc;
    }
    ww_free(name);
    return WW_OK;
}

static enum ww_err check_members(const struct ww_state *state, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_jtype(state->policies) != WW_J_OBJECT) {
        return WW_FAIL(err, WW_E_POLICY, "state: 'policies' must be an object");
    }
    for (const struct ww_jnode *p = ww_jfirst(state->policies); p && !rc;
         p = ww_jnext(p)) {
        const struct ww_reading at = {.what = "state"};
        uint64_t version = 0;
        rc = ww_read_number(&at, state->policies, ww_jkey(p), &version, err);
    }
    return rc;
}

/* Others could have written a state that forgets: it must be the user's alone. */
static enum ww_err check_mode(const char *path, struct ww_error *err)
{
    struct stat st;

    if (stat(path, &st) == 0 && (st.st_mode & 077)) {
        return WW_FAIL(err, WW_E_KEY_ACCESS,
                       "state file '%s' is open to others (mode %o); chmod 600 it", path,
                       (unsigned)(st.st_mode & 0777));
    }
    return WW_OK;
}

enum ww_err ww_state_parse(const uint8_t *text, size_t len, struct ww_state *out,
                           struct ww_error *err)
{
    static const char *const members[] = {"type", "root", "policy_keys", "policies"};
    const struct ww_reading at = {.what = "state"};
    const struct ww_jnode *root = NULL;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    rc = ww_read_document(text, len, TYPE, &out->json, err);
    if (!rc) {
        root = ww_json_root(out->json);
        rc = ww_jonly(root, members, WW_LEN(members), WW_E_POLICY, "state", err);
    }
    if (!rc) {
        rc = ww_read_number(&at, root, "root", &out->root, err);
    }
    if (!rc) {
        rc = ww_read_name(&at, root, "policy_keys", false, &out->policy_keys, err);
    }
    if (!rc) {
        out->policies = ww_jget(root, "policies");
        rc = check_members(out, err);
    }
    if (rc) {
        ww_state_release(out);
    }
    return rc;
}

void ww_state_release(struct ww_state *state)
{
    ww_json_free(state->json);
    memset(state, 0, sizeof(*state));
}

static enum ww_err read_state(const char *path, struct ww_state *out,
                              struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = check_mode(path, err);

    ww_buf_init(&text, STATE_MAX_BYTES);
    if (rc) {
        return rc;
    }
    rc = ww_file_read(path, &text, &local);
    if (rc) {
        /* None yet: nothing was seen. */
        rc = rc == WW_E_NOTFOUND ? WW_OK : WW_FAIL(err, rc, "%s", local.text);
        goto out;
    }
    rc = ww_state_parse(text.data, text.len, out, err);
    if (rc) {
        ww_error_context(err, "'%s'", path);
    }
out:
    ww_buf_release(&text);
    return rc;
}

uint64_t ww_state_seen(const struct ww_state *state, const char *id)
{
    const char *text = NULL;
    uint64_t version = 0;

    if (!state->policies || !ww_jstr(ww_jget(state->policies, id), &text) ||
        !ww_parse_u64(text, strlen(text), &version)) {
        return 0;
    }
    return version;
}

/* Ids in sorted order, so that their digest does not depend on how a root lists them. */
static enum ww_err policy_keys_of(const struct ww_root *root, char out[WW_HINT_CHARS + 1],
                                  struct ww_error *err)
{
    const struct ww_role *role = ww_root_role(root, WW_POLICY_ROLE);
    struct ww_strlist ids = {0};
    struct ww_buf text;
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, STATE_MAX_BYTES);
    for (size_t i = 0; i < role->keyids.n && !rc; i++) {
        rc = ww_strlist_add(&ids, role->keyids.items[i], err);
    }
    ww_strlist_sort(&ids);
    for (size_t i = 0; i < ids.n && !rc; i++) {
        rc = ww_buf_add_str(&text, ids.items[i], err);
    }
    if (!rc) {
        ww_sha256_of(text.data, text.len, digest);
        ww_hex(out, digest, sizeof(digest));
    }
    ww_buf_release(&text);
    ww_strlist_release(&ids);
    return rc;
}

static enum ww_err compare(const struct ww_state *state, const struct ww_root *root,
                           bool recovers, const char *path, struct ww_error *err)
{
    if (root->version < state->root) {
        return WW_FAIL(err, WW_E_DENIED,
                       "root version %llu is older than version %llu seen before ('%s')",
                       (unsigned long long)root->version, (unsigned long long)state->root,
                       path);
    }
    for (size_t i = 0; i < root->n_policies && !recovers; i++) {
        const struct ww_root_policy *p = &root->policies[i];
        if (p->version < ww_state_seen(state, p->id)) {
            return WW_FAIL(err, WW_E_DENIED,
                           "policy '%s' of version %llu is older than version %llu seen "
                           "before ('%s')",
                           p->id, (unsigned long long)p->version,
                           (unsigned long long)ww_state_seen(state, p->id), path);
        }
    }
    return WW_OK;
}

static bool is_listed(const struct ww_root *root, const char *id)
{
    for (size_t i = 0; i < root->n_policies; i++) {
        if (strcmp(root->policies[i].id, id) == 0) {
            return true;
        }
    }
    return false;
}

static enum ww_err write_state(const char *path, const struct ww_state *old,
                               bool recovers, const struct ww_root *root,
                               const char *policy_keys, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_jw w;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, STATE_MAX_BYTES);
    ww_jw_init(&w, &text, 0);
    ww_jw_object(&w);
    ww_jw_kstr(&w, "type", TYPE);
    ww_jw_kdecimal(&w, "root", root->version);
    ww_jw_kstr(&w, "policy_keys", policy_keys);
    ww_jw_key(&w, "policies");
    ww_jw_object(&w);
    for (size_t i = 0; i < root->n_policies; i++) {
        ww_jw_kdecimal(&w, root->policies[i].id, root->policies[i].version);
    }
    /* A policy that is no longer listed may come back, but not as an older one. */
    for (const struct ww_jnode *p = recovers ? NULL : ww_jfirst(old->policies); p;
         p = ww_jnext(p)) {
        if (!is_listed(root, ww_jkey(p))) {
            ww_jw_kdecimal(&w, ww_jkey(p), ww_state_seen(old, ww_jkey(p)));
        }
    }
    ww_jw_close(&w);
    ww_jw_close(&w);
    rc = ww_jw_end(&w, err);
    if (!rc) {
        rc = ww_file_write(path, text.data, text.len, 0600, true, err);
    }
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_state_advance(const char *path, const struct ww_root *root,
                             struct ww_error *err)
{
    struct ww_state state = {0};
    char policy_keys[WW_HINT_CHARS + 1];
    bool recovers = false;
    int fd = -1;
    enum ww_err rc = lock_beside(path, &fd, err);

    if (rc) {
        goto out;
    }
    rc = read_state(path, &state, err);
    if (rc) {
        goto out;
    }
    rc = policy_keys_of(root, policy_keys, err);
    if (rc) {
        goto out;
    }
    recovers = state.policy_keys && root->version > state.root &&
               strcmp(policy_keys, state.policy_keys) != 0;
    rc = compare(&state, root, recovers, path, err);
    if (rc) {
        goto out;
    }
    rc = write_state(path, &state, recovers, root, policy_keys, err);
out:
    ww_state_release(&state);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}
