/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Canaries are compared with what was found at the start, where they had the recipe's
 * digest: with the tolerance that servers need which batch. One that differs is asked for
 * twice more before it counts.
 */
#include "serve/watch.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/fail.h"

#define SLICE_NS 50000000L
#define LOOKS 3

static bool is_other(struct ww_served *s, uint32_t i)
{
    struct ww_endpoint *e = NULL;
    struct ww_error ignored = {0};
    bool same = false;
    bool exact = false;
    enum ww_err rc = ww_endpoint_open(&s->member[i], &s->endpoint, &e, &ignored);
    for (int n = 0; n < LOOKS && !rc && !same; n++) {
        rc = ww_probe_canary(e, &s->member[i], &s->facts[i], s->fusion.top, &same, &exact,
                             &ignored);
    }
    ww_endpoint_free(e);
    return !rc && !same;
}

/* One look: served->changed is set to the first member, from 1, behind which another
 * model stands. One that cannot be asked now is no other model: answers fail by
 * themselves then. */
static void look(struct ww_served *served)
{
    char line[512];
    for (uint32_t i = 0; i < served->rule.k && !served->cancel; i++) {
        const uint32_t member = served->first + i;
        if (atomic_load(&served->changed) || !is_other(served, member)) {
            continue;
        }
        atomic_store(&served->changed, member + 1);
        (void)snprintf(
            line, sizeof(line),
            "another model stands behind member '%.100s' now: the pool answers "
            "no more; fit it again",
            served->member[member].name);
        if (served->options->say) {
            served->options->say(served->options->payload, line);
        }
    }
}

static void *watch(void *payload)
{
    struct ww_watch *w = payload;
    const struct timespec slice = {0, SLICE_NS};
    const double slices = w->seconds * 1e9 / (double)SLICE_NS;
    while (!atomic_load(&w->ended)) {
        for (double n = 0; n < slices && !atomic_load(&w->ended); n++) {
            (void)nanosleep(&slice, NULL);
        }
        if (!atomic_load(&w->ended)) {
            look(w->served);
        }
    }
    return NULL;
}

enum ww_err ww_watch_start(struct ww_watch *w, struct ww_served *served, double seconds,
                           struct ww_error *err)
{
    memset(w, 0, sizeof(*w));
    w->served = served;
    w->seconds = seconds > 0 ? seconds : WW_WATCH_SECONDS;
    if (seconds < 0) {
        return WW_OK;
    }
    const int e = pthread_create(&w->thread, NULL, watch, w);
    w->started = e == 0;
    return e ? WW_FAIL_SYS(err, WW_E_NOMEM, e, "cannot start a thread") : WW_OK;
}

void ww_watch_end(struct ww_watch *w)
{
    atomic_store(&w->ended, true);
    if (w->started) {
        (void)pthread_join(w->thread, NULL);
        w->started = false;
    }
}
