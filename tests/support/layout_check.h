/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold of every layout, whatever the model: segments lie inside their axis and
 * never overlap, each names a space index that exists, and every axis that runs over a
 * space hits each of its indices equally often. Returns NULL, or what is wrong.
 */
#ifndef WW_LAYOUT_CHECK_H
#define WW_LAYOUT_CHECK_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weightward/layout.h"

static char ww_layout_fault[600];

__attribute__((format(printf, 1, 2))) static inline const char *ww_fault(const char *fmt,
                                                                         ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(ww_layout_fault, sizeof(ww_layout_fault), fmt, args);
    va_end(args);
    return ww_layout_fault;
}

/* Marks the tensor and space indices of one segment. */
static inline const char *ww_check_segment(const struct ww_layout *l, const char *name,
                                           unsigned axis, uint64_t length,
                                           const struct ww_segment *s, uint8_t *taken,
                                           uint8_t *hits)
{
    if (s->space >= l->n_spaces) {
        return ww_fault("%s axis %u: space %u does not exist", name, axis, s->space);
    }
    const struct ww_space *space = &l->spaces[s->space];
    for (uint64_t c = 0; c < s->count; c++) {
        for (uint64_t w = 0; w < s->width; w++) {
            uint64_t at = s->offset + c * s->stride + w;
            uint64_t to = s->space_start + c * s->width + w;
            if (at >= length || to >= space->size) {
                return ww_fault("%s axis %u: index %llu or %s[%llu] out of range", name,
                                axis, (unsigned long long)at, space->name,
                                (unsigned long long)to);
            }
            if (taken[at]++) {
                return ww_fault("%s axis %u: index %llu twice", name, axis,
                                (unsigned long long)at);
            }
            hits[to]++;
        }
    }
    for (uint64_t i = 0; i < space->size; i++) {
        if (hits[i] != 1) {
            return ww_fault("%s axis %u: %s[%llu] hit %u times by one segment", name,
                            axis, space->name, (unsigned long long)i, hits[i]);
        }
    }
    return NULL;
}

static inline const char *ww_check_axis(const struct ww_layout *l, uint32_t tensor,
                                        unsigned axis)
{
    const struct ww_tensor *t = &l->model->tensors[tensor];
    const struct ww_axis *a = &l->bindings[tensor].axis[axis];
    uint8_t *taken = calloc((size_t)t->shape[axis] + 1, 1);
    const char *fault = NULL;
    for (uint32_t i = 0; taken && i < a->n_segments && !fault; i++) {
        const struct ww_segment *s = &l->segments[a->first_segment + i];
        uint64_t size = s->space < l->n_spaces ? l->spaces[s->space].size : 1;
        uint8_t *hits = calloc((size_t)size + 1, 1);
        fault = hits ? ww_check_segment(l, t->name, axis, t->shape[axis], s, taken, hits)
                     : ww_fault("out of memory");
        free(hits);
    }
    free(taken);
    return fault;
}

static inline bool ww_linear_fits(const struct ww_layout *l, const struct ww_linear *n)
{
    if (n->weight == WW_NONE) {
        return true;
    }
    unsigned rank = l->model->tensors[n->weight].rank;
    return n->out_axis != n->in_axis && n->out_axis < rank && n->in_axis < rank &&
           (n->expert_axis == UINT8_MAX ||
            (n->expert_axis < rank && n->expert_axis != n->in_axis &&
             n->expert_axis != n->out_axis &&
             n->expert < l->model->tensors[n->weight].shape[n->expert_axis]));
}

static inline const char *ww_check_attentions(const struct ww_layout *l)
{
    for (uint32_t i = 0; i < l->n_attentions; i++) {
        const struct ww_attention *a = &l->attentions[i];
        const struct ww_linear *maps[] = {&a->q, &a->k, &a->v, &a->o, &a->gate};
        for (size_t m = 0; m < 5; m++) {
            if (!ww_linear_fits(l, maps[m])) {
                return ww_fault("%s: linear %zu has wrong axes", a->name, m);
            }
        }
        if (a->n_heads == 0 || a->n_heads % a->n_kv_heads != 0 || !a->qk_reason ||
            !a->vo_reason || !a->heads_reason || a->element_owner >= l->n_attentions ||
            a->heads_owner >= l->n_attentions ||
            (a->o.weight == WW_NONE && a->vo_class != WW_VO_NONE)) {
            return ww_fault("%s is incomplete", a->name);
        }
    }
    return NULL;
}

static inline const char *ww_layout_check(const struct ww_layout *l)
{
    const char *fault = ww_check_attentions(l);
    for (uint32_t t = 0; t < l->model->n_tensors && !fault; t++) {
        const struct ww_binding *b = &l->bindings[t];
        if (!b->role) {
            fault = ww_fault("%s has no role", l->model->tensors[t].name);
        }
        for (unsigned a = 0; a < WW_MAX_RANK && !fault; a++) {
            if (a >= l->model->tensors[t].rank && b->axis[a].n_segments) {
                fault =
                    ww_fault("%s has segments on axis %u", l->model->tensors[t].name, a);
            }
            fault =
                fault || a >= l->model->tensors[t].rank ? fault : ww_check_axis(l, t, a);
        }
    }
    for (uint32_t i = 0; i < l->n_spaces && !fault; i++) {
        bool used = false;
        for (uint32_t s = 0; s < l->n_segments; s++) {
            used = used || l->segments[s].space == i;
        }
        for (uint32_t t = 0; t < l->model->n_tensors; t++) {
            used = used || l->bindings[t].name_space == i;
        }
        fault =
            used ? NULL : ww_fault("space %s is used by no tensor", l->spaces[i].name);
    }
    for (uint32_t i = 0; i < l->n_mlps && !fault; i++) {
        const struct ww_mlp *m = &l->mlps[i];
        if (m->neuron == WW_NONE || m->down.weight == WW_NONE ||
            m->up.weight == WW_NONE || m->gated != (m->gate.weight != WW_NONE) ||
            !ww_linear_fits(l, &m->up) || !ww_linear_fits(l, &m->down) ||
            !ww_linear_fits(l, &m->gate)) {
            fault = ww_fault("%s is incomplete", m->name);
        }
    }
    return fault;
}

#endif
