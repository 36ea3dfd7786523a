/* SPDX-License-Identifier: Apache-2.0 */
/* The one JSON object that an evaluator prints. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "evo/evaluator.h"
#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"

static const struct ww_json_limits limits = {4u << 20, 4, WW_TRIAL_MAX_SCORES + 16,
                                             false};

void ww_trial_release(struct ww_trial *trial)
{
    if (trial) {
        ww_free(trial->scores);
        ww_free(trial->path);
        *trial = (struct ww_trial){0};
    }
}

static bool wrong(struct ww_trial *trial, const char *why)
{
    ww_free(trial->scores);
    trial->scores = NULL;
    trial->n = 0;
    snprintf(trial->why, sizeof(trial->why), "%s", why);
    return false;
}

/* The values in the order of the objectives, or of the list. */
static const struct ww_jnode *value_at(const struct ww_evaluator *evaluator,
                                       const struct ww_jnode *scores, uint32_t i,
                                       const struct ww_jnode *before)
{
    if (evaluator->n_objectives > 0) {
        return ww_jget(scores, evaluator->objectives[i]);
    }
    return before ? ww_jnext(before) : ww_jfirst(scores);
}

static bool read_many(const struct ww_evaluator *evaluator, const struct ww_jnode *scores,
                      struct ww_trial *trial)
{
    const bool named = evaluator->n_objectives > 0;
    const size_t n = ww_jsize(scores);
    const struct ww_jnode *at = NULL;
    if (ww_jtype(scores) != (named ? WW_J_OBJECT : WW_J_ARRAY)) {
        return wrong(trial, named ? "\"scores\" is not an object of named scores"
                                  : "\"scores\" is not a list");
    }
    if (n == 0 || n > WW_TRIAL_MAX_SCORES || (named && n != evaluator->n_objectives)) {
        return wrong(trial, named ? "\"scores\" does not have the objectives and nothing "
                                    "else"
                                  : "\"scores\" is empty or too long");
    }
    trial->scores = ww_calloc(n, sizeof(*trial->scores));
    if (!trial->scores) {
        return wrong(trial, "out of memory");
    }
    for (uint32_t i = 0; i < n; i++) {
        at = value_at(evaluator, scores, i, at);
        if (!ww_jdouble(at, &trial->scores[i]) || !isfinite(trial->scores[i])) {
            return wrong(trial, "a score is missing or no number");
        }
    }
    trial->n = (uint32_t)n;
    return true;
}

bool ww_evaluator_read(const struct ww_evaluator *evaluator, const uint8_t *text,
                       size_t len, struct ww_trial *trial)
{
    struct ww_json *json = NULL;
    struct ww_error err = {0};
    bool good = false;
    if (ww_json_parse(text, len, &limits, &json, &err) != WW_OK) {
        return wrong(trial, err.text);
    }
    const struct ww_jnode *root = ww_json_root(json);
    const struct ww_jnode *score = ww_jget(root, "score");
    const struct ww_jnode *scores = ww_jget(root, "scores");
    if ((score != NULL) == (scores != NULL)) {
        good = wrong(trial, "expected an object with either \"score\" or \"scores\"");
    } else if (scores) {
        good = read_many(evaluator, scores, trial);
    } else if (evaluator->n_objectives > 0) {
        good = wrong(trial, "expected \"scores\" with the objectives' names");
    } else {
        trial->scores = ww_calloc(1, sizeof(*trial->scores));
        trial->n = 1;
        good = trial->scores && ww_jdouble(score, trial->scores) &&
               isfinite(trial->scores[0]);
        good = good || wrong(trial, "\"score\" is no number");
    }
    ww_json_free(json);
    return good;
}
