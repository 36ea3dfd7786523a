/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GGUF file as a suspect. Blocks run along rows and never over their ends, so elements
 * are decoded row by row, in the order that the rows had before the conversion.
 */
#include <inttypes.h>
#include <string.h>

#include "lineage/disguise.h"
#include "model/convert.h"
#include "model/gguf_shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define PART 4096 /* elements decoded at once: a multiple of every block */

static void free_gguf(void *payload)
{
    ww_gguf_shown_release(payload);
    ww_free(payload);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct ww_gguf_shown *s = payload;
    return ww_file_unchanged(s->file.fd, &s->file.st, s->file.name, err);
}

struct room {
    uint8_t bytes[PART * sizeof(float)];
    float values[PART];
    double first[PART];
    double second[PART];
    double slack[PART];
};

/* Elements [at, at + n) of the tensor as the file has them; n may be cut down to what
 * fits into the room, and *n says so. */
static enum ww_err decode(const struct ww_gguf_shown *s, const struct ww_gguf_tensor *t,
                          uint64_t at, size_t *n, struct room *room,
                          const struct ww_disguise_pair *out, size_t done,
                          struct ww_error *err)
{
    const unsigned per = ww_gguf_block_elements(t->type);
    const unsigned size = ww_gguf_block_bytes(t->type);
    const size_t skip = (size_t)(at % per);
    size_t blocks = 0;
    enum ww_err rc = WW_OK;

    *n = (size_t)ww_min_u64(*n, PART - skip);
    blocks = (size_t)ww_div_up(skip + *n, per);
    rc = ww_pread_full(s->file.fd, room->bytes, blocks * size,
                       t->offset + at / per * size, s->file.name, err);
    if (rc) {
        return rc;
    }
    ww_gguf_to_float(t->type, room->bytes, blocks, room->values);
    if (ww_count_nonfinite(WW_DTYPE_F32, room->values + skip, *n) > 0) {
        return WW_FAIL(
            err, WW_E_NONFINITE,
            "tensor '%s' of '%s' holds NaN or infinity; repair the weights first",
            t->name, s->file.name);
    }
    if (out->cells) {
        ww_gguf_cells(t->type, room->bytes, blocks, room->values, room->first,
                      room->second);
        ww_gguf_slack(t->type, room->bytes, blocks, room->slack);
    } else {
        ww_gguf_steps(t->type, room->bytes, blocks, room->second);
    }
    for (size_t e = 0; e < *n; e++) {
        const double slack = out->cells ? room->slack[skip + e] : 0;
        out->first[done + e] =
            out->cells ? room->first[skip + e] - slack : (double)room->values[skip + e];
        out->second[done + e] = room->second[skip + e] + slack;
    }
    return WW_OK;
}

static enum ww_err read_gguf(void *payload, uint32_t tensor, uint64_t first, size_t n,
                             const struct ww_disguise_pair *out, struct ww_error *err)
{
    const struct ww_gguf_shown *s = payload;
    const struct ww_gguf_tensor *t = &s->file.header.tensors[s->of[tensor]];
    const uint64_t width = t->rank > 1 ? t->shape[t->rank - 1] : 1;
    struct room *room = ww_calloc(1, sizeof(*room));
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "a block");

    for (size_t done = 0; done < n && !rc;) {
        const uint64_t column = (first + done) % width;
        size_t part = n - done;
        const uint64_t at = ww_gguf_shown_at(s, tensor, first + done);
        if (s->places[tensor].heads) {
            part = (size_t)ww_min_u64(part, width - column);
        }
        rc = decode(s, t, at, &part, room, out, done, err);
        done += part;
    }
    ww_free(room);
    return rc;
}

/* "Q4_K, Q6_K and F32": the types in the file, by how much they hold. */
static char *types_of(const struct ww_gguf_header *h)
{
    uint64_t count[WW_GGUF_TYPE_COUNT] = {0};
    char *text = NULL;

    for (uint32_t t = 0; t < h->n_tensors; t++) {
        count[h->tensors[t].type] += h->tensors[t].n_elements;
    }
    for (;;) {
        unsigned best = 0;
        for (unsigned i = 1; i < WW_GGUF_TYPE_COUNT; i++) {
            best = count[i] > count[best] ? i : best;
        }
        if (count[best] == 0) {
            return text ? text : ww_strdup("none");
        }
        count[best] = 0;
        char *more = ww_asprintf("%s%s%s", text ? text : "", text ? ", " : "",
                                 ww_gguf_type_name((enum ww_gguf_type)best));
        ww_free(text);
        if (!more) {
            return NULL;
        }
        text = more;
    }
}

static enum ww_err tell(const struct ww_gguf_shown *s, struct ww_disguise *out,
                        struct ww_strlist *notes, struct ww_error *err)
{
    char *types = types_of(&s->file.header);
    char *text = NULL;
    enum ww_err rc = WW_OK;

    out->undone = types ? ww_asprintf("a GGUF file of %s, decoded", types) : NULL;
    ww_free(types);
    if (!out->undone) {
        return WW_FAIL_MEMORY(err, "a GGUF file");
    }
    if (s->n_unknown > 0) {
        text = ww_asprintf("%" PRIu32 " tensors of the GGUF file have no counterpart in "
                           "transformers that is known, or rows in an unknown order, "
                           "or gains that a converter changes, and are not compared",
                           s->n_unknown);
        rc = text ? ww_strlist_add(notes, text, err) : WW_FAIL_MEMORY(err, "a note");
    }
    ww_free(text);
    return rc;
}

enum ww_err ww_disguise_gguf(const char *path, struct ww_disguise *out,
                             struct ww_strlist *notes, struct ww_error *err)
{
    struct ww_gguf_shown *s = ww_calloc(1, sizeof(*s));

    if (!s) {
        return WW_FAIL_MEMORY(err, "a GGUF file");
    }
    out->payload = s;
    out->free = free_gguf;
    out->read = read_gguf;
    out->cells = true;
    out->searched = true;
    out->unchanged = unchanged;
    enum ww_err rc = ww_gguf_show(path, s, err);
    out->model = s->model;
    s->model = NULL;
    return rc ? rc : tell(s, out, notes, err);
}
