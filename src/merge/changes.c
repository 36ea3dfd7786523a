/* SPDX-License-Identifier: Apache-2.0 */
#include "merge/changes.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define EVERY 16u            /* one block of so many */
#define WHOLE_ELEMENTS 65536 /* tensors up to here are looked at whole */

/* Of one tensor, over the sample. */
struct sums {
    uint64_t n;     /* elements looked at before */
    uint64_t agree; /* all changes that are not 0 have one sign */
    uint64_t moved; /* some change is not 0 */
    uint64_t n_out; /* elements looked at after */
    uint64_t kept;  /* the result is not the base's */
    double out2;    /* squared length of the result's change */
    double *gram;   /* [n_models * n_models] */
};

struct ww_changes {
    const struct ww_merge_plan *plan;
    pthread_mutex_t lock;
    struct sums *sums; /* per tensor */
    double *memory;    /* of all grams */
};

void ww_changes_free(struct ww_changes *changes)
{
    if (changes) {
        pthread_mutex_destroy(&changes->lock);
        ww_free(changes->sums);
        ww_free(changes->memory);
        ww_free(changes);
    }
}

enum ww_err ww_changes_new(const struct ww_merge_plan *plan, struct ww_changes **out,
                           struct ww_error *err)
{
    const size_t each = (size_t)plan->n_models * plan->n_models;
    struct ww_changes *c = ww_calloc(1, sizeof(*c));

    *out = NULL;
    if (!c) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    pthread_mutex_init(&c->lock, NULL);
    c->plan = plan;
    c->sums = ww_calloc(plan->n_tensors, sizeof(*c->sums));
    c->memory = ww_calloc(plan->n_tensors, each * sizeof(*c->memory));
    if (!c->sums || !c->memory) {
        ww_changes_free(c);
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (uint32_t t = 0; t < plan->n_tensors; t++) {
        c->sums[t].gram = c->memory + t * each;
    }
    *out = c;
    return WW_OK;
}

bool ww_changes_wants(const struct ww_merge_job *job, const struct ww_merge_block *block)
{
    return job->n <= WHOLE_ELEMENTS || block->first / job->max_block % EVERY == 0;
}

/* Sources as changes: some methods get them so, others get the weights. */
static double change(const struct ww_merge_job *job, const struct ww_merge_block *b,
                     uint32_t s, size_t i)
{
    return b->base && !job->ops->deltas ? b->x[s][i] - b->base[i] : b->x[s][i];
}

static double dot(const struct ww_merge_job *job, const struct ww_merge_block *b,
                  uint32_t s, uint32_t r)
{
    double sum = 0;
    for (size_t i = 0; i < b->n; i++) {
        sum += change(job, b, s, i) * change(job, b, r, i);
    }
    return sum;
}

static void count_signs(const struct ww_merge_job *job, const struct ww_merge_block *b,
                        uint64_t *agree, uint64_t *moved)
{
    for (size_t i = 0; i < b->n; i++) {
        bool plus = false;
        bool minus = false;
        for (uint32_t s = 0; s < job->n_sources; s++) {
            const double d = change(job, b, s, i);
            plus = plus || d > 0;
            minus = minus || d < 0;
        }
        *moved += plus || minus;
        *agree += plus != minus;
    }
}

void ww_changes_before(struct ww_changes *changes, const struct ww_merge_job *job,
                       const struct ww_merge_block *b)
{
    const uint32_t n = changes->plan->n_models;
    struct sums *sums = &changes->sums[job->index];
    uint64_t agree = 0;
    uint64_t moved = 0;

    count_signs(job, b, &agree, &moved);
    for (uint32_t s = 0; s < job->n_sources; s++) {
        for (uint32_t r = s; r < job->n_sources; r++) {
            const uint32_t i = job->tensor->sources[s].model;
            const uint32_t j = job->tensor->sources[r].model;
            const double sum = i < n && j < n ? dot(job, b, s, r) : 0;
            if (i >= n || j >= n) {
                continue; /* a table made beforehand */
            }
            pthread_mutex_lock(&changes->lock);
            sums->gram[i * n + j] += sum;
            sums->gram[j * n + i] += i == j ? 0 : sum;
            pthread_mutex_unlock(&changes->lock);
        }
    }
    pthread_mutex_lock(&changes->lock);
    sums->n += b->n;
    sums->agree += agree;
    sums->moved += moved;
    pthread_mutex_unlock(&changes->lock);
}

void ww_changes_after(struct ww_changes *changes, const struct ww_merge_job *job,
                      const struct ww_merge_block *b)
{
    struct sums *sums = &changes->sums[job->index];
    uint64_t kept = 0;
    double out2 = 0;

    for (size_t i = 0; i < b->n && b->base; i++) {
        const double d = b->out[i] - b->base[i];
        kept += d != 0;
        out2 += d * d;
    }
    pthread_mutex_lock(&changes->lock);
    sums->n_out += b->n;
    sums->kept += kept;
    sums->out2 += out2;
    pthread_mutex_unlock(&changes->lock);
}

/* "model.layers.3.mlp.up_proj.weight": the length of "model.layers.3", and 3. Names
 * without such a number stand for themselves. */
static size_t layer_of(const char *name, unsigned long *number)
{
    for (const char *at = strchr(name, '.'); at; at = strchr(at + 1, '.')) {
        char *end = NULL;
        if (at[1] < '0' || at[1] > '9') {
            continue;
        }
        *number = strtoul(at + 1, &end, 10);
        if (*end == '.') {
            return (size_t)(end - name);
        }
    }
    *number = 0;
    return strlen(name);
}

/* Sums of one layer, scaled to whole tensors. */
struct group {
    const char *name;
    size_t len;
    unsigned long number;
    double elements;
    double n;
    double agree;
    double moved;
    double n_out;
    double kept;
    double out2;
    double *gram;
};

/* Layers in their order, other tensors before them by name. */
static int by_layer(const void *x, const void *y)
{
    const struct group *a = x;
    const struct group *b = y;
    const bool a_layer = a->name[a->len] == '.';
    const bool b_layer = b->name[b->len] == '.';
    size_t prefix = 0;

    if (a_layer != b_layer) {
        return a_layer ? 1 : -1;
    }
    while (prefix < a->len && prefix < b->len && a->name[prefix] == b->name[prefix] &&
           !(a->name[prefix] >= '0' && a->name[prefix] <= '9')) {
        prefix++;
    }
    if (a_layer && a->number != b->number && a->name[prefix] >= '0' &&
        a->name[prefix] <= '9' && b->name[prefix] >= '0' && b->name[prefix] <= '9') {
        return a->number < b->number ? -1 : 1;
    }
    return strncmp(a->name, b->name, a->len < b->len ? a->len : b->len);
}

static struct group *find_group(struct group *groups, size_t *n, const char *name)
{
    unsigned long number = 0;
    const size_t len = layer_of(name, &number);

