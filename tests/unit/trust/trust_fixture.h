/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, roots and policies of a small house, written and signed as users would. */
#ifndef WW_TRUST_FIXTURE_H
#define WW_TRUST_FIXTURE_H

#include "trust/trust.h"

#include "crypto/signkey.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/str.h"
#include "ww_test.h"

#define N_KEYS 6
#define NOW INT64_C(1780000000) /* 2026-05-28 */
#define ISSUED "2026-01-01T00:00:00Z"
#define EXPIRES "2027-01-01T00:00:00Z"
#define ALL_TYPES                                                                        \
    "[\"application/vnd.weightward.root+json\","                                         \
    "\"application/vnd.weightward.policy+json\","                                        \
    "\"application/vnd.weightward.request+json\","                                       \
    "\"application/vnd.weightward.approval+json\",\"application/vnd.in-toto+json\"]"

struct house {
    char *dir;
    struct ww_signkey *keys[N_KEYS];
    char ids[N_KEYS][WW_HINT_CHARS + 1];
    char *pems[N_KEYS]; /* escaped for JSON */
};

static inline char *in_house(const struct house *h, const char *name)
{
    char *path = ww_path_join(h->dir, name);
    assert_non_null(path);
    return path;
}

static inline void house_init(struct house *h)
{
    struct ww_error err = {0};
    memset(h, 0, sizeof(*h));
    h->dir = ww_test_mkdir();
    for (int i = 0; i < N_KEYS; i++) {
        char name[16];
        struct ww_pubkey *public_key = NULL;
        struct ww_buf pem;
        struct ww_buf text;
        struct ww_jw w;
        snprintf(name, sizeof(name), "k%d", i);
        char *base = in_house(h, name);
        char *path = ww_asprintf("%s.key", base);
        OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
        OK(ww_signkey_load(path, NULL, &h->keys[i], &err));
        OK(ww_signkey_public(h->keys[i], &public_key, &err));
        OK(ww_pubkey_hint(public_key, h->ids[i], &err));
        ww_buf_init(&pem, 4096);
        ww_buf_init(&text, 4096);
        OK(ww_pubkey_pem(public_key, &pem, &err));
        ww_jw_init(&w, &text, 0);
        ww_jw_str(&w, ww_buf_cstr(&pem));
        OK(ww_jw_end(&w, &err));
        h->pems[i] = ww_strdup(ww_buf_cstr(&text));
        ww_buf_release(&pem);
        ww_buf_release(&text);
        ww_pubkey_free(public_key);
        ww_free(path);
        ww_free(base);
    }
}

static inline void house_release(struct house *h)
{
    for (int i = 0; i < N_KEYS; i++) {
        ww_signkey_free(h->keys[i]);
        ww_free(h->pems[i]);
    }
    ww_test_rmdir(h->dir);
}

static inline int house_setup(void **state)
{
    struct house *h = ww_calloc(1, sizeof(*h));
    house_init(h);
    *state = h;
    return 0;
}

static inline int house_teardown(void **state)
{
    house_release(*state);
    ww_free(*state);
    return 0;
}

static inline void house_write(const struct house *h, const char *name, const char *text)
{
    struct ww_error err = {0};
    char *path = in_house(h, name);
    OK(ww_file_write(path, text, strlen(text), 0600, true, &err));
    ww_free(path);
}

/* Sign NAME.json into NAME.signed.json by each key whose digit stands in by. */
static inline void house_sign(const struct house *h, const char *name, const char *by)
{
    struct ww_error err = {0};
    struct ww_policy_signed report;
    char *doc = ww_asprintf("%s/%s.json", h->dir, name);
    char *out = ww_asprintf("%s/%s.signed.json", h->dir, name);
    unlink(out);
    for (size_t i = 0; by[i]; i++) {
        OK(ww_policy_sign(i ? out : doc, h->keys[by[i] - '0'], NULL, &report, &err));
        assert_int_equal(report.n_signatures, i + 1);
    }
    ww_free(doc);
    ww_free(out);
}

struct root_text {
    int version;
    const char *expires;  /* NULL: EXPIRES */
    const char *keys;     /* digits of the keys that are there; NULL: all */
    const char *root;     /* digits of the role, NULL "012" */
    int root_threshold;   /* 0: 2 */
    const char *policy;   /* NULL "3" */
    const char *policies; /* JSON list, NULL: [] */
    const char *revoked;  /* JSON list, NULL: [] */
    const char *window;   /* more members of key 3 */
    const char *roles;    /* more roles, each with a comma in front */
};

