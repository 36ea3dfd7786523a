/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of a small real model for recipients, with their ledger. */
#ifndef WW_TRACE_FIXTURE_H
#define WW_TRACE_FIXTURE_H

#include "../lock/folder_fixture.h"

#include "trace/ledger.h"
#include "trace/votes.h"

struct office {
    struct folders f;
    char *ledger;
    struct ww_signkey *key;
    struct ww_signer signer;
    struct ww_ledger_options options;
};

static inline struct ww_signkey *fx_signkey(const char *dir, const char *name)
{
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    char *base = path_in(dir, name);
    char *path = NULL;
    assert_true(asprintf(&path, "%s.key", base) > 0);
    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
    OK(ww_signkey_load(path, NULL, &key, &err));
    free(path);
    free(base);
    return key;
}

static inline void office_init(struct office *o)
{
    memset(o, 0, sizeof(*o));
    folders_init(&o->f);
    o->ledger = path_in(o->f.dir, "copies.ledger");
    o->key = fx_signkey(o->f.dir, "signer");
    o->signer.key = o->key;
    o->f.options.signer = &o->signer;
    o->options.path = o->ledger;
    o->options.now_unix = 1700000000;
}

static inline void office_free(struct office *o)
{
    ww_signkey_free(o->key);
    free(o->ledger);
    folders_free(&o->f);
}

/* Lock f.model for a recipient into a folder of that name. */
static inline enum ww_err hand_out(struct office *o, const char *name)
{
    char *out = path_in(o->f.dir, name);
    o->options.recipient = name;
    ww_lock_report_release(&o->f.report);
    ww_error_clear(&o->f.err);
    enum ww_err rc =
        ww_lock_for(o->f.model, out, &o->options, &o->f.options, &o->f.report, &o->f.err);
    free(out);
    return rc;
}

static inline char *slurp(const char *path, size_t *len)
{
    struct ww_error err = {0};
    struct ww_buf buf;
    ww_buf_init(&buf, 64 << 20);
    OK(ww_file_read(path, &buf, &err));
    *len = buf.len;
    return (char *)ww_buf_take(&buf, len);
}

static inline void spill(const char *path, const void *bytes, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

#endif
