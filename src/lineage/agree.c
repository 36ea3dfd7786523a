/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declared lineage against the weights. A recipe is replayed; where its masks are drawn
 * by chance, and of a card, the models are looked for in the weights. What could not be
 * looked at is "could not tell", never "disagrees".
 */
#include "lineage/agree.h"

#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/merge.h"
#include "weightward/model.h"

enum ww_err ww_agree_conclude(struct ww_agreeing *a, enum ww_lineage_agreement what,
                              const char *why, struct ww_error *err)
{
    a->report->agreement = what;
    ww_free(a->report->why);
    a->report->why = ww_strdup(why);
    return a->report->why ? WW_OK
                          : WW_FAIL_MEMORY(err, "a comparison with what is declared");
}

enum ww_err ww_agree_add(struct ww_agreeing *a, const char *name, bool found,
                         struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    struct ww_declared_source *grown =
        ww_realloc_array(r->declared, r->n_declared + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "a comparison with what is declared");
    }
    r->declared = grown;
    grown[r->n_declared] = (struct ww_declared_source){
        .name = ww_strdup(name), .found = found, .at = WW_DECLARED_NOWHERE};
    return grown[r->n_declared++].name
               ? WW_OK
               : WW_FAIL_MEMORY(err, "a comparison with what is declared");
}

/* Does the recipe make most of what the folder holds? Bits of the rest say nothing. */
static enum ww_err covers_most(const struct ww_agreeing *a, bool *most,
                               struct ww_error *err)
{
    struct ww_model *model = NULL;
    enum ww_err rc = ww_model_open(a->suspect, &model, err);

    *most = !rc && 2 * a->report->replay.tensors >= model->n_tensors;
    ww_model_close(model);
    return rc;
}

/* What bits say of a recipe. */
enum judged { OTHER_BITS, BETTER, IDLE, SAME_BITS, AS_GOOD, NEARLY };

static const struct {
    enum ww_lineage_agreement what;
    const char *why;
} judgements[] = {
    [OTHER_BITS] = {WW_LINEAGE_DISAGREES,
                    "the recipe in the folder does not give the suspect's bits"},
    [BETTER] = {WW_LINEAGE_DISAGREES,
                "the recipe in the folder gives more of the suspect's bits with a "
                "candidate in the place of one of its sources"},
    [IDLE] = {WW_LINEAGE_DISAGREES, "the recipe in the folder gives the suspect's bits "
                                    "as well without one of its sources"},
    [SAME_BITS] = {WW_LINEAGE_AGREES,
                   "the recipe in the folder gives the suspect's bits"},
    [AS_GOOD] = {WW_LINEAGE_AGREES,
                 "the recipe in the folder gives the suspect's bits, as it does with a "
                 "candidate in the place of one of its sources"},
    [NEARLY] = {WW_LINEAGE_UNTOLD,
                "the recipe in the folder gives nearly as many of the suspect's bits "
                "with a candidate in the place of one of its sources"},
};

/* A source that changes nothing is declared and not observed. Another model in the place
 * of one gives a second recipe: where both give all bits the declared one is as true. */
static enum judged judge(const struct ww_replay_report *r)
{
    bool idle = false;
    bool better = false;
    bool alike = false;

    for (size_t c = 0; c < r->n_controls; c++) {
        const struct ww_replay_control *other = &r->controls[c];
        const bool near = 1 - other->match <= WW_REPLAY_TIMES_WORSE * (1 - r->match);
        idle |= near && !other->control;
        better |= near && other->control && other->match > r->match;
        alike |= near && other->control;
    }
    if (better) {
        return BETTER;
    }
    if (r->match < WW_REPLAY_SUPPORTED) {
        return OTHER_BITS;
    }
    if (idle) {
        return IDLE;
    }
    return !alike ? SAME_BITS : r->match >= 1 ? AS_GOOD : NEARLY;
}

