/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A GGUF file as a suspect. Blocks run along rows and never over their ends, so elements
 * are decoded row by row, in the order that the rows had before the conversion.
 */
#include <inttypes.h>
#include <string.h>

#include "lineage/disguise.h"
#include "model/convert.h"
#include "model/gguf_names.h"
#include "model/shown.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define PART 4096 /* elements decoded at once: a multiple of every block */

struct gguf_suspect {
    struct ww_gguf_file file;
    struct ww_gguf_place *places; /* by tensor of the model */
    uint32_t *of;                 /* the file's tensor */
    uint32_t n;
};

static void free_gguf(void *payload)
{
    struct gguf_suspect *s = payload;

    for (uint32_t i = 0; i < s->n; i++) {
        ww_free(s->places[i].name);
    }
    ww_free(s->places);
    ww_free(s->of);
    ww_gguf_close(&s->file);
    ww_free(s);
}

static enum ww_err unchanged(void *payload, struct ww_error *err)
{
    const struct gguf_suspect *s = payload;
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
static enum ww_err decode(const struct gguf_suspect *s, const struct ww_gguf_tensor *t,
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
        return WW_FAIL(err, WW_E_NONFINITE, "tensor '%s' of '%s' holds NaN or infinity",
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
    const struct gguf_suspect *s = payload;
    const struct ww_gguf_tensor *t = &s->file.header.tensors[s->of[tensor]];
    const uint64_t width = t->rank > 1 ? t->shape[t->rank - 1] : 1;
    struct room *room = ww_calloc(1, sizeof(*room));
    enum ww_err rc = room ? WW_OK : WW_FAIL_MEMORY(err, "a block");

    for (size_t done = 0; done < n && !rc;) {
        const uint64_t row = (first + done) / width;
        const uint64_t column = (first + done) % width;
        size_t part = n - done;
        uint64_t at = first + done;
        if (s->places[tensor].heads) {
            at = ww_gguf_row(&s->places[tensor], t->shape[0], row) * width + column;
            part = (size_t)ww_min_u64(part, width - column);
        }
        rc = decode(s, t, at, &part, room, out, done, err);
        done += part;
    }
    ww_free(room);
    return rc;
}

/* Those that have a name of transformers, as F32 tensors of a model. */
static enum ww_err show(struct gguf_suspect *s, struct ww_tensor *tensors,
                        uint32_t *n_unknown, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < s->file.header.n_tensors && !rc; i++) {
        const struct ww_gguf_tensor *from = &s->file.header.tensors[i];
        struct ww_tensor *to = &tensors[s->n];
        struct ww_gguf_place place;
        rc = ww_gguf_place_of(&s->file.header, from, s->file.name, &place, err);
        if (rc || !place.name) {
            *n_unknown += rc ? 0 : 1;
            continue;
        }
        *to = (struct ww_tensor){.name = place.name,
                                 .dtype = from->type == WW_GGUF_BF16  ? WW_DTYPE_BF16
                                          : from->type == WW_GGUF_F16 ? WW_DTYPE_F16
                                                                      : WW_DTYPE_F32,
                                 .rank = from->rank,
                                 .n_elements = from->n_elements,
                                 .n_bytes = from->n_bytes,
                                 .offset = from->offset};
        memcpy(to->shape, from->shape, sizeof(from->shape));
        s->places[s->n] = place;
        s->of[s->n++] = i;
    }
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

static enum ww_err tell(const struct gguf_suspect *s, uint32_t n_unknown,
                        struct ww_disguise *out, struct ww_strlist *notes,
                        struct ww_error *err)
{
    char *types = types_of(&s->file.header);
    char *text = NULL;
    enum ww_err rc = WW_OK;

    out->undone = types ? ww_asprintf("a GGUF file of %s, decoded", types) : NULL;
    ww_free(types);
    if (!out->undone) {
        return WW_FAIL_MEMORY(err, "a GGUF file");
    }
    if (n_unknown > 0) {
        text = ww_asprintf("%" PRIu32 " tensors of the GGUF file have no counterpart in "
                           "transformers that is known, or rows in an unknown order, "
                           "or gains that a converter changes, and are not compared",
                           n_unknown);
        rc = text ? ww_strlist_add(notes, text, err) : WW_FAIL_MEMORY(err, "a note");
    }
    ww_free(text);
    return rc;
}

enum ww_err ww_disguise_gguf(const char *path, struct ww_disguise *out,
                             struct ww_strlist *notes, struct ww_error *err)
{
    struct gguf_suspect *s = ww_calloc(1, sizeof(*s));
    struct ww_tensor *tensors = NULL;
    uint32_t n_unknown = 0;
    enum ww_err rc = WW_OK;

    if (!s) {
        return WW_FAIL_MEMORY(err, "a GGUF file");
    }
    s->file.fd = -1;
    out->payload = s;
    out->free = free_gguf;
    out->read = read_gguf;
    out->cells = true;
    out->searched = true;
    out->unchanged = unchanged;
    rc = ww_gguf_open(path, &s->file, err);
    if (rc) {
        return rc;
    }
    tensors = ww_calloc(s->file.header.n_tensors, sizeof(*tensors));
    s->places = ww_calloc(s->file.header.n_tensors, sizeof(*s->places));
    s->of = ww_calloc(s->file.header.n_tensors, sizeof(*s->of));
    if (!tensors || !s->places || !s->of) {
        rc = WW_FAIL_MEMORY(err, "a GGUF file");
    }
    if (!rc) {
        rc = show(s, tensors, &n_unknown, err);
    }
    if (!rc) {
        rc = ww_model_shown(path, tensors, s->n, &out->model, err);
    }
    if (!rc) {
        rc = tell(s, n_unknown, out, notes, err);
    }
    ww_free(tensors);
    return rc;
}
