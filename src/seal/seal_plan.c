/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sealed file is its head in memory and two kernel pieces: all chunks but the last, and
 * the last. The executor does the rest as for a lock: reading ahead, threads, digests of
 * source and output, durable writing.
 */
#include "seal/seal_plan.h"

#include <string.h>
#include <unistd.h>

#include "crypto/aead.h"
#include "seal/seal_keys.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static void item_free(struct ww_seal_item *item)
{
    if (item) {
        if (item->fd >= 0) {
            close(item->fd);
        }
        ww_free(item->from);
        ww_free(item->to);
        ww_free(item->own_clear);
        ww_buf_release(&item->begin);
        ww_secret_free(item->key);
        ww_free(item);
    }
}

enum ww_err ww_seal_items_add(struct ww_seal_items *list, enum ww_seal_action action,
                              const char *from, const char *to, struct ww_seal_item **out,
                              struct ww_error *err)
{
    struct ww_seal_item *item = NULL;

    if (list->n == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 16;
        void *grown = ww_realloc_array(list->items, capacity, sizeof(*list->items));
        if (!grown) {
            return WW_FAIL_MEMORY(err, "a list of files");
        }
        list->items = grown;
        list->capacity = capacity;
    }
    item = ww_calloc(1, sizeof(*item));
    if (!item) {
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    item->action = action;
    item->fd = -1;
    ww_buf_init(&item->begin, WW_SEAL_FIXED_BYTES + WW_SEAL_MAX_NAME);
    item->from = ww_strdup(from);
    item->to = ww_strdup(to);
    if (!item->from || !item->to) {
        item_free(item);
        return WW_FAIL_MEMORY(err, "a list of files");
    }
    list->items[list->n++] = item;
    *out = item;
    return WW_OK;
}

void ww_seal_items_release(struct ww_seal_items *list)
{
    for (size_t i = 0; i < list->n; i++) {
        item_free(list->items[i]);
    }
    ww_free(list->items);
    memset(list, 0, sizeof(*list));
}

enum ww_err ww_seal_item_close(struct ww_seal_item *item, struct ww_secret *prk,
                               struct ww_error *err)
{
    const size_t padding = ww_seal_head_padding(&item->head);
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_sha256 *sha = NULL;
    enum ww_err rc = ww_seal_head_begin(&item->head, &item->begin, err);

    if (!rc) {
        rc = ww_sha256_new(&sha, err);
    }
    if (rc) {
        return rc;
    }
    ww_sha256_update(sha, item->begin.data, item->begin.len);
    ww_sha256_update(sha, item->clear, (size_t)item->head.clear_bytes);
    ww_sha256_update(sha, item->tail, padding); /* zeros so far */
    ww_sha256_final(sha, digest);
    ww_sha256_free(sha);
    item->tail_bytes = padding + WW_SEAL_HEAD_TAG_BYTES;
    return ww_seal_file_key(prk, digest, &item->key, item->tail + padding, err);
}

/* Fields 1 to 12 of the file, to be freed. */
static enum ww_err read_head(struct ww_seal_item *item, uint8_t **out, uint64_t *len,
                             struct ww_error *err)
{
    uint8_t fixed[WW_SEAL_FIXED_BYTES];
    uint64_t need = 0;
    uint8_t *bytes = NULL;
    enum ww_err rc =
        ww_seal_head_parse(NULL, 0, item->size_bytes, &item->head, &need, err);

    *out = NULL;
    if (!rc) {
        rc = ww_pread_full(item->fd, fixed, sizeof(fixed), 0, item->from, err);
    }
    if (!rc) {
        rc = ww_seal_head_parse(fixed, sizeof(fixed), item->size_bytes, &item->head,
                                &need, err);
    }
    if (rc) {
        return rc;
    }
    bytes = ww_calloc(1, (size_t)need);
    if (!bytes) {
        return WW_FAIL_MEMORY(err, "the head of '%s'", item->from);
    }
    rc = ww_pread_full(item->fd, bytes, (size_t)need, 0, item->from, err);
    if (!rc) {
        rc = ww_seal_head_parse(bytes, need, item->size_bytes, &item->head, len, err);
    }
    if (rc) {
        ww_free(bytes);
        return rc;
    }
    *out = bytes;
    return WW_OK;
}

enum ww_err ww_seal_item_open(struct ww_seal_item *item, struct ww_secret *prk,
                              struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    uint8_t tag[WW_SEAL_HEAD_TAG_BYTES];
    uint64_t len = 0;
    enum ww_err rc = read_head(item, &item->own_clear, &len, err);

    if (rc) {
        ww_error_context(err, "sealed file '%s'", item->from);
        return rc;
    }
    const size_t signed_bytes = (size_t)len - WW_SEAL_HEAD_TAG_BYTES;
    item->clear = item->own_clear + ww_seal_clear_offset(&item->head);
    ww_sha256_of(item->own_clear, signed_bytes, digest);
    rc = ww_seal_file_key(prk, digest, &item->key, tag, err);
    if (!rc && !ww_bytes_equal(tag, item->own_clear + signed_bytes, sizeof(tag))) {
        rc = WW_FAIL(err, WW_E_SEALED,
                     "sealed file '%s': its head was altered, or it belongs to another "
                     "sealed model",
                     item->from);
    }
    return rc;
}

static struct ww_piece bytes_piece(const uint8_t *bytes, uint64_t n)
{
    return (struct ww_piece){
        .kind = WW_PIECE_BYTES, .n_bytes = n, .bytes = bytes, .tree_index = WW_NONE};
}

/* What decides the bytes beside the plan: head and key are one value with the head tag.
 */
static struct ww_piece chunk_piece(struct ww_seal_item *item,
                                   struct ww_seal_piece *params, uint64_t first,
                                   uint64_t n_rows, uint64_t plain_bytes,
                                   struct ww_piece_source *source, const uint8_t *tag)
{
    const bool opening = item->action == WW_SEAL_OPEN;
    const uint64_t sealed_bytes = plain_bytes + WW_AEAD_TAG_BYTES;
    const uint64_t row_bytes = opening ? plain_bytes : sealed_bytes;
    struct ww_piece piece = {.kind = WW_PIECE_KERNEL,
                             .n_bytes = n_rows * row_bytes,
                             .n_sources = 1,
                             .sources = source,
                             .n_rows = n_rows,
                             .row_bytes = row_bytes,
                             .source_row_bytes = opening ? sealed_bytes : plain_bytes,
                             .kernel = opening ? &ww_unseal_kernel : &ww_seal_kernel,
                             .params = params,
                             .tree_index = WW_NONE};

