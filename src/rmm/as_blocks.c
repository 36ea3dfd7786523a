/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block-diagonal LoRA (use_bdlora, as PEFT 0.21 reads it): of one factor of a module the
 * blocks along the diagonal alone are stored, one below the other, and parts of the
 * module's name say which factor that is. With the zeros between them it is a plain pair
 * of the same product, of which every form can be made.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "merge/json_edit.h"
#include "model/st_write.h"
#include "rmm/as_member.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define SETTING "use_bdlora"
#define NEW_WEIGHTS WW_ADAPTER_WEIGHTS ".plain"
#define MOST_BYTES (UINT64_C(1) << 28) /* of one factor with its zeros */

struct blocks {
    uint64_t n;
    const struct ww_jnode *sides[2]; /* parts of names: of modules with blocks in A, B */
    bool strict;                     /* every module has some */
};

static bool is_names(const struct ww_jnode *node)
{
    const char *text = NULL;

    if (!node || ww_jtype(node) == WW_J_NULL) {
        return true;
    }
    for (const struct ww_jnode *at = ww_jfirst(node); at; at = ww_jnext(at)) {
        if (!ww_jstr(at, &text)) {
            return false;
        }
    }
    return ww_jtype(node) == WW_J_ARRAY;
}

static enum ww_err read_blocks(const struct ww_jnode *node, struct blocks *out,
                               struct ww_error *err)
{
    static const char *const keys[] = {"target_modules_bd_a", "target_modules_bd_b",
                                       "nblocks", "match_strict"};
    const struct ww_jnode *n = ww_jget(node, keys[2]);
    const struct ww_jnode *strict = ww_jget(node, keys[3]);

    *out = (struct blocks){.n = 1, .strict = true};
    out->sides[0] = ww_jget(node, keys[0]);
    out->sides[1] = ww_jget(node, keys[1]);
    if ((n && (!ww_ju64(n, &out->n) || out->n == 0)) ||
        (strict && !ww_jbool(strict, &out->strict)) || !is_names(out->sides[0]) ||
        !is_names(out->sides[1])) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "'" WW_ADAPTER_CONFIG "' has no usable '" SETTING "'");
    }
    return ww_jonly(node, keys, WW_LEN(keys), WW_E_UNSUPPORTED, SETTING, err);
}

static bool is_named(const struct ww_jnode *names, const char *module)
{
    for (const struct ww_jnode *at = ww_jfirst(names); at; at = ww_jnext(at)) {
        const char *part = "";
        if (ww_jstr(at, &part) && strstr(module, part)) {
            return true;
        }
    }
    return false;
}

/* How often the factor's columns stand beside each other: 1 where it is whole. */
static enum ww_err times_of(const struct blocks *blocks, const struct ww_adapter_entry *e,
                            uint64_t *times, struct ww_error *err)
{
    const struct ww_tensor *t = e->tensor;
    const bool in_a = is_named(blocks->sides[0], e->module);
    const bool in_b = is_named(blocks->sides[1], e->module);

    *times = 1;
    if (e->part == WW_PART_FULL) {
        return WW_OK;
    }
    if ((e->part != WW_PART_A && e->part != WW_PART_B) || t->rank != 2 ||
        ww_dtype_bits(t->dtype) % 8 != 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' is no matrix of an adapter that uses '" SETTING
                       "'",
                       t->name);
    }
    if (in_a == in_b && (in_a || blocks->strict)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "module '%.160s' has its blocks in %s of its factors, by '" SETTING
                       "'",
                       e->module, in_a ? "both" : "none");
    }
    *times = (e->part == WW_PART_A ? in_a : in_b) ? blocks->n : 1;
    if (t->shape[0] < *times || t->shape[0] % *times != 0 ||
        t->n_bytes > MOST_BYTES / *times) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' has %llu rows and %llu bytes, in %llu blocks",
                       t->name, (unsigned long long)t->shape[0],
                       (unsigned long long)t->n_bytes, (unsigned long long)*times);
    }
    return WW_OK;
}

/* The stored rows, each at its block's columns. */
static enum ww_err put_tensor(const struct ww_adapter *adapter, const struct ww_tensor *t,
                              uint64_t times, int fd, uint64_t at, struct ww_error *err)
{
    /* A header may have any number of rows of nothing. */
    const uint64_t rows = t->rank == 2 && t->n_bytes ? t->shape[0] : 1;
    const uint64_t row = t->n_bytes / rows;
    uint8_t *stored = ww_calloc(1, (size_t)t->n_bytes + 1);
    uint8_t *whole = ww_calloc(times, (size_t)t->n_bytes + 1);
    enum ww_err rc = stored && whole ? WW_OK : WW_FAIL_MEMORY(err, "a factor");

    if (!rc) {
        rc = ww_pread_full(adapter->file.fd, stored, (size_t)t->n_bytes, t->offset,
                           WW_ADAPTER_WEIGHTS, err);
    }
    for (uint64_t i = 0; i < rows && !rc; i++) {
        const uint64_t block = i / (rows / times);
        memcpy(whole + (i * times + block) * row, stored + i * row, (size_t)row);
    }
    if (!rc) {
        rc =
            ww_pwrite_full(fd, whole, (size_t)(t->n_bytes * times), at, NEW_WEIGHTS, err);
    }
    ww_free(stored);
    ww_free(whole);
    return rc;
}

