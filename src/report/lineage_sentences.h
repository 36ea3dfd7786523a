/* SPDX-License-Identifier: Apache-2.0 */
/* A lineage report in sentences, for its page and its JSON alike. */
#ifndef WW_REPORT_LINEAGE_SENTENCES_H
#define WW_REPORT_LINEAGE_SENTENCES_H

#include "report/object.h"
#include "weightward/lineage.h"

enum ww_sentence_scale { WW_SENTENCE_SUPPORTS, WW_SENTENCE_NOT, WW_SENTENCE_UNTOLD };

struct ww_sentence {
    const char
        *about; /* static: "root", "source", "recipe", "completeness", "priority" */
    enum ww_sentence_scale scale;
    char *claim; /* what is supported, or is not */
    char *basis; /* on which ground, with the rate of error where there is one */
};

struct ww_sentences {
    struct ww_sentence *items;
    size_t n;
};

enum ww_err ww_sentences_make(const struct ww_lineage_report *report,
                              struct ww_sentences *out, struct ww_error *err) WW_MUST_USE;
void ww_sentences_release(struct ww_sentences *findings);

/** "supports", "does not support", "cannot tell" */
const char *ww_sentence_word(enum ww_sentence_scale scale);

/** Sentences on what such a report cannot say. NULL beyond the last. */
const char *ww_lineage_limit(size_t i);

/** The members of a decomposition's answer, and of a replay's, into an open object. */
void ww_object_decompose(struct ww_jw *w, const struct ww_decompose_report *report);
void ww_object_replay(struct ww_jw *w, const struct ww_replay_report *report);

#endif
