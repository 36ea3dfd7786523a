/* SPDX-License-Identifier: Apache-2.0 */
/**
 * A request that is answered, without the connection: what to send, or why not.
 */
#ifndef WW_SERVE_REPLY_H
#define WW_SERVE_REPLY_H

#include "serve/fused_answer.h"
#include "serve/served.h"
#include "serve/shape.h"

struct ww_refusal {
    unsigned status;
    const char *type, *code; /* as clients know them */
    char text[WW_ERROR_TEXT_BYTES];
};

struct ww_reply {
    struct ww_served *served;
    struct ww_question question;
    struct ww_answer answer;
    struct ww_shape shape;
    struct ww_panel *panel;
    struct ww_buf out; /* to be sent */
    size_t sent;       /* of it; the caller's */
    bool over;         /* nothing comes behind out */
};

/** Answer a body: whole, or of a stream the first event. False: refused. Release it
 *  either way. */
bool ww_reply_begin(struct ww_reply *reply, struct ww_served *served, const uint8_t *body,
                    size_t len, bool chat, struct ww_refusal *refusal);
/** The next events of a stream to out; a failure is one, and the last. */
void ww_reply_more(struct ww_reply *reply);
void ww_reply_release(struct ww_reply *reply);

void ww_refuse(struct ww_refusal *refusal, unsigned status, const char *type,
               const char *code, const char *text);

#endif
