/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block-diagonal LoRA (use_bdlora, as PEFT 0.21 reads it): of one factor of a module the
 * blocks along the diagonal alone are stored, one below the other, and parts of the
 * module's name say which factor that is. With the zeros between them it is a plain pair
 * of the same product, so those are read along and nothing else knows of blocks.
 */
#include "model/adapter_blocks.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

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
                       "'" WW_ADAPTER_CONFIG "' has no usable '" WW_ADAPTER_BLOCKS "'");
    }
    return ww_jonly(node, keys, WW_LEN(keys), WW_E_UNSUPPORTED, WW_ADAPTER_BLOCKS, err);
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
                       "tensor '%.160s' is no matrix of an adapter that uses '%s'",
                       t->name, WW_ADAPTER_BLOCKS);
    }
    if (in_a == in_b && (in_a || blocks->strict)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "module '%.160s' has its blocks in %s of its factors, by '%s'",
                       e->module, in_a ? "both" : "none", WW_ADAPTER_BLOCKS);
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

enum ww_err ww_adapter_spread(struct ww_adapter *adapter, struct ww_error *err)
{
    const struct ww_jnode *node =
        ww_jget(ww_json_root(adapter->config), WW_ADAPTER_BLOCKS);
    struct blocks blocks;
    enum ww_err rc = WW_OK;

    if (!node || ww_jtype(node) != WW_J_OBJECT || ww_jsize(node) == 0) {
        return WW_OK;
    }
    if (adapter->dora || adapter->parameters) {
        return WW_FAIL(err, WW_E_UNSUPPORTED, "adapter '%s' uses '%s' with %s",
                       adapter->path, WW_ADAPTER_BLOCKS,
                       adapter->dora ? "DoRA" : "target_parameters");
    }
    rc = read_blocks(node, &blocks, err);
    adapter->times = ww_calloc(adapter->n_tensors, sizeof(*adapter->times));
    if (!rc && !adapter->times) {
        rc = WW_FAIL_MEMORY(err, "an adapter");
    }
    for (uint32_t i = 0; i < adapter->n_tensors && !rc; i++) {
        struct ww_tensor *t = &adapter->tensors[i];
        rc = times_of(&blocks, &adapter->entries[i], &adapter->times[i], err);
        if (!rc && adapter->times[i] > 1) {
            t->shape[1] *= adapter->times[i];
            t->n_elements *= adapter->times[i];
            t->n_bytes *= adapter->times[i];
        }
    }
    return rc;
}

/* Elements [first, first + n) of a row: those of its block are stored. */
static enum ww_err read_row(const struct ww_adapter *adapter, const struct ww_tensor *t,
                            uint64_t times, uint64_t row, uint64_t first, uint64_t n,
                            uint8_t *out, struct ww_error *err)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    const uint64_t stored = t->shape[1] / times;
    const uint64_t begin = row / (t->shape[0] / times) * stored;
    const uint64_t from = ww_max_u64(first, begin);
    const uint64_t end = ww_min_u64(first + n, begin + stored);

    memset(out, 0, n * width);
    return from >= end ? WW_OK
                       : ww_pread_full(adapter->file.fd, out + (from - first) * width,
                                       (end - from) * width,
                                       t->offset + (row * stored + from - begin) * width,
                                       WW_ADAPTER_WEIGHTS, err);
}

enum ww_err ww_adapter_bytes(const struct ww_adapter *adapter, const struct ww_tensor *t,
                             uint64_t first, uint64_t n, uint8_t *out,
                             struct ww_error *err)
{
    const size_t width = ww_dtype_bits(t->dtype) / 8;
    const uint64_t times = adapter->times ? adapter->times[t - adapter->tensors] : 1;
    enum ww_err rc = WW_OK;

    if (times == 1) {
        return ww_pread_full(adapter->file.fd, out, n * width, t->offset + first * width,
                             WW_ADAPTER_WEIGHTS, err);
    }
    for (uint64_t at = 0; at < n && !rc;) {
        const uint64_t row = (first + at) / t->shape[1];
        const uint64_t in_row = (first + at) % t->shape[1];
        const uint64_t m = ww_min_u64(n - at, t->shape[1] - in_row);
        rc = read_row(adapter, t, times, row, in_row, m, out + at * width, err);
        at += m;
    }
    return rc;
}
