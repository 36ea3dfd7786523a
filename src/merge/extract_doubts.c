/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An adapter that PEFT passes over in part answers as neither model does, and PEFT says
 * nothing of weights carried whole and of some factors, so it is said here.
 */
#include "merge/extract_doubts.h"

#include <string.h>

#include "model/adapter.h"
#include "model/adapter_names.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

/* Modules that PEFT does not find, or whose factors it adds where nothing runs them: the
 * attention of WavLM hands its weights to a function. type NULL: any. */
static const struct {
    const char *type;
    const char *glob;
} passed_over[] = {{NULL, "*.attention.attention.query.*"},
                   {NULL, "language_model.model.*"},
                   {"qwen2_vl", "visual.*"},
                   {"qwen2_5_vl", "visual.*"},
                   {"wavlm", "*.attention.*_proj.*"}};

enum ww_err ww_extract_note(struct ww_extract_report *report, struct ww_error *err,
                            const char *text, const char *name)
{
    char **grown =
        ww_realloc_array(report->warnings, report->n_warnings + 1, sizeof(*grown));

    if (!grown) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    report->warnings = grown;
    grown[report->n_warnings] = ww_asprintf("tensor '%.160s' %s", name, text);
    return grown[report->n_warnings++] ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
}

static bool is_passed_over(const struct ww_model *base, const char *name)
{
    const char *type = base->config ? base->config->root_model_type : NULL;

    for (size_t i = 0; i < WW_LEN(passed_over); i++) {
        if ((!passed_over[i].type || (type && strcmp(type, passed_over[i].type) == 0)) &&
            ww_str_glob(passed_over[i].glob, name)) {
            return true;
        }
    }
    return ww_adapter_is_renamed(type, name);
}

static bool is_of_mixture(const char *name)
{
    return strstr(name, "expert") || strstr(name, "router") || strstr(name, "_moe.") ||
           strstr(name, ".gate.");
}

static enum ww_err doubt_names(struct ww_extracting *x, struct ww_error *err)
{
    for (uint32_t t = 0; t < x->n_tensors; t++) {
        const char *name = x->tensors[t].name + strlen(WW_ADAPTER_PREFIX);
        if (!is_of_mixture(name) && is_passed_over(x->models[0], name)) {
            return ww_extract_note(
                x->report, err,
                "is of a module that transformers 5 loads under another name, or reads "
                "and does not run; PEFT may pass over it without a word, 'weightward "
                "merge' adds it",
                name);
        }
    }
    return WW_OK;
}

/* PEFT turns such names into those of the stacks for some architectures alone, and takes
 * a dense layer's for them too; a router is no linear module any more. */
static enum ww_err doubt_mixtures(struct ww_extracting *x, struct ww_error *err)
{
    for (uint32_t t = 0; t < x->n_tensors; t++) {
        const char *name = x->tensors[t].name + strlen(WW_ADAPTER_PREFIX);
        if (is_of_mixture(name)) {
            return ww_extract_note(
                x->report, err,
                "is of a mixture of experts, which transformers 5 stacks; PEFT loads "
                "factors for it of one rank alone (--portable) and for some "
                "architectures, "
                "and may pass over it and its neighbours without a word; 'weightward "
                "merge' adds them",
                name);
        }
    }
    return WW_OK;
}

enum ww_err ww_extract_doubts(struct ww_extracting *x, struct ww_error *err)
{
    enum ww_err rc = doubt_names(x, err);

    return rc ? rc : doubt_mixtures(x, err);
}
