/* SPDX-License-Identifier: Apache-2.0 */
/**
 * What is served: a verified recipe, its members as they were found, and panels to ask
 * them. Panels are made when they are first needed and kept.
 */
#ifndef WW_SERVE_SERVED_H
#define WW_SERVE_SERVED_H

#include <pthread.h>
#include <stdatomic.h>

#include "crypto/hash.h"
#include "evo/fusion.h"
#include "evo/permits.h"
#include "serve/bearer.h"
#include "serve/panel.h"
#include "serve/question.h"
#include "weightward/serve.h"

#define WW_SERVE_ANSWERS 64
#define WW_SERVE_MAX_ANSWERS 1024

struct ww_served {
    const struct ww_serve_options *options;
    const char *model;
    char signer[2 * WW_SHA256_BYTES + 1]; /* hint of the key that signed the recipe */
    const char *end;                      /* text that stands for the end token */
    int64_t created;
    struct ww_fusion fusion;
    struct ww_members pool; /* as the pool file has them; k 0: none */
    struct ww_chat_template chat;
    struct ww_permits *permits; /* of the members; NULL: there are none */
    struct ww_bearers bearers;
    struct ww_member *member;      /* [fusion.k] */
    struct ww_member_facts *facts; /* [fusion.k], as they were found at the start */
    struct ww_rule rule;           /* over the members that are asked, */
    uint32_t first;                /* which begin here */
    atomic_uint changed;           /* member behind which another model stands now, */
                                   /* from 1; 0: none */
    struct ww_endpoint_options endpoint;
    pthread_mutex_t lock;
    struct ww_panel **idle; /* [answers] */
    unsigned n_idle, n_panels, answers;
    volatile bool cancel; /* ends what runs */
    atomic_bool stopping; /* nothing new */
    atomic_uint running;  /* requests */
    atomic_ullong requests, done, failures, tokens;
};

/** All that can be refused before a port is open. Borrows options. */
enum ww_err ww_served_open(const struct ww_serve_options *options, struct ww_served *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_served_close(struct ww_served *served);

/** Do the members' permits allow it now? Cheap: asked for every request. WW_E_DENIED. */
enum ww_err ww_served_allow(const struct ww_served *served,
                            struct ww_error *err) WW_MUST_USE;

/** A panel for one answer; *out NULL when all are at work. */
enum ww_err ww_served_take(struct ww_served *served, struct ww_panel **out,
                           struct ww_error *err) WW_MUST_USE;
void ww_served_give(struct ww_served *served, struct ww_panel *panel);

#endif
