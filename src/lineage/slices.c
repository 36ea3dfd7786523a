/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/slices.h"

#include <pthread.h>
#include <stdbool.h>

#define MAX_THREADS 16

struct slice {
    ww_slice_fn run;
    void *payload;
    size_t from;
    size_t to;
};

static void *work(void *given)
{
    const struct slice *s = given;
    s->run(s->payload, s->from, s->to);
    return NULL;
}

void ww_slices(unsigned threads, size_t n, size_t multiple, ww_slice_fn run,
               void *payload)
{
    struct slice slices[MAX_THREADS];
    pthread_t ids[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    const size_t most = threads < 1 ? 1 : threads < MAX_THREADS ? threads : MAX_THREADS;
    const size_t steps = (n + multiple - 1) / multiple;
    const size_t each = (steps + most - 1) / most * multiple;
    size_t count = 0;

    for (size_t from = 0; from < n; from += each) {
        slices[count++] =
            (struct slice){run, payload, from, from + each < n ? from + each : n};
    }
    for (size_t i = 1; i < count; i++) {
        started[i] = pthread_create(&ids[i], NULL, work, &slices[i]) == 0;
    }
    for (size_t i = 0; i < count; i++) {
        if (!started[i]) {
            (void)work(&slices[i]);
        }
    }
    for (size_t i = 1; i < count; i++) {
        if (started[i]) {
            pthread_join(ids[i], NULL);
        }
    }
}
