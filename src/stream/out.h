/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the output folder in the making. */
#ifndef WW_STREAM_OUT_H
#define WW_STREAM_OUT_H

#include "stream/direct.h"
#include "stream/stream.h"

#define WW_OUT_JOURNAL ".weightward-journal"

struct ww_out {
    const struct ww_plan *plan; /* borrowed until the run is over */
    char *base;                 /* OUT, in its parent */
    char *partial;              /* OUT.partial */
    char *spare;                /* OUT.partial.journal: where it goes for the rename */
    int parent;
    int dirfd; /* of OUT.partial */
    bool direct;
    bool resumed;
    bool made;     /* OUT.partial is ours to remove */
    bool complete; /* the plan was run to its end */
    bool committed;
};

/** Text of the journal: label and plan digest. */
enum ww_err ww_out_journal_write(const struct ww_out *out,
                                 const uint8_t digest[WW_SHA256_BYTES],
                                 struct ww_error *err) WW_MUST_USE;
/** *ours: the folder holds this plan's journal, or nothing yet. */
enum ww_err ww_out_journal_match(const struct ww_out *out,
                                 const uint8_t digest[WW_SHA256_BYTES], bool *ours,
                                 struct ww_error *err) WW_MUST_USE;
/** Remove the journal beside OUT when it is one and there is no OUT.partial. */
void ww_out_journal_tidy(const struct ww_out *out);
/** Remove what is in the folder and in no plan: an earlier run's late files. */
enum ww_err ww_out_remove_strays(const struct ww_out *out,
                                 struct ww_error *err) WW_MUST_USE;

/** Create the file of an output with its folders. */
enum ww_err ww_out_open_file(struct ww_out *out, const struct ww_output *output,
                             struct ww_sink *sink, struct ww_error *err) WW_MUST_USE;

#endif
