/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that no tensor owns are where things are hidden, and bytes that two tensors own
 * are read two ways: so the tensors must tile the data area exactly. Zero-size tensors
 * may share an offset. Only small keys are sorted, the records are moved once.
 */
#include "model/st_layout.h"

#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

typedef unsigned long long ull;

enum ww_err ww_st_tensor_size(struct ww_st_tensor *tensor, const char *file,
                              struct ww_error *err)
{
    uint64_t n = 1;
    uint64_t n_bits;
    bool ok = true;
    for (unsigned i = 0; i < tensor->rank && ok; i++) {
        ok = ww_mul_u64(n, tensor->shape[i], &n);
    }
    if (!ok || !ww_mul_u64(n, ww_dtype_bits(tensor->dtype), &n_bits)) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': shape and dtype %s need more than 2^64 "
                       "bits",
                       tensor->name, file, ww_dtype_name(tensor->dtype));
    }
    if (n_bits % 8 != 0) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': %llu elements of %s are no whole number "
                       "of bytes",
                       tensor->name, file, (ull)n, ww_dtype_name(tensor->dtype));
    }
    if (tensor->end < tensor->begin) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': ends at byte %llu before it begins at "
                       "%llu",
                       tensor->name, file, (ull)tensor->end, (ull)tensor->begin);
    }
    if (tensor->end - tensor->begin != n_bits / 8) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': data_offsets hold %llu bytes, shape and "
                       "dtype %s need %llu",
                       tensor->name, file, (ull)(tensor->end - tensor->begin),
                       ww_dtype_name(tensor->dtype), (ull)(n_bits / 8));
    }
    tensor->n_elements = n;
    return WW_OK;
}

struct sort_key {
    uint64_t begin;
    uint64_t end;
    uint32_t position;
};

static int key_order(const void *a, const void *b)
{
    const struct sort_key *x = a;
    const struct sort_key *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return x->position < y->position ? -1 : 1;
}

static enum ww_err sort_tensors(struct ww_st_header *header, const char *file,
                                struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    uint32_t n = header->n_tensors;
    struct sort_key *keys = ww_calloc(n, sizeof(*keys));
    struct ww_st_tensor *sorted = ww_calloc(n, sizeof(*sorted));
    if (!keys || !sorted) {
        rc = WW_FAIL_MEMORY(err, "sorting %lu tensors of '%s'", (unsigned long)n, file);
        goto out;
    }
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = (struct sort_key){header->tensors[i].begin, header->tensors[i].end, i};
    }
    qsort(keys, n, sizeof(*keys), key_order);
    for (uint32_t i = 0; i < n; i++) {
        sorted[i] = header->tensors[keys[i].position];
    }
    ww_names_release(&header->by_name);
    ww_free(header->tensors);
    header->tensors = sorted;
    sorted = NULL;
out:
    ww_free(sorted);
    ww_free(keys);
    return rc;
}

/* The first tensor that does not begin where the one before it ended, or n_tensors. */
static uint32_t first_gap(const struct ww_st_header *header, uint64_t *at)
{
    uint32_t i = 0;
    *at = 0;
    while (i < header->n_tensors && header->tensors[i].begin == *at) {
        *at = header->tensors[i].end;
        i++;
    }
    return i;
}

enum ww_err ww_st_layout(struct ww_st_header *header, uint64_t data_bytes,
                         const char *file, struct ww_error *err)
{
    uint64_t at;
    uint32_t gap = first_gap(header, &at);
    if (gap < header->n_tensors) {
        enum ww_err rc = sort_tensors(header, file, err);
        if (rc) {
            return rc;
        }
        gap = first_gap(header, &at);
    }
    if (gap < header->n_tensors) {
        const struct ww_st_tensor *t = &header->tensors[gap];
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "tensor '%.160s' of '%s': begins at byte %llu, expected %llu: %s",
                       t->name, file, (ull)t->begin, (ull)at,
                       t->begin < at ? "tensors overlap"
                                     : "bytes before it belong to no tensor");
    }
    if (at != data_bytes) {
        return WW_FAIL(err, WW_E_SAFETENSORS,
                       "'%s': tensors end at data byte %llu, the file holds %llu: %s",
                       file, (ull)at, (ull)data_bytes,
                       at < data_bytes ? "bytes at the end belong to no tensor"
                                       : "the file is cut off; fetch it again");
    }
    header->data_bytes = at;
    return WW_OK;
}
