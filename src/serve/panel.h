/* SPDX-License-Identifier: Apache-2.0 */
/**
 * All members asked at once: one connection and one thread for each, so that a pool
 * answers as fast as its slowest member. One panel serves one answer at a time.
 */
#ifndef WW_SERVE_PANEL_H
#define WW_SERVE_PANEL_H

#include "evo/probe.h"

struct ww_panel;

struct ww_panel_options {
    const struct ww_member *member;      /* [k] */
    const struct ww_member_facts *facts; /* [k] */
    uint32_t k;
    uint32_t top;
    const struct ww_endpoint_options *endpoint;
};

/** Everything in options is borrowed. WW_E_KEY_ACCESS, WW_E_USAGE, WW_E_NOMEM. */
enum ww_err ww_panel_new(const struct ww_panel_options *options, struct ww_panel **out,
                         struct ww_error *err) WW_MUST_USE;
void ww_panel_free(struct ww_panel *panel);

/** What is to be asked of one member; runs in its thread, and alone may use its
 *  connection. */
typedef enum ww_err (*ww_panel_job)(void *payload, uint32_t member,
                                    struct ww_endpoint *endpoint, struct ww_error *err);

/** The job for every member at once; the failure of the first one that has one. */
enum ww_err ww_panel_run(struct ww_panel *panel, ww_panel_job job, void *payload,
                         struct ww_error *err) WW_MUST_USE;

/** What follows: out [k], of the wanted ones (NULL: of all). */
enum ww_err ww_panel_ask(struct ww_panel *panel, struct ww_span prompt,
                         struct ww_span so_far, const bool *wanted, struct ww_scored *out,
                         struct ww_error *err) WW_MUST_USE;

#endif
