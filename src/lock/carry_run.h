/* SPDX-License-Identifier: Apache-2.0 */
/* One adapter while it follows its base. Internal to carry_folder.c, which knows lock and
 * record, and carry_plan.c, which says what is written. */
#ifndef WW_LOCK_CARRY_RUN_H
#define WW_LOCK_CARRY_RUN_H

#include "lock/carry.h"
#include "lock/unlock_open.h"
#include "stream/out.h"
#include "stream/tree.h"

#define WW_CARRY_RECORD WW_ADAPTER_LOCK

/* Side files are copied; the weights are output 0. */
struct ww_carry_run {
    bool inverse;
    struct ww_adapter *adapter;
    struct ww_unlock base; /* the locked base with the key to it, whose gauge moves */
    uint8_t source_sha256[WW_SHA256_BYTES]; /* inverse: what must come out */
    struct ww_carry *carries;               /* one per adapter tensor */
    struct ww_plan plan;
    struct ww_piece *pieces;
    struct ww_piece_source *sources;
    uint32_t *order; /* tensors by name, */
    uint32_t *rank;  /* and the place of each */
    int *fds;        /* of side files */
    char **paths;    /* of outputs */
    struct ww_out *out;
    struct ww_stream_result result;
    char *out_name;
};

/** What is read, moved and written; the adapter, the base and the gauge are there. */
enum ww_err ww_carry_plan(struct ww_carry_run *run, struct ww_error *err) WW_MUST_USE;

#endif
