/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many recipients, each copy compared with its own entry and with others, after what
 * happens to copies in the field. Copies live in memory, at the tensors that a trace
 * reads: what stands on disk is covered by the unit tests. Numbers count suspects.
 *
 *   bench_trace SOURCE BASE SIBLING [RECIPIENTS [OTHERS [FIRST [LAST]]]]
 *
 * OTHERS: how many other entries each suspect is compared with, 0 for all. FIRST and LAST
 * choose rows of the table. Innocent models are compared with all.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/secret.h"
#include "lock/handout.h"
#include "lock/tensor_map.h"
#include "model/convert.h"
#include "trace/fingerprint.h"

#define BOUND 1e-6

static struct ww_error err;

static void must(enum ww_err rc)
{
    if (rc) {
        fprintf(stderr, "bench_trace: %s\n", err.text);
        exit(1);
    }
}

/* The tensors that hold probes, as one array. */
struct weights {
    float *x;
};

struct bench {
    struct ww_model *source_model, *base_model, *sibling_model;
    struct ww_layout *layout;
    struct ww_places places;
    struct ww_ledger_model print;
    size_t start[4096]; /* of each slot */
    size_t n;
    struct weights source, base, sibling;
    uint32_t recipients;
    uint32_t others;
    struct ww_secret *key, *other_key;
    uint32_t *where; /* [recipients, coords, samples]: place, plus n for a minus sign */
    double *want;    /* [coords, samples] */
    double *both;    /* [2, n]: a suspect and its negative */
};

static const struct ww_tensor *tensor_at(const struct bench *b, uint32_t slot)
{
    return &b->layout->model->tensors[b->places.tensors[slot]];
}

static void read_weights(const struct bench *b, const struct ww_model *model,
                         struct weights *out)
{
    out->x = calloc(b->n, sizeof(*out->x));
    for (uint32_t s = 0; s < b->places.n_tensors; s++) {
        const struct ww_tensor *want = tensor_at(b, s);
        const uint32_t t = ww_model_find(model, want->name);
        void *raw = malloc((size_t)model->tensors[t].n_bytes);
        must(ww_model_read(model, t, raw, &err));
        ww_to_float(model->tensors[t].dtype, raw, out->x + b->start[s],
                    (size_t)want->n_elements);
        free(raw);
    }
}

static void open_all(struct bench *b, char **paths)
{
    must(ww_model_open(paths[0], &b->source_model, &err));
    must(ww_model_open(paths[1], &b->base_model, &err));
    must(ww_model_open(paths[2], &b->sibling_model, &err));
    must(ww_layout_resolve(b->source_model, NULL, &b->layout, &err));
    must(ww_places_init(&b->places, b->layout, &ww_probes_ledger, &err));
    must(ww_fingerprint_make(b->layout, &b->print, &err));
    for (uint32_t s = 0; s < b->places.n_tensors; s++) {
        b->start[s] = b->n;
        b->n += (size_t)tensor_at(b, s)->n_elements;
    }
    read_weights(b, b->source_model, &b->source);
    read_weights(b, b->base_model, &b->base);
    read_weights(b, b->sibling_model, &b->sibling);
}

static struct ww_secret *key_of(uint8_t fill)
{
    struct ww_secret *key = NULL;
    must(ww_secret_new(32, &key, &err));
    memset(ww_secret_open(key), fill, 32);
    ww_secret_close(key);
    return key;
}

static void gauge_of(const struct bench *b, struct ww_secret *key, uint32_t r,
                     struct ww_gauge *gauge)
{
    char name[32];
    struct ww_handout handout = {.name = name};
    struct ww_secret *own = NULL;
    snprintf(name, sizeof(name), "recipient %u", r);
    ww_sha256_of(name, strlen(name), handout.nonce);
    must(ww_handout_secret(key, &handout, &own, &err));
    must(ww_gauge_init(gauge, b->layout, own, false, WW_WRONG_NONE, &err));
    ww_secret_free(own);
}

static void draw_entries(struct bench *b)
{
    const size_t n = (size_t)b->places.n_coords * b->places.samples;
    struct ww_copy_place *copy = calloc(n, sizeof(*copy));
    b->where = calloc(n * b->recipients, sizeof(*b->where));
    b->want = calloc(n, sizeof(*b->want));
    b->both = calloc(2 * b->n, sizeof(*b->both));
    for (size_t i = 0; i < n; i++) {
        b->want[i] = b->print.values[i];
    }
    for (uint32_t r = 0; r < b->recipients; r++) {
        struct ww_gauge gauge;
        gauge_of(b, b->key, r, &gauge);
        must(ww_copy_places(&gauge, &b->places, copy, &err));
        for (size_t i = 0; i < n; i++) {
            const uint32_t slot = b->places.coords[i / b->places.samples].slot;
            b->where[r * n + i] =
                (uint32_t)(b->start[slot] + copy[i].element + (copy[i].neg ? b->n : 0));
        }
        ww_gauge_release(&gauge);
    }
    free(copy);
}

