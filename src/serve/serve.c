/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verify, listen and watch, wait, stop. Stopping goes in three steps: nobody new comes
 * in, what runs is finished, and what does not finish in the time of the longest answer
 * is ended.
 */
#include <string.h>
#include <time.h>

#include "serve/fused_answer.h"
#include "serve/door.h"
#include "serve/served.h"
#include "serve/watch.h"
#include "util/fail.h"

#define LISTEN "127.0.0.1:8600"
#define SLICE_NS 50000000L

static void sleep_slice(void)
{
    const struct timespec slice = {0, SLICE_NS};
    (void)nanosleep(&slice, NULL);
}

static void finish_running(struct ww_served *served)
{
    const unsigned most = WW_ANSWER_SECONDS * (unsigned)(1000000000L / SLICE_NS);
    for (unsigned n = 0; atomic_load(&served->running) && n < most; n++) {
        sleep_slice();
    }
    served->cancel = true;
}

static enum ww_err check(const struct ww_serve_options *o, const char *listen,
                         struct ww_error *err)
{
    bool here = false;
    if (!o->stop || !o->recipe || !o->public_key) {
        return WW_FAIL(err, WW_E_USAGE,
                       "a recipe, its signer's key and 'stop' are needed");
    }
    if (o->answers > WW_SERVE_MAX_ANSWERS) {
        return WW_FAIL(err, WW_E_USAGE, "%u answers at once, at most %d", o->answers,
                       WW_SERVE_MAX_ANSWERS);
    }
    const enum ww_err rc = ww_door_address(listen, &here, err);
    if (!rc && !here && !o->keys) {
        return WW_FAIL(
            err, WW_E_USAGE,
            "'%s' is open to other machines: give a file of keys, or listen at "
            "127.0.0.1",
            listen);
    }
    return rc;
}

enum ww_err ww_serve(const struct ww_serve_options *options,
                     struct ww_serve_report *report, struct ww_error *err)
{
    const char *listen = options->listen ? options->listen : LISTEN;
    struct ww_served served;
    struct ww_door *door = NULL;
    struct ww_watch watch = {0};
    memset(report, 0, sizeof(*report));
    enum ww_err rc = check(options, listen, err);
    if (rc) {
        return rc;
    }
    rc = ww_served_open(options, &served, err);
    if (rc) {
        return rc;
    }
    rc = ww_door_open(&served, listen, &door, err);
    if (rc) {
        goto out;
    }
    rc = ww_watch_start(&watch, &served, options->canary_seconds, err);
    if (rc) {
        goto out;
    }
    if (options->ready) {
        options->ready(options->payload, ww_door_where(door));
    }
    while (!options->stop(options->payload)) {
        sleep_slice();
    }
    atomic_store(&served.stopping, true);
    ww_door_shut(door);
    finish_running(&served);
out:
    served.cancel = true;
    ww_watch_end(&watch);
    ww_door_free(door);
    report->requests = atomic_load(&served.requests);
    report->answers = atomic_load(&served.done);
    report->failures = atomic_load(&served.failures);
    report->tokens = atomic_load(&served.tokens);
    ww_served_close(&served);
    return rc;
}
