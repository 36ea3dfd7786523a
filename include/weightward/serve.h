/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A pool of models as one model: a signed fusion recipe served behind the interface that
 * OpenAI's clients speak (/v1/completions, /v1/chat/completions, /v1/models).
 */
#ifndef WEIGHTWARD_SERVE_H
#define WEIGHTWARD_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ww_serve_options {
    const char *recipe;     /* signed fusion recipe */
    const char *public_key; /* of its signer, SPKI PEM path */
    const char *listen;     /* "HOST:PORT", numeric; port 0: any; NULL: 127.0.0.1:8600 */
    const char *keys;       /* file of Bearer keys; NULL: none, and this machine alone */
    const char *pool;       /* members' keys, certificates and the chat template; NULL */
    const char *model;      /* name that clients ask for; NULL: "fusion" */
    unsigned answers;       /* at once; 0: 64; at most 1024 */
    double canary_seconds;  /* between two looks at the members; 0: 60; negative: none */
    /** Called while serving, about every 50 ms; true: accept nothing more, finish what
     *  runs and return. */
    bool (*stop)(void *payload);
    /** Once, when it listens; where. May be NULL. */
    void (*ready)(void *payload, const char *address);
    /** A line about what failed, from any thread. May be NULL. */
    void (*say)(void *payload, const char *line);
    void *payload;
};

struct ww_serve_report {
    uint64_t requests; /* all, refused ones too */
    uint64_t answers;  /* that came to their end */
    uint64_t failures; /* answers that members or limits ended */
    uint64_t tokens;
};

/**
 * Verifies the recipe, asks every member for its canary, then listens until stop says so.
 * While it serves it asks for the canaries again: behind a changed one it answers nothing
 * more (status 503, also of /health).
 * WW_E_NOT_SIGNED, WW_E_SIGNATURE, WW_E_UNTRUSTED for the recipe; WW_E_CHANGED when
 * another model stands behind a member's name; WW_E_DENIED for a permit that is missing
 * or another one; WW_E_KEY_ACCESS; WW_E_USAGE also for listening to other machines
 * without keys; WW_E_IO when the address is taken.
 */
WW_API enum ww_err ww_serve(const struct ww_serve_options *options,
                            struct ww_serve_report *report,
                            struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