static enum ww_err write_tensors(const struct ww_adapter *adapter,
                                 const struct ww_tensor *tensors, int fd,
                                 struct ww_error *err)
{
    struct ww_buf header;
    uint64_t at = 0;
    enum ww_err rc = WW_OK;

    ww_buf_init(&header, WW_ST_MAX_HEADER_BYTES);
    rc = ww_st_header_write(tensors, adapter->n_tensors, &header, err);
    if (!rc) {
        rc = ww_pwrite_full(fd, header.data, header.len, 0, NEW_WEIGHTS, err);
    }
    at = header.len;
    for (uint32_t i = 0; i < adapter->n_tensors && !rc; i++) {
        const struct ww_tensor *t = &adapter->tensors[i];
        const uint64_t times = t->n_bytes ? tensors[i].n_bytes / t->n_bytes : 1;
        rc = put_tensor(adapter, t, times, fd, at, err);
        at += tensors[i].n_bytes;
    }
    ww_buf_release(&header);
    return rc;
}

static enum ww_err write_plain(const struct ww_adapter *adapter,
                               const struct blocks *blocks, struct ww_error *err)
{
    struct ww_tensor *tensors = ww_calloc(adapter->n_tensors, sizeof(*tensors));
    enum ww_err rc = tensors ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
    int fd = -1;

    for (uint32_t i = 0; i < adapter->n_tensors && !rc; i++) {
        uint64_t times = 1;
        tensors[i] = adapter->tensors[i];
        rc = times_of(blocks, &adapter->entries[i], &times, err);
        tensors[i].shape[1] *= times;
        tensors[i].n_elements *= times;
        tensors[i].n_bytes *= times;
    }
    if (!rc) {
        fd = openat(adapter->dirfd, NEW_WEIGHTS,
                    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        rc = fd >= 0 ? WW_OK
                     : WW_FAIL_SYS(err, WW_E_IO, errno, "create '%s'", NEW_WEIGHTS);
    }
    if (!rc) {
        rc = write_tensors(adapter, tensors, fd, err);
        close(fd);
    }
    ww_free(tensors);
    return rc ? rc
              : ww_rename_at(adapter->dirfd, NEW_WEIGHTS, adapter->dirfd,
                             WW_ADAPTER_WEIGHTS, true, err);
}

/* The folder as one of plain pairs: its configuration first, which the rest is read by.
 */
static enum ww_err spread(const char *member, const struct ww_buf *text,
                          const struct blocks *blocks, struct ww_error *err)
{
    struct ww_json_edit edit = {.key = SETTING, .value = "null"};
    struct ww_json_edits edits = {.items = &edit, .n = 1};
    char *path = ww_asprintf("%s/" WW_ADAPTER_CONFIG, member);
    struct ww_adapter *adapter = NULL;
    struct ww_buf plain;
    enum ww_err rc = path ? WW_OK : WW_FAIL_MEMORY(err, "a path");

    ww_buf_init(&plain, ww_json_limits_config.max_bytes + 64);
    if (!rc) {
        rc = ww_json_edit(text->data, text->len, &edits, &plain, err);
    }
    if (!rc) {
        rc = ww_file_write(path, plain.data, plain.len, 0600, true, err);
    }
    if (!rc) {
        rc = ww_adapter_open(member, &adapter, err);
    }
    if (!rc && (adapter->dora || adapter->parameters)) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED, "adapter '%s' uses '" SETTING "' with %s",
                     member, adapter->dora ? "DoRA" : "target_parameters");
    }
    if (!rc) {
        rc = write_plain(adapter, blocks, err);
    }
    ww_adapter_close(adapter);
    ww_buf_release(&plain);
    ww_free(path);
    return rc;
}

enum ww_err ww_as_spread_blocks(const char *member, struct ww_error *err)
{
    char *path = ww_asprintf("%s/" WW_ADAPTER_CONFIG, member);
    const struct ww_jnode *node = NULL;
    struct ww_json *config = NULL;
    struct blocks blocks;
    struct ww_buf text;
    enum ww_err rc = path ? WW_OK : WW_FAIL_MEMORY(err, "a path");

    ww_buf_init(&text, ww_json_limits_config.max_bytes);
    if (!rc) {
        rc = ww_file_read(path, &text, err);
    }
    if (!rc) {
        rc = ww_json_parse(text.data, text.len, &ww_json_limits_config, &config, err);
    }
    if (!rc) {
        node = ww_jget(ww_json_root(config), SETTING);
    }
    if (node && ww_jtype(node) == WW_J_OBJECT && ww_jsize(node) > 0) {
        rc = read_blocks(node, &blocks, err);
        if (!rc) {
            rc = spread(member, &text, &blocks, err);
        }
    }
    ww_json_free(config);
    ww_buf_release(&text);
    ww_free(path);
    return rc;
}