/* The recipe that lies in the folder, replayed. */
static enum ww_err replay(struct ww_agreeing *a, struct ww_error *err)
{
    struct ww_verify_lineage_report *r = a->report;
    enum judged judged = OTHER_BITS;
    bool most = true;
    char *path = ww_path_join(a->suspect, WW_MERGE_RECIPE_FILE);
    const struct ww_replay_options options = {.recipe = path,
                                              .controls = a->options->candidates,
                                              .n_controls = a->options->n_candidates,
                                              .names = a->options->names,
                                              .n_names = a->options->n_names,
                                              .seed = a->options->seed,
                                              .run = a->options->run};
    enum ww_err rc = path ? ww_lineage_replay(a->suspect, &options, &r->replay, err)
                          : WW_FAIL_MEMORY(err, "a comparison with what is declared");

    ww_free(path);
    r->has_replay = rc == WW_OK;
    if (rc == WW_E_NOTFOUND || rc == WW_E_UNSUPPORTED || rc == WW_E_RULE) {
        return ww_agree_conclude(a, WW_LINEAGE_UNTOLD, err->text, err);
    }
    if (rc == WW_E_UNRELATED) {
        return ww_agree_conclude(a, WW_LINEAGE_DISAGREES, err->text, err);
    }
    if (rc) {
        return rc;
    }
    for (size_t c = 0; c < r->replay.n_controls && !rc; c++) {
        const struct ww_replay_control *without = &r->replay.controls[c];
        if (without->control) {
            continue;
        }
        rc = ww_agree_add(a, without->source, true, err);
        if (!rc) {
            struct ww_declared_source *d = &r->declared[r->n_declared - 1];
            d->compared = true;
            d->observed =
                1 - without->match > WW_REPLAY_TIMES_WORSE * (1 - r->replay.match);
        }
    }
    judged = judge(&r->replay);
    if (!rc && (judgements[judged].what != WW_LINEAGE_DISAGREES || r->replay.drawn)) {
        rc = covers_most(a, &most, err);
    }
    if (rc) {
        return rc;
    }
    if (!most) {
        return ww_agree_conclude(
            a, WW_LINEAGE_UNTOLD,
            "the recipe makes fewer than half of the suspect's tensors in their names, "
            "shapes and dtypes",
            err);
    }
    return r->replay.drawn && judgements[judged].what == WW_LINEAGE_DISAGREES
               ? ww_agree_drawn(a, err)
               : ww_agree_conclude(a, judgements[judged].what, judgements[judged].why,
                                   err);
}

enum ww_err ww_lineage_verify(const char *suspect,
                              const struct ww_verify_lineage_options *options,
                              struct ww_verify_lineage_report *report,
                              struct ww_error *err)
{
    struct ww_agreeing a = {.suspect = suspect, .options = options, .report = report};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    rc = ww_declared_read(suspect, &a.declared, err);
    report->declared_by = a.declared.file;
    if (!rc && !a.declared.file) {
        rc = ww_agree_conclude(&a, WW_LINEAGE_UNTOLD,
                               "the folder declares nothing: no " WW_MERGE_RECIPE_FILE
                               ", and no base_model in its card",
                               err);
    } else if (!rc && a.declared.unread) {
        rc = ww_agree_conclude(&a, WW_LINEAGE_UNTOLD, a.declared.unread, err);
    } else if (!rc && strcmp(a.declared.file, WW_MERGE_RECIPE_FILE) == 0) {
        rc = replay(&a, err);
    } else if (!rc) {
        rc = ww_agree_card(&a, err);
    }
    ww_declared_release(&a.declared);
    return rc;
}

void ww_verify_lineage_report_release(struct ww_verify_lineage_report *report)
{
    struct ww_strlist undeclared = {report->undeclared, report->n_undeclared,
                                    report->n_undeclared};

    for (size_t i = 0; i < report->n_declared; i++) {
        ww_free(report->declared[i].name);
    }
    ww_free(report->declared);
    ww_free(report->why);
    ww_strlist_release(&undeclared);
    ww_replay_report_release(&report->replay);
    ww_decompose_report_release(&report->decompose);
    memset(report, 0, sizeof(*report));
}