    *params = (struct ww_seal_piece){&item->head, item->key, first};
    memcpy(piece.params_digest, tag, WW_SEAL_HEAD_TAG_BYTES);
    return piece;
}

static void plan_chunks(struct ww_seal_item *item, uint64_t begin, uint64_t stride,
                        const uint8_t *tag, struct ww_output *output)
{
    const struct ww_seal_head *head = &item->head;
    const uint64_t n = ww_seal_n_chunks(head);

    if (n > 1) {
        item->sources[1].offset = begin;
        output->pieces[output->n_pieces++] = chunk_piece(
            item, &item->full, 0, n - 1, head->chunk_bytes, &item->sources[1], tag);
    }
    if (n > 0) {
        item->sources[2].offset = begin + (n - 1) * stride;
        output->pieces[output->n_pieces++] =
            chunk_piece(item, &item->last, n - 1, 1, ww_seal_last_bytes(head),
                        &item->sources[2], tag);
    }
}

static void plan_close(struct ww_seal_item *item, struct ww_output *output)
{
    struct ww_piece *clear = &output->pieces[1];

    output->pieces[0] = bytes_piece(item->begin.data, item->begin.len);
    *clear = bytes_piece(item->clear, item->head.clear_bytes);
    clear->n_sources = 1;
    clear->sources = &item->sources[0];
    output->pieces[2] = bytes_piece(item->tail, item->tail_bytes);
    output->n_pieces = 3;
    output->size_bytes = ww_seal_file_bytes(&item->head);
    plan_chunks(item, item->head.clear_bytes, item->head.chunk_bytes,
                item->tail + item->tail_bytes - WW_SEAL_HEAD_TAG_BYTES, output);
}

static void plan_open(struct ww_seal_item *item, struct ww_output *output)
{
    output->pieces[0] = bytes_piece(item->clear, item->head.clear_bytes);
    output->n_pieces = 1;
    output->size_bytes = item->head.plain_bytes;
    plan_chunks(item, ww_seal_chunks_offset(&item->head),
                (uint64_t)item->head.chunk_bytes + WW_AEAD_TAG_BYTES,
                item->own_clear + ww_seal_head_bytes(&item->head), output);
}

static void plan_copy(struct ww_seal_item *item, struct ww_output *output)
{
    output->pieces[0] = (struct ww_piece){.kind = WW_PIECE_COPY,
                                          .n_bytes = item->size_bytes,
                                          .n_sources = 1,
                                          .sources = &item->sources[0],
                                          .tree_index = WW_NONE};
    output->n_pieces = 1;
    output->size_bytes = item->size_bytes;
}

static void plan_item(struct ww_seal_item *item, uint32_t i, struct ww_plan *plan,
                      struct ww_piece *pieces)
{
    struct ww_output *output = &plan->outputs[i];

    for (size_t s = 0; s < WW_LEN(item->sources); s++) {
        item->sources[s] = (struct ww_piece_source){i, 0};
    }
    plan->inputs[i] = (struct ww_input){item->from, item->fd, item->size_bytes,
                                        item->action == WW_SEAL_CLOSE};
    *output = (struct ww_output){item->to, 0, pieces, 0};
    switch (item->action) {
    case WW_SEAL_COPY:
        plan_copy(item, output);
        break;
    case WW_SEAL_CLOSE:
        plan_close(item, output);
        break;
    case WW_SEAL_OPEN:
        plan_open(item, output);
        break;
    }
}

enum ww_err ww_seal_plan_init(struct ww_seal_plan *plan, const struct ww_seal_items *list,
                              const char *title, struct ww_error *err)
{
    const uint32_t n = (uint32_t)list->n;

    memset(plan, 0, sizeof(*plan));
    plan->plan.title = title;
    plan->plan.n_inputs = n;
    plan->plan.n_outputs = n;
    plan->plan.inputs = ww_calloc(n, sizeof(*plan->plan.inputs));
    plan->plan.outputs = ww_calloc(n, sizeof(*plan->plan.outputs));
    plan->pieces = ww_calloc((size_t)n * WW_SEAL_PIECES, sizeof(*plan->pieces));
    if (!plan->plan.inputs || !plan->plan.outputs || !plan->pieces) {
        ww_seal_plan_release(plan);
        return WW_FAIL_MEMORY(err, "a plan");
    }
    for (uint32_t i = 0; i < n; i++) {
        plan_item(list->items[i], i, &plan->plan,
                  plan->pieces + (size_t)i * WW_SEAL_PIECES);
    }
    return WW_OK;
}

void ww_seal_plan_release(struct ww_seal_plan *plan)
{
    ww_free(plan->plan.inputs);
    ww_free(plan->plan.outputs);
    ww_free(plan->pieces);
    memset(plan, 0, sizeof(*plan));
}
