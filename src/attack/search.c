/* SPDX-License-Identifier: Apache-2.0 */
#include "attack/search.h"

#include "la/la.h"
#include "util/fail.h"

/* Cosine of the columns that show a residual stream, so that strangers are told before
 * everything else is compared. */
#define LEAST_FRAME 0.5

/* The steps of each mode, in order. */
typedef enum ww_err (*step_fn)(struct ww_pair *pair, struct ww_error *err);

static enum ww_err neurons_signed(struct ww_pair *pair, struct ww_error *err)
{
    return ww_find_neurons(pair, true, err);
}

static enum ww_err neurons_ordered(struct ww_pair *pair, struct ww_error *err)
{
    return ww_find_neurons(pair, false, err);
}

#define ALIGNED (1U << WW_ATTACK_JOINT | 1U << WW_ATTACK_INVARIANT)

static const struct step {
    step_fn run;
    unsigned modes;
} steps[] = {
    {ww_find_frames, ALIGNED},          {ww_find_latents, ALIGNED},
    {ww_find_heads, ALIGNED},           {ww_find_inner, ALIGNED},
    {ww_find_experts, ALIGNED},         {neurons_signed, ALIGNED},
    {ww_find_aga, 1U << WW_ATTACK_AGA}, {neurons_ordered, 1U << WW_ATTACK_AGA},
};

bool ww_attack_aligns(enum ww_attack_mode mode)
{
    return (ALIGNED & 1U << mode) != 0;
}

enum ww_err ww_attack_search(struct ww_pair *pair, enum ww_attack_mode mode,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < WW_LEN(steps) && !rc && pair->frame_cosine >= LEAST_FRAME;
         i++) {
        if (steps[i].modes & 1U << mode) {
            rc = ww_la_ready(err);
            rc = rc ? rc : steps[i].run(pair, err);
        }
    }
    return rc;
}

struct ww_kinship ww_attack_kinship(const struct ww_pair *pair)
{
    if (pair->frame_cosine < LEAST_FRAME) {
        return (struct ww_kinship){"coordinates of the residual stream",
                                   pair->frame_cosine, LEAST_FRAME};
    }
    return (struct ww_kinship){"heads and neurons", ww_likeness_cosine(&pair->like),
                               WW_ATTACK_LEAST_COSINE};
}

bool ww_attack_related(const struct ww_pair *pair)
{
    const struct ww_kinship kinship = ww_attack_kinship(pair);

    return kinship.cosine >= kinship.least;
}

bool ww_attack_is_grave(enum ww_err rc)
{
    return rc == WW_E_NOMEM || rc == WW_E_CANCELLED || rc == WW_E_IO ||
           rc == WW_E_CHANGED || rc == WW_E_LIBRARY || rc == WW_E_INTERNAL;
}

struct ww_attack_job ww_attack_job_of(const struct ww_pair *pair)
{
    return (struct ww_attack_job){
        .pair = pair,
        .lock = {.gauge = &pair->gauge, .inverse = true},
        .dense = {.gauge = &pair->gauge, .source = &pair->source, .inverse = true}};
}
