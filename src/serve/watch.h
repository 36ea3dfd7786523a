/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A thread that asks the members for their canaries while a pool is served. A pool is the
 * models that were fitted; with another one behind a name it is no pool that anybody
 * signed, so it answers no more.
 */
#ifndef WW_SERVE_WATCH_H
#define WW_SERVE_WATCH_H

#include "serve/served.h"

#define WW_WATCH_SECONDS 60

struct ww_watch {
    struct ww_served *served;
    double seconds; /* between two looks */
    pthread_t thread;
    bool started;
    atomic_bool ended;
};

/** seconds 0: WW_WATCH_SECONDS; negative: nothing is watched. Borrows served. */
enum ww_err ww_watch_start(struct ww_watch *watch, struct ww_served *served,
                           double seconds, struct ww_error *err) WW_MUST_USE;
/** After served->cancel is set, so that nothing is waited for. */
void ww_watch_end(struct ww_watch *watch);

#endif
