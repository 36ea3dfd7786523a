/* SPDX-License-Identifier: Apache-2.0 */
/* Files to seal, to open and to copy, and the executor's plan for them. */
#ifndef WW_SEAL_PLAN_H
#define WW_SEAL_PLAN_H

#include "seal/seal_chunk.h"

enum ww_seal_action { WW_SEAL_COPY, WW_SEAL_CLOSE, WW_SEAL_OPEN };

#define WW_SEAL_PIECES 5

/** One file; what it points to is its own, but for `clear` of a file to be sealed. */
struct ww_seal_item {
    enum ww_seal_action action;
    char *from; /* in the input folder */
    char *to;   /* in the output folder */
    int fd;
    uint64_t size_bytes; /* of the input */
    struct ww_seal_head head;
    const uint8_t *clear;
    uint8_t *own_clear; /* to be freed */
    struct ww_buf begin;
    uint8_t tail[8 + WW_SEAL_HEAD_TAG_BYTES]; /* padding, head tag */
    size_t tail_bytes;
    struct ww_secret *key;
    struct ww_seal_piece full;
    struct ww_seal_piece last;
    struct ww_piece_source sources[3];
};

struct ww_seal_items {
    struct ww_seal_item **items; /* inputs and outputs of the plan, in this order */
    size_t n;
    size_t capacity;
};

/** A new item, all-zero but for its strings and descriptor; owned by the list. */
enum ww_err ww_seal_items_add(struct ww_seal_items *list, enum ww_seal_action action,
                              const char *from, const char *to, struct ww_seal_item **out,
                              struct ww_error *err) WW_MUST_USE;
void ww_seal_items_release(struct ww_seal_items *list);

/** Head, key and tag of a file to be sealed, once head and clear are set. */
enum ww_err ww_seal_item_close(struct ww_seal_item *item, struct ww_secret *prk,
                               struct ww_error *err) WW_MUST_USE;
/** Read and check the head of a sealed file: fd and size_bytes are set. WW_E_SEALED when
 *  it is malformed or not the head that the content key belongs to. */
enum ww_err ww_seal_item_open(struct ww_seal_item *item, struct ww_secret *prk,
                              struct ww_error *err) WW_MUST_USE;

struct ww_seal_plan {
    struct ww_plan plan;
    struct ww_piece *pieces;
};
/** The items are borrowed until release. */
enum ww_err ww_seal_plan_init(struct ww_seal_plan *plan, const struct ww_seal_items *list,
                              const char *title, struct ww_error *err) WW_MUST_USE;
void ww_seal_plan_release(struct ww_seal_plan *plan);

#endif