/* The votes of ww_votes_count, on an array. */
static double chance_of(const struct bench *b, uint32_t r)
{
    const uint32_t samples = b->places.samples;
    const size_t n = (size_t)b->places.n_coords * samples;
    uint32_t votes = 0, agree = 0;
    for (uint32_t c = 0; c < b->places.n_coords; c++) {
        const uint32_t *where = b->where + r * n + (size_t)c * samples;
        const double *want = b->want + (size_t)c * samples;
        double sum = 0;
        for (uint32_t i = 0; i < samples; i++) {
            sum += want[i] * b->both[where[i]];
        }
        votes += sum > 0 || sum < 0;
        agree += sum > 0;
    }
    return ww_votes_chance(votes, agree);
}

static void lock_weights(const struct bench *b, const struct ww_gauge *gauge,
                         const struct weights *in, struct weights *out)
{
    for (uint32_t s = 0; s < b->places.n_tensors; s++) {
        const float *from = in->x + b->start[s];
        float *to = out->x + b->start[s];
        struct ww_tensor_map map;
        must(ww_tensor_map_init(&map, gauge, b->places.tensors[s], false, &err));
        const struct ww_element *rows = &map.rows, *cols = &map.cols[0];
        for (uint64_t r = 0; r < map.view.n_rows; r++) {
            const uint64_t row = rows->perm ? rows->perm[r] : r;
            for (uint64_t c = 0; c < map.view.n_cols; c++) {
                const uint64_t col = cols->perm ? cols->perm[c] : c;
                const bool neg =
                    (rows->perm && rows->neg[r]) != (cols->perm && cols->neg[c]);
                const float x = from[row * map.view.n_cols + col];
                to[r * map.view.n_cols + c] = neg ? -x : x;
            }
        }
        ww_tensor_map_release(&map);
    }
}

static uint64_t seed = 1;
static double uniform(void)
{
    seed += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-52 - 1;
}

static void add_noise(const struct bench *b, struct weights *w, double relative)
{
    for (uint32_t s = 0; s < b->places.n_tensors; s++) {
        float *x = w->x + b->start[s];
        const size_t n = (size_t)tensor_at(b, s)->n_elements;
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            sum += (double)x[i] * (double)x[i];
        }
        const double size = relative * sqrt(3 * sum / (double)n);
        for (size_t i = 0; i < n; i++) {
            x[i] += (float)(size * uniform());
        }
    }
}

static void quantise(const struct bench *b, struct weights *w, double levels)
{
    for (uint32_t s = 0; s < b->places.n_tensors; s++) {
        const struct ww_tensor *t = tensor_at(b, s);
        const size_t cols = (size_t)t->shape[t->rank - 1];
        for (size_t r = 0; r < t->n_elements / cols; r++) {
            float *x = w->x + b->start[s] + r * cols;
            float most = 0;
            for (size_t c = 0; c < cols; c++) {
                most = fmaxf(most, fabsf(x[c]));
            }
            for (size_t c = 0; c < cols && most > 0; c++) {
                const double q = nearbyint((double)x[c] / (double)most * levels);
                x[c] = (float)(q / levels * (double)most);
            }
        }
    }
}

static void mix(const struct bench *b, struct weights *w, double a,
                const struct weights *v)
{
    for (size_t i = 0; i < b->n; i++) {
        w->x[i] = (float)(a * (double)w->x[i] + (1 - a) * (double)v->x[i]);
    }
}

/* source + step * (sibling - base): a further fine-tune, which commutes with the lock. */
static void fine_tune(const struct bench *b, struct weights *w, double step)
{
    for (size_t i = 0; i < b->n; i++) {
        w->x[i] += (float)(step * ((double)b->sibling.x[i] - (double)b->base.x[i]));
    }
}

struct row {
    const char *name;
    double step;   /* of a fine-tune before the lock */
    double noise;  /* relative, after it */
    double keep;   /* share of the copy in an average with the base; 1: none */
    double levels; /* of a rounding, each side of zero; 0: none */
    bool other_key;
};

