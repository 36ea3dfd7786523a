/* SPDX-License-Identifier: Apache-2.0 */
/* What a change counts for in PCB-Merging (k_pcb.c), exactly and nearly. */
#ifndef WW_MERGE_PCB_SCORE_H
#define WW_MERGE_PCB_SCORE_H

#include "merge/kernel.h"

enum ww_pcb_inter {
    WW_PCB_RAW,    /* tanh(t sum of t): the package */
    WW_PCB_SCALED, /* tanh(t sum of sign m): the script for vision models */
    WW_PCB_PAIRS   /* sum of tanh(sign m, sign m): the script that searches */
};

struct ww_pcb_model {
    double low; /* of a */
    double high;
    double least; /* of s */
    double most;
};

/** Of a block: a, sign m and s of every source, what a near s may be off by, and room. */
struct ww_pcb_room {
    double *a[WW_MERGE_MOST_SOURCES];
    double *part[WW_MERGE_MOST_SOURCES];
    double *s[WW_MERGE_MOST_SOURCES];
    double *slack[WW_MERGE_MOST_SOURCES];
    double *with;
    double *term;
    uint64_t *keys;
    uint32_t *index;
    uint8_t *mark;
};
size_t ww_pcb_room_bytes(const struct ww_merge_job *job);
void ww_pcb_room_of(const struct ww_merge_job *job, void *scratch,
                    struct ww_pcb_room *room);

struct ww_pcb_rule {
    uint32_t n_sources;
    enum ww_pcb_inter inter;
    const struct ww_pcb_model *models;
};

/** a, sign m and s of n elements. */
void ww_pcb_score(const struct ww_pcb_rule *rule, double *const *x, size_t n,
                  const struct ww_pcb_room *room);
/** The same but for s, which is within room->slack of the one above: a tenth of the time,
 *  to see which elements need that one. */
void ww_pcb_near(const struct ww_pcb_rule *rule, double *const *x, size_t n,
                 const struct ww_pcb_room *room);

/** A source's part of the result: sum += weight sign a share, total += share, where share
 *  is s scaled to [0, 1] between least and most. */
void ww_pcb_add(const double *x, const double *a, const double *s, struct ww_pcb_model m,
                double weight, size_t n, double *sum, double *total);

#endif
