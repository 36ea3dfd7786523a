/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors on threads, one thread a tensor, large ones first. What is kept per tensor is
 * the same for any number of threads, and so is the error that is told. */
#ifndef WW_LINEAGE_PER_TENSOR_H
#define WW_LINEAGE_PER_TENSOR_H

#include "weightward/run.h"

#define WW_PER_TENSOR_THREADS 16

struct ww_per_tensor;

/** thread: 0 .. n_threads - 1, for room of the thread's own. */
typedef enum ww_err (*ww_per_tensor_fn)(void *payload, struct ww_per_tensor *crew,
                                        unsigned thread, uint32_t tensor,
                                        struct ww_error *err);

struct ww_per_tensor_job {
    const char *phase;
    const struct ww_run_options *run;
    const uint64_t *sizes; /* [n]; 0: left out */
    uint32_t n;
    uint64_t total_bytes; /* for progress */
    ww_per_tensor_fn visit;
    void *payload;
};

unsigned ww_per_tensor_threads(const struct ww_run_options *run);
enum ww_err ww_per_tensor_run(const struct ww_per_tensor_job *job, uint64_t *bytes_read,
                              struct ww_error *err) WW_MUST_USE;
/** To be called now and then: WW_E_CANCELLED ends the job. */
enum ww_err ww_per_tensor_progress(struct ww_per_tensor *crew, uint64_t bytes,
                                   struct ww_error *err) WW_MUST_USE;

#endif
