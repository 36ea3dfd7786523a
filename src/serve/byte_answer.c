/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer by bytes, for members with unlike tokenizers. A token that is shown is a
 * whole character: its bytes are taken one after the other, each from the pool's
 * distribution of bytes, and no member can be asked inside of a character, nor must it
 * be. Bytes that cannot go on with well-formed text are left out of the lists; their mass
 * counts as what no list shows.
 */
#include <string.h>

#include "evo/byte_walk.h"
#include "serve/fused_answer.h"
#include "util/alloc.h"
#include "util/fail.h"

struct way {
    struct ww_byte_walk walk;
    struct ww_scored *said; /* [room] what the walk looks at, by place */
    size_t room;
    size_t gone; /* places before it were released */
};

/* Of one member at one place. */
struct byte_list {
    uint8_t bytes[WW_BYTE_CHOICES];
    struct ww_said_token said[WW_BYTE_CHOICES];
    struct ww_span token[WW_BYTE_CHOICES];
    double logprob[WW_BYTE_CHOICES];
};

struct ww_byte_answer {
    uint32_t k;
    struct way *way;                             /* [k] */
    struct byte_list *list;                      /* [k] */
    uint8_t letters[WW_BYTE_CHOICES];            /* what the shown ones lie in */
    struct ww_fuse_token shown[WW_BYTE_CHOICES]; /* characters of one byte, and the end */
    uint32_t n_shown;
    uint8_t taken[4]; /* the character, which a stop may cut off the text */
};

void ww_byte_answer_free(struct ww_byte_answer *b)
{
    for (uint32_t m = 0; b && b->way && m < b->k; m++) {
        struct way *w = &b->way[m];
        ww_byte_walk_release(&w->walk);
        for (size_t p = w->gone; p < w->room; p++) {
            ww_scored_release(&w->said[p]);
        }
        ww_free(w->said);
    }
    if (b) {
        ww_free(b->way);
        ww_free(b->list);
        ww_free(b);
    }
}

enum ww_err ww_byte_answer_new(uint32_t k, const struct ww_member *member,
                               struct ww_byte_answer **out, struct ww_error *err)
{
    struct ww_byte_answer *b = ww_calloc(1, sizeof(*b));
    *out = b;
    if (b) {
        b->k = k;
        b->way = ww_calloc(k, sizeof(*b->way));
        b->list = ww_calloc(k, sizeof(*b->list));
    }
    if (!b || !b->way || !b->list) {
        return WW_FAIL_MEMORY(err, "an answer by bytes");
    }
    for (uint32_t m = 0; m < k; m++) {
        ww_byte_walk_begin(&b->way[m].walk, member[m].end);
    }
    return WW_OK;
}

static enum ww_err keep(struct way *w, size_t j, struct ww_scored *said,
                        struct ww_error *err)
{
    if (j >= w->room) {
        const size_t room = j + j / 2 + 64;
        struct ww_scored *grown = ww_realloc_array(w->said, room, sizeof(*grown));
        if (!grown) {
            return WW_FAIL_MEMORY(err, "an answer by bytes");
        }
        memset(grown + w->room, 0, (room - w->room) * sizeof(*grown));
        w->said = grown;
        w->room = room;
    }
    w->said[j] = *said;
    memset(said, 0, sizeof(*said));
    if (w->said[j].n != 1) {
        return WW_FAIL(err, WW_E_MALFORMED, "an answer is of another kind");
    }
    ww_byte_walk_told(&w->walk, j, &w->said[j].at[0]);
    for (; w->gone < ww_byte_walk_needs(&w->walk, j); w->gone++) {
        ww_scored_release(&w->said[w->gone]);
    }
    return WW_OK;
}

