/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Its thread count belongs to the process; it is set to one before the first product,
 * because a pool inside every worker of ours would fight over the cores.
 */
#include "la/openblas.h"

#include <pthread.h>
#include <stdatomic.h>

#include "la/la_int.h"
#include "util/library.h"
#include "weightward/run.h"

#define NAME(name, symbol) #symbol,

struct ww_blas ww_blas;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The last: an inner name, in no header of OpenBLAS. */
static const char *const names[] = {WW_BLAS_FUNCTIONS(NAME) "blas_thread_shutdown_"};
static struct ww_library library = {
    .soname = WW_LIBOPENBLAS,
    .purpose = "products and decompositions of matrices",
    .names = names,
    .n = WW_LEN(names),
    .n_optional = 1,
    .functions = &ww_blas,
    .lock = PTHREAD_MUTEX_INITIALIZER,
};
WW_LIBRARY_NOTE(openblas_note, WW_LIBOPENBLAS, "matrices",
                "attack, extract, lineage, merges that decompose", "recommended");

static atomic_bool alone;

/* Threads that it starts when it is loaded spin before they sleep. */
static void one_thread(void)
{
    if (atomic_load(&alone) && ww_blas.shutdown) {
        ww_blas.shutdown();
    }
    ww_blas.set_threads(1);
}

enum ww_err ww_la_ready(struct ww_error *err)
{
    enum ww_err rc = ww_library_load(&library, err);

    if (!rc) {
        pthread_once(&once, one_thread);
    }
    return rc;
}

void ww_run_alone(void)
{
    atomic_store(&alone, true);
}

void ww_la_threads(unsigned n)
{
    const int wanted = n ? (int)n : 1;

    /* Others may multiply meanwhile, who read the number. */
    if (!ww_la_ready(NULL) && ww_blas.get_threads() != wanted) {
        ww_blas.set_threads(wanted);
    }
}