static const struct row rows[] = {
    {"as handed out", 0, 0, 1, 0, false},
    {"8 bit and back, per row", 0, 0, 1, 127, false},
    {"4 bit and back, per row", 0, 0, 1, 7, false},
    {"fine-tuned by a sibling's task vector", 1, 0, 1, 0, false},
    {"noise of half its size", 0, 0.5, 1, 0, false},
    {"noise of twice its size", 0, 2, 1, 0, false},
    {"averaged, 0.7 of the copy", 0, 0, 0.7, 0, false},
    {"averaged, 0.5 of the copy", 0, 0, 0.5, 0, false},
    {"averaged, 0.3 of the copy", 0, 0, 0.3, 0, false},
    {"0.3, fine-tuned, then 8 bit", 1, 0, 0.3, 127, false},
    {"averaged, 0.1 of the copy", 0, 0, 0.1, 0, false},
    {"averaged, 0.05 of the copy", 0, 0, 0.05, 0, false},
    {"copies of another key", 0, 0, 1, 0, true},
};

struct tally {
    uint32_t right; /* its own entry accused, and first */
    uint32_t wrong; /* other entries accused, over all suspects */
    double worst;   /* of its own, times the entries */
    double closest; /* of all others, times the entries */
};

static void judge(const struct bench *b, const struct weights *suspect, uint32_t own,
                  uint32_t others, struct tally *tally)
{
    double mine = 1, best = 1;
    for (size_t i = 0; i < b->n; i++) {
        b->both[i] = (double)suspect->x[i];
        b->both[b->n + i] = -b->both[i];
    }
    const uint32_t start = own < b->recipients ? own : 0;
    for (uint32_t i = 0; i < b->recipients && i <= others; i++) {
        const uint32_t r = (start + i) % b->recipients;
        const double p = fmin(1, chance_of(b, r) * b->recipients);
        if (r == own) {
            mine = p;
            tally->worst = fmax(tally->worst, p);
            continue;
        }
        best = fmin(best, p);
        tally->wrong += p <= BOUND;
    }
    tally->closest = fmin(tally->closest, best);
    tally->right += own < b->recipients && mine <= BOUND && mine < best;
}

static void run_row(const struct bench *b, const struct row *row)
{
    struct tally tally = {.closest = 1};
    struct weights changed = {calloc(b->n, sizeof(float))};
    struct weights copy = {calloc(b->n, sizeof(float))};
    for (uint32_t r = 0; r < b->recipients; r++) {
        struct ww_gauge gauge;
        memcpy(changed.x, b->source.x, b->n * sizeof(float));
        fine_tune(b, &changed, row->step);
        gauge_of(b, row->other_key ? b->other_key : b->key, r, &gauge);
        lock_weights(b, &gauge, &changed, &copy);
        ww_gauge_release(&gauge);
        if (row->noise > 0) {
            add_noise(b, &copy, row->noise);
        }
        if (row->keep < 1) {
            mix(b, &copy, row->keep, &b->base);
        }
        if (row->levels > 0) {
            quantise(b, &copy, row->levels);
        }
        judge(b, &copy, row->other_key ? UINT32_MAX : r, b->others, &tally);
    }
    printf("| %s | %u of %u | %u | %.2g | %.2g |\n", row->name, tally.right,
           b->recipients, tally.wrong, row->other_key ? 1 : tally.worst, tally.closest);
    fflush(stdout);
    free(changed.x);
    free(copy.x);
}

static void run_innocents(const struct bench *b)
{
    const struct {
        const char *name;
        const struct weights *w;
    } models[] = {{"source", &b->source}, {"base", &b->base}, {"sibling", &b->sibling}};
    for (size_t i = 0; i < 3; i++) {
        struct tally tally = {.closest = 1};
        judge(b, models[i].w, UINT32_MAX, UINT32_MAX, &tally);
        printf("| innocent: %s | - | %u | - | %.2g |\n", models[i].name, tally.wrong,
               tally.closest);
    }
}

int main(int argc, char **argv)
{
    static struct bench b;
    const size_t n_rows = sizeof(rows) / sizeof(rows[0]);
    if (argc < 4) {
        fprintf(stderr,
                "usage: bench_trace SOURCE BASE SIBLING [RECIPIENTS [OTHERS [FIRST "
                "[LAST]]]]\n");
        return 2;
    }
    b.recipients = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : 1000;
    b.others = argc > 5 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0;
    b.others = b.others ? b.others : UINT32_MAX;
    const size_t first = argc > 6 ? strtoul(argv[6], NULL, 10) : 0;
    const size_t last = argc > 7 ? strtoul(argv[7], NULL, 10) : n_rows - 1;
    open_all(&b, argv + 1);
    b.key = key_of(1);
    b.other_key = key_of(2);
    draw_entries(&b);
    printf("%u coordinates, %u samples each, %u recipients, bound %g\n\n",
           b.places.n_coords, b.places.samples, b.recipients, BOUND);
    printf(
        "| suspects | own copy found | others accused | largest p of its own | smallest "
        "p of another |\n|---|---|---|---|---|\n");
    for (size_t i = first; i <= last && i < n_rows; i++) {
        run_row(&b, &rows[i]);
    }
    run_innocents(&b);
    return 0;
}
