/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors of an adapter in the making, under PEFT's names. */
#include <string.h>
#include <unistd.h>

#include "merge/extract_write.h"
#include "model/adapter.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

/* One more float32 tensor: one of the model's, or (WW_NONE) one whose values are appended
 * next; takes the name. */
static enum ww_err announce(struct ww_extracting *x, char *name, unsigned rank,
                            const uint64_t *shape, uint32_t whole, struct ww_error *err)
{
    struct ww_tensor *grown =
        name ? ww_realloc_array(x->tensors, x->n_tensors + 1, sizeof(*grown)) : NULL;
    uint32_t *origins = NULL;
    struct ww_tensor *t = NULL;

    if (grown) {
        x->tensors = grown;
        origins = ww_realloc_array(x->whole, x->n_tensors + 1, sizeof(*origins));
    }
    if (!origins) {
        ww_free(name);
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    x->whole = origins;
    origins[x->n_tensors] = whole;
    t = &grown[x->n_tensors++];
    *t = (struct ww_tensor){
        .name = name, .dtype = WW_DTYPE_F32, .rank = rank, .n_elements = 1};
    for (unsigned a = 0; a < rank; a++) {
        t->shape[a] = shape[a];
        t->n_elements *= shape[a];
    }
    t->n_bytes = t->n_elements * sizeof(float);
    return WW_OK;
}

static enum ww_err append(struct ww_extracting *x, const float *values, uint64_t n,
                          struct ww_error *err)
{
    const uint64_t at = x->size_bytes;

    x->size_bytes += n * sizeof(*values);
    return ww_pwrite_full(x->fd, values, n * sizeof(*values), at, "the adapter's weights",
                          err);
}

/* One more matrix, with its values; takes the name. */
static enum ww_err put(struct ww_extracting *x, char *name, const uint64_t shape[2],
                       const float *values, struct ww_error *err)
{
    enum ww_err rc = announce(x, name, 2, shape, WW_NONE, err);

    return rc ? rc : append(x, values, x->tensors[x->n_tensors - 1].n_elements, err);
}

/* Heads stand beside the model that they are put on. */
static bool is_head(const char *name)
{
    static const char *const heads[] = {"lm_head.",    "score.",
                                        "classifier.", "classification_head.",
                                        "qa_outputs.", "final_logits_bias"};

    for (size_t i = 0; i < WW_LEN(heads); i++) {
        if (strncmp(name, heads[i], strlen(heads[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* What the name of the module that PEFT sees has before that of the base's. */
static const char *root_of(const struct ww_extracting *x, const char *name)
{
    return x->root && !is_head(name) ? x->root : "";
}

static size_t module_len(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : strlen(name);
}

/* The base's weight as that module names it. */
static char *name_of(const struct ww_extracting *x, const char *name)
{
    return ww_asprintf("%s%s", root_of(x, name), name);
}

/* That module. */
static char *module_of(const struct ww_extracting *x, const char *name)
{
    return ww_asprintf("%s%.*s", root_of(x, name), (int)module_len(name), name);
}

/* Is full root and the first len bytes of name? */
static bool is_both(const char *full, const char *root, const char *name, size_t len)
{
    const size_t n = strlen(root);

    return strncmp(full, root, n) == 0 && strncmp(full + n, name, len) == 0 &&
           full[n + len] == '\0';
}

/* Transposed, with zeros below. */
static float *padded_transpose(const float *values, size_t rows, size_t cols,
                               size_t height)
{
    float *out = ww_calloc(height * rows + 1, sizeof(*out));

    for (size_t i = 0; out && i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            out[j * rows + i] = values[i * cols + j];
        }
    }
    return out;
}

/* With zeros to the right and below. */
static float *padded(const float *values, size_t rows, size_t cols, size_t height,
                     size_t width)
{
    float *out = ww_calloc(height * width + 1, sizeof(*out));

    for (size_t i = 0; out && i < rows; i++) {
        memcpy(out + i * width, values + i * cols, cols * sizeof(*out));
    }
    return out;
}

enum ww_err ww_extract_put_factors(struct ww_extracting *x, const struct ww_tensor *t,
                                   const struct ww_lowrank *lowrank, struct ww_error *err)
{
    const size_t m = (size_t)t->shape[0];
    const size_t n = (size_t)t->shape[1];
    const size_t r = lowrank->rank;
    const size_t width = x->portable ? (size_t)x->rank : r;
    char *module = module_of(x, t->name);
    /* Stored [in, out], the factors trade places. */
    float *a = x->across ? padded_transpose(lowrank->b, m, r, width)
                         : padded(lowrank->a, r, n, width, n);
    float *b = x->across ? padded_transpose(lowrank->a, r, n, n)
                         : padded(lowrank->b, m, r, m, width);
    const uint64_t a_shape[] = {width, x->across ? m : n};
    const uint64_t b_shape[] = {x->across ? n : m, width};
    uint64_t *ranks = ww_realloc_array(x->ranks, x->modules.n + 1, sizeof(*ranks));
    enum ww_err rc = WW_OK;

    if (ranks) {
        x->ranks = ranks;
        ranks[x->modules.n] = width;
    }
    if (!module || !a || !b || !ranks) {
        rc = WW_FAIL_MEMORY(err, "an adapter");
        goto out;
    }
    if (x->across && width > r) {
        float *wide = padded(b, n, r, n, width);
        ww_free(b);
        b = wide;
        rc = b ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
    }
    if (!rc) {
        rc = put(x,
                 ww_asprintf(WW_ADAPTER_PREFIX "%s%s", module,
                             x->embedding ? ".lora_embedding_A" : ".lora_A.weight"),
                 a_shape, a, err);
    }
    if (!rc) {
        rc = put(x,
                 ww_asprintf(WW_ADAPTER_PREFIX "%s%s", module,
                             x->embedding ? ".lora_embedding_B" : ".lora_B.weight"),
                 b_shape, b, err);
    }
    if (!rc) {
        rc = ww_strlist_add(&x->modules, module, err);
    }
out:
    ww_free(module);
    ww_free(a);
    ww_free(b);
    return rc;
}

enum ww_err ww_extract_put_unnamed(struct ww_extracting *x, const struct ww_tensor *t,
                                   uint32_t from, struct ww_error *err)
{
    char *name = name_of(x, t->name);
    enum ww_err rc = announce(x, name ? ww_asprintf(WW_ADAPTER_PREFIX "%s", name) : NULL,
                              t->rank, t->shape, from, err);

    ww_free(name);
    return rc;
}

enum ww_err ww_extract_put_whole(struct ww_extracting *x, const struct ww_tensor *t,
                                 uint32_t from, struct ww_error *err)
{
    char *module = module_of(x, t->name);
    enum ww_err rc = WW_OK;

    if (!module) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    if (ww_str_ends(t->name, ".bias")) {
        x->biases = true;
    } else if (!ww_strlist_has(&x->saved, module)) {
        rc = ww_strlist_add(&x->saved, module, err);
    }
    ww_free(module);
    return rc ? rc : ww_extract_put_unnamed(x, t, from, err);
}

bool ww_extract_lacks(const struct ww_extracting *x, const char *name)
{
    const char *root = root_of(x, name);
    bool lacks = false;

    for (size_t i = 0; i < x->saved.n && !lacks; i++) {
        lacks = is_both(x->saved.items[i], root, name, module_len(name));
    }
    for (uint32_t i = 0; i < x->n_tensors && lacks; i++) {
        lacks = !is_both(x->tensors[i].name + strlen(WW_ADAPTER_PREFIX), root, name,
                         strlen(name));
    }
    return lacks;
}

void ww_extracting_release(struct ww_extracting *x)
{
    for (uint32_t i = 0; i < x->n_tensors; i++) {
        ww_free((char *)(uintptr_t)x->tensors[i].name);
    }
    ww_free(x->tensors);
    ww_free(x->whole);
    ww_free(x->ranks);
    ww_strlist_release(&x->modules);
    ww_strlist_release(&x->saved);
    ww_strlist_release(&x->others);
    if (x->fd >= 0) {
        close(x->fd);
    }
    x->fd = -1;
}