static inline void add_role(const struct house *h, struct ww_buf *text, const char *name,
                            const char *who, int threshold)
{
    struct ww_error err = {0};
    OK(ww_buf_addf(text, &err, "\"%s\":{\"keyids\":[", name));
    for (size_t i = 0; who[i]; i++) {
        OK(ww_buf_addf(text, &err, "%s\"%s\"", i ? "," : "", h->ids[who[i] - '0']));
    }
    OK(ww_buf_addf(text, &err, "],\"threshold\":\"%d\"}", threshold));
}

static inline char *root_json(const struct house *h, const struct root_text *r)
{
    const char *keys = r->keys ? r->keys : "012345";
    struct ww_error err = {0};
    struct ww_buf text;
    size_t len = 0;
    ww_buf_init(&text, 1 << 20);
    OK(ww_buf_addf(&text, &err,
                   "{\"type\":\"weightward.root/1\",\"version\":\"%d\",\"issued\":"
                   "\"" ISSUED "\",\"expires\":\"%s\",\"keys\":{",
                   r->version, r->expires ? r->expires : EXPIRES));
    for (size_t i = 0; keys[i]; i++) {
        const int k = keys[i] - '0';
        OK(ww_buf_addf(&text, &err, "%s\"%s\":{\"pem\":%s%s,\"may_sign\":" ALL_TYPES "}",
                       i ? "," : "", h->ids[k], h->pems[k],
                       k == 3 && r->window ? r->window : ""));
    }
    OK(ww_buf_add_str(&text, "},\"roles\":{", &err));
    add_role(h, &text, "root", r->root ? r->root : "012",
             r->root_threshold ? r->root_threshold : 2);
    OK(ww_buf_add_str(&text, ",", &err));
    add_role(h, &text, "policy", r->policy ? r->policy : "3", 1);
    OK(ww_buf_addf(&text, &err, "%s},\"policies\":%s,\"revoked\":%s}",
                   r->roles ? r->roles : "", r->policies ? r->policies : "[]",
                   r->revoked ? r->revoked : "[]"));
    return (char *)ww_buf_take(&text, &len);
}

/* NAME.json and, signed by, NAME.signed.json. */
static inline void house_root(const struct house *h, const char *name,
                              const struct root_text *r, const char *by)
{
    char *file = ww_asprintf("%s.json", name);
    char *text = root_json(h, r);
    house_write(h, file, text);
    house_sign(h, name, by);
    ww_free(text);
    ww_free(file);
}

/* Policy NAME of a version, signed by; *entry is what a root lists of it. */
static inline void house_policy(const struct house *h, const char *name, int version,
                                const char *rules, const char *by, char entry[400])
{
    uint8_t digest[WW_SHA256_BYTES];
    char hex[2 * WW_SHA256_BYTES + 1];
    char *file = ww_asprintf("%s.json", name);
    char *text = ww_asprintf(
        "{\"type\":\"weightward.policy/1\",\"id\":\"%s\",\"version\":"
        "\"%d\",\"issued\":\"" ISSUED "\",\"expires\":\"" EXPIRES "\",\"rules\":[%s]}",
        name, version, rules);
    ww_sha256_of(text, strlen(text), digest);
    ww_hex(hex, digest, sizeof(digest));
    snprintf(entry, 400, "{\"id\":\"%s\",\"version\":\"%d\",\"sha256\":\"%s\"}", name,
             version, hex);
    house_write(h, file, text);
    house_sign(h, name, by);
    ww_free(text);
    ww_free(file);
}

#define PERMIT                                                                           \
    "{\"id\":\"r\",\"effect\":\"permit\",\"subjects\":[\"anyone\"],\"actions\":"         \
    "[\"merge\",\"lock\"],\"resources\":[\"tag:open\"]}"

/* Walk "a,b,c" (names without .signed.json) at a time. */
static inline enum ww_err house_walk(const struct house *h, const char *names, int64_t at,
                                     struct ww_root *out, struct ww_error *err)
{
    char *paths[8] = {0};
    size_t n = 0;
    char *list = ww_strdup(names);
    char *rest = list;
    for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ",")) {
        paths[n++] = ww_asprintf("%s/%s.signed.json", h->dir, name);
    }
    enum ww_err rc = ww_root_walk((const char *const *)paths, n, at, out, err);
    for (size_t i = 0; i < n; i++) {
        ww_free(paths[i]);
    }
    ww_free(list);
    return rc;
}

#endif