/* Ask those that have mass at the end of the text. */
static enum ww_err enter(struct ww_answer *a, struct ww_error *err)
{
    struct ww_byte_answer *b = a->bytes;
    const struct ww_span prompt = {a->question->prompt.data, a->question->prompt.len};
    const struct ww_span so_far = {a->text.data, a->text.len};
    bool wanted[WW_POOL_MAX_MEMBERS];
    bool any = false;
    enum ww_err rc = WW_OK;
    for (uint32_t m = 0; m < b->k && !rc; m++) {
        rc =
            ww_byte_walk_enter(&b->way[m].walk, so_far.data, so_far.len, &wanted[m], err);
        any = any || (!rc && wanted[m]);
    }
    if (rc || !any) {
        return rc;
    }
    rc = ww_panel_ask(a->panel, prompt, so_far, wanted, a->said, err);
    for (uint32_t m = 0; m < b->k && !rc; m++) {
        if (!wanted[m]) {
            continue;
        }
        if (!a->tokens && !a->prompt_tokens) {
            a->prompt_tokens = ww_answer_counted(a, m);
        }
        rc = keep(&b->way[m], so_far.len, &a->said[m], err);
    }
    for (uint32_t m = 0; m < b->k; m++) {
        ww_scored_release(&a->said[m]);
    }
    return rc;
}

/* A member's list, likeliest first, of what can go on with the text. */
static struct ww_fuse_list list_of(struct way *w, struct byte_list *l,
                                   const struct ww_buf *text)
{
    struct ww_fuse_list out = {.token = l->token, .logprob = l->logprob};
    double left = 0;
    ww_byte_walk_choose(&w->walk, text->data, text->len);
    const bool inside = ww_byte_inside(text->data, text->len) > 0;
    const size_t n = ww_byte_walk_list(&w->walk, l->bytes, l->said, &left);
    for (size_t i = 0; i < n; i++) {
        const struct ww_said_token *t = &l->said[i];
        if (t->bytes.len ? !ww_byte_fits(text->data, text->len, t->bytes.data[0])
                         : inside) {
            continue;
        }
        uint32_t at = out.n++;
        for (; at > 0 && l->logprob[at - 1] < t->logprob; at--) {
            l->token[at] = l->token[at - 1];
            l->logprob[at] = l->logprob[at - 1];
        }
        l->token[at] = t->bytes;
        l->logprob[at] = t->logprob;
    }
    return out;
}

static enum ww_err fuse(struct ww_answer *a, struct ww_error *err)
{
    struct ww_byte_answer *b = a->bytes;
    struct ww_fuse_list lists[WW_POOL_MAX_MEMBERS];
    for (uint32_t m = 0; m < b->k; m++) {
        lists[m] = list_of(&b->way[m], &b->list[m], &a->text);
    }
    enum ww_err rc = ww_fuse_next(&a->fuse, lists, err);
    if (!rc && !a->fuse.n) {
        rc = WW_FAIL(err, WW_E_UNSUPPORTED, "no member lists a byte that goes on");
    }
    return rc;
}

/* What a character could have been, as far as one byte says it. */
static void show(struct ww_answer *a)
{
    struct ww_byte_answer *b = a->bytes;
    b->n_shown = 0;
    for (uint32_t i = 0; i < a->fuse.n; i++) {
        const struct ww_fuse_token *t = &a->fuse.list[i];
        if (t->token.len && t->token.data[0] >= 0x80) {
            continue;
        }
        b->letters[b->n_shown] = t->token.len ? t->token.data[0] : 0;
        b->shown[b->n_shown] = *t;
        b->shown[b->n_shown].token.data = &b->letters[b->n_shown];
        b->n_shown++;
    }
    a->list = b->shown;
    a->n = b->n_shown;
}

enum ww_err ww_byte_answer_step(struct ww_answer *a, struct ww_error *err)
{
    const struct ww_question *q = a->question;
    const size_t from = a->text.len;
    double sum = 0;
    enum ww_err rc = WW_OK;
    do {
        rc = enter(a, err);
        rc = rc ? rc : fuse(a, err);
        if (rc) {
            return rc;
        }
        if (a->text.len == from) {
            show(a);
        }
        const uint32_t at =
            ww_fuse_draw(&a->fuse, q->temperature, q->top_p, ww_answer_draw(a));
        const struct ww_fuse_token *t = &a->fuse.list[at];
        sum += t->logprob;
        rc = ww_buf_add(&a->text, t->token.data, t->token.len, err);
        ww_fuse_take(&a->fuse, at);
    } while (!rc && ww_byte_inside(a->text.data, a->text.len) > 0);
    const size_t len = a->text.len - from;
    if (len > 0) {
        memcpy(a->bytes->taken, a->text.data + from, len);
    }
    a->taken = (struct ww_fuse_token){.token = {a->bytes->taken, len}, .logprob = sum};
    return rc;
}