    for (size_t i = *n; i-- > 0;) {
        if (groups[i].len == len && memcmp(groups[i].name, name, len) == 0) {
            return &groups[i];
        }
    }
    groups[*n].name = name;
    groups[*n].len = len;
    groups[*n].number = number;
    return &groups[(*n)++];
}

static void add_tensor(const struct ww_changes *c, uint32_t t, struct group *g)
{
    const struct sums *s = &c->sums[t];
    const struct ww_merge_tensor *tensor = &c->plan->tensors[t];
    const size_t each = (size_t)c->plan->n_models * c->plan->n_models;
    double elements = 1;

    for (unsigned a = 0; a < tensor->rank; a++) {
        elements *= (double)tensor->shape[a];
    }
    const double scale = s->n ? elements / (double)s->n : 0;
    const double out_scale = s->n_out ? elements / (double)s->n_out : 0;
    g->elements += elements;
    g->agree += scale * (double)s->agree;
    g->moved += scale * (double)s->moved;
    g->kept += out_scale * (double)s->kept;
    g->out2 += out_scale * s->out2;
    for (size_t k = 0; k < each; k++) {
        g->gram[k] += scale * s->gram[k];
    }
}

static enum ww_err fill_layer(const struct group *g, uint32_t n,
                              struct ww_merge_layer *out, struct ww_error *err)
{
    out->name = ww_strndup(g->name, g->len);
    out->lengths = ww_calloc(n, sizeof(*out->lengths));
    out->cosines = ww_calloc((size_t)n * n, sizeof(*out->cosines));
    if (!out->name || !out->lengths || !out->cosines) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    out->elements = (uint64_t)g->elements;
    out->agreement = g->moved > 0 ? g->agree / g->moved : 0;
    out->changed = g->elements > 0 ? g->kept / g->elements : 0;
    out->length = sqrt(g->out2);
    for (uint32_t i = 0; i < n; i++) {
        out->lengths[i] = sqrt(g->gram[i * n + i]);
    }
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < n; j++) {
            const double both = out->lengths[i] * out->lengths[j];
            out->cosines[i * n + j] = both > 0 ? g->gram[i * n + j] / both : 0;
        }
    }
    return WW_OK;
}

static enum ww_err name_models(uint32_t n, const char *const *names,
                               struct ww_merge_report *report, struct ww_error *err)
{
    report->models = ww_calloc(n, sizeof(char *));
    if (!report->models) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    report->n_models = n;
    for (uint32_t i = 0; i < n; i++) {
        report->models[i] = ww_strdup(names[i]);
        if (!report->models[i]) {
            return WW_FAIL_MEMORY(err, "a report");
        }
    }
    return WW_OK;
}

enum ww_err ww_changes_report(const struct ww_changes *c, const char *const *names,
                              struct ww_merge_report *report, struct ww_error *err)
{
    const uint32_t n = c->plan->n_models;
    const uint32_t n_tensors = c->plan->n_tensors;
    const size_t each = (size_t)n * n;
    struct group *groups = ww_calloc(n_tensors, sizeof(*groups));
    double *grams = ww_calloc(n_tensors, each * sizeof(*grams));
    size_t n_groups = 0;
    enum ww_err rc = name_models(n, names, report, err);

    if (!rc && (!groups || !grams)) {
        rc = WW_FAIL_MEMORY(err, "a report");
    }
    for (uint32_t t = 0; t < n_tensors && !rc; t++) {
        struct group *g = find_group(groups, &n_groups, c->plan->tensors[t].name);
        g->gram = g->gram ? g->gram : grams + (size_t)(g - groups) * each;
        report->has_base = report->has_base || c->plan->tensors[t].base;
        add_tensor(c, t, g);
    }
    if (!rc) {
        qsort(groups, n_groups, sizeof(*groups), by_layer);
        report->layers = ww_calloc(n_groups, sizeof(*report->layers));
        rc = report->layers ? WW_OK : WW_FAIL_MEMORY(err, "a report");
    }
    for (size_t i = 0; i < n_groups && !rc; i++) {
        report->n_layers = i + 1;
        rc = fill_layer(&groups[i], n, &report->layers[i], err);
    }
    ww_free(groups);
    ww_free(grams);
    return rc;
}
