/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An adapter as a suspect: the base with scaling x B A added where the adapter sits,
 * never rounded. Sums run in the order of the rank.
 */
#include <string.h>

#include "model/elements.h"
#include "lineage/disguise.h"
#include "model/adapter.h"
#include "model/orientation.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

struct change {
    double *a;    /* [r][in] */
    double *b;    /* [out][r] */
    double *full; /* takes the place of the tensor */
    uint64_t rank;
    uint64_t in;
    uint64_t out;
    double scaling;
};

struct adapter_suspect {
    struct ww_adapter *adapter;
    const struct ww_model *base;
    struct change *changes; /* by tensor of the base */
};

static void free_adapter(void *payload)
{
    struct adapter_suspect *s = payload;

    for (uint32_t t = 0; s->changes && t < s->base->n_tensors; t++) {
        ww_free(s->changes[t].a);
        ww_free(s->changes[t].b);
        ww_free(s->changes[t].full);
    }
    ww_free(s->changes);
    ww_adapter_close(s->adapter);
    ww_free(s);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct adapter_suspect *s = payload;
    return ww_file_unchanged(s->adapter->file.fd, &s->adapter->file.st,
                             WW_ADAPTER_WEIGHTS, err);
}

static enum ww_err read_base(const struct ww_model *base, uint32_t tensor, uint64_t first,
                             size_t n, double *values, struct ww_error *err)
{
    uint8_t *bytes = ww_calloc(n, sizeof(double));
    enum ww_err rc = bytes ? WW_OK : WW_FAIL_MEMORY(err, "a tile");

    if (!rc) {
        rc = ww_elements_double(base, tensor, first, n, bytes, values, err);
    }
    ww_free(bytes);
    return rc;
}

static double product(const struct change *c, uint64_t row, uint64_t column)
{
    double sum = 0;

    for (uint64_t r = 0; r < c->rank; r++) {
        sum += c->b[row * c->rank + r] * c->a[r * c->in + column];
    }
    return sum;
}

static enum ww_err read_adapter(void *payload, uint32_t tensor, uint64_t first, size_t n,
                                const struct ww_disguise_pair *out, struct ww_error *err)
{
    const struct adapter_suspect *s = payload;
    double *values = out->first;
    const struct change *c = &s->changes[tensor];
    const bool flat =
        ww_adapter_lies_across(s->adapter, s->base, &s->base->tensors[tensor]);
    enum ww_err rc = read_base(s->base, tensor, first, n, values, err);

    memset(out->second, 0, n * sizeof(*out->second));
    for (size_t e = 0; e < n && !rc; e++) {
        const uint64_t at = first + e;
        if (c->full) {
            values[e] = c->full[at];
        }
        if (c->a) {
            values[e] += c->scaling * (flat ? product(c, at % c->out, at / c->out)
                                            : product(c, at / c->in, at % c->in));
        }
    }
    return rc;
}

static enum ww_err misfit(const struct ww_adapter_entry *entry, struct ww_error *err)
{
    return WW_FAIL(err, WW_E_ADAPTER_FILE,
                   "tensor '%.160s' of the adapter does not fit the base's weight",
                   entry->tensor->name);
}

static enum ww_err take(struct adapter_suspect *s, const struct ww_adapter_entry *entry,
                        struct ww_error *err)
{
    const struct ww_tensor *t = entry->tensor;
    uint32_t at = WW_NONE;
    enum ww_err rc = ww_adapter_target(entry, s->base, &at, err);

    if (rc) {
        return rc;
    }
    struct change *c = &s->changes[at];
    double **to = entry->part == WW_PART_A      ? &c->a
                  : entry->part == WW_PART_B    ? &c->b
                  : entry->part == WW_PART_FULL ? &c->full
                                                : NULL;
    if (!to || !ww_dtype_is_plain_float(s->base->tensors[at].dtype)) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' of the adapter is more than plain LoRA; bake the "
                       "adapter into a model first",
                       t->name);
    }
    if (*to || (entry->part != WW_PART_FULL && t->rank != 2) ||
        (entry->part == WW_PART_FULL &&
         t->n_elements != s->base->tensors[at].n_elements)) {
        return misfit(entry, err);
    }
    if (entry->part == WW_PART_A) {
        c->rank = t->shape[0];
        c->in = t->shape[1];
        rc = ww_adapter_scaling(s->adapter, entry->module, c->rank, &c->scaling, err);
    } else if (entry->part == WW_PART_B) {
        c->out = t->shape[0];
    }
    return rc ? rc : ww_adapter_read(s->adapter, t, to, err);
}

/* A and B of each weight belong together and to it. */
static enum ww_err check(const struct adapter_suspect *s, struct ww_error *err)
{
    for (uint32_t i = 0; i < s->adapter->n_tensors; i++) {
        const struct ww_adapter_entry *entry = &s->adapter->entries[i];
        uint32_t at = WW_NONE;
        const enum ww_err rc = ww_adapter_target(entry, s->base, &at, err);
        if (rc) {
            return rc;
        }
        const struct change *c = &s->changes[at];
        const struct ww_tensor *t = &s->base->tensors[at];
        const bool flat = ww_adapter_lies_across(s->adapter, s->base, t);
        if (entry->part == WW_PART_B && (!c->a || entry->tensor->shape[1] != c->rank)) {
            return misfit(entry, err);
        }
        if (c->a && (!c->b || t->rank != 2 || t->shape[flat] != c->out ||
                     t->shape[!flat] != c->in)) {
            return misfit(entry, err);
        }
    }
    return WW_OK;
}

enum ww_err ww_disguise_adapter(const char *path, const struct ww_model *base,
                                struct ww_disguise *out, struct ww_error *err)
{
    struct adapter_suspect *s = ww_calloc(1, sizeof(*s));
    enum ww_err rc = WW_OK;

    if (!s) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    s->base = base;
    out->payload = s;
    out->free = free_adapter;
    out->read = read_adapter;
    out->exact = true;
    out->unchanged = unchanged;
    s->changes = ww_calloc(base->n_tensors, sizeof(*s->changes));
    out->undone = ww_strdup("an adapter, taken with its base");
    if (!s->changes || !out->undone) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    rc = ww_adapter_open_plain(path, &s->adapter, err);
    if (!rc && s->adapter->dora) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED,
                     "'%s' is a DoRA adapter; bake it into a model first", path);
    }
    for (uint32_t i = 0; !rc && i < s->adapter->n_tensors; i++) {
        rc = take(s, &s->adapter->entries[i], err);
    }
    if (!rc) {
        rc = check(s, err);
    }
    return rc ? rc
              : ww_model_shown(path, base->tensors, base->n_tensors, &out->model, err);
}
