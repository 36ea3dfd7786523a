/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements follow each other across rows, and bytes along them, so a stretch is taken
 * from windows: 32 elements of each of all rows. The blocks are those of GGUF's MXFP4,
 * whose low numbers are the first 16 of a block and not every other one.
 */
#include "model/mxfp4.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

#include "model/elements.h"
#include "model/gguf.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define BLOCK 32
#define CODES (BLOCK / 2) /* bytes of a block, without its scale */
#define NO_NUMBER 255     /* of E8M0 */
#define MINUS_ZERO 8
#define ROOM 65536 /* bytes read at once, where rows of blocks are short */
#define NEAR 512   /* bytes of a row of blocks up to which rows are read together */
#define SLOTS 8    /* windows kept */
#define MOST_ROWS ((uint64_t)1 << 17) /* of an expert: 64 MiB a window */

/* 32 columns of an expert, decoded: numbers of neighbouring elements lie a row of blocks
 * apart, so whoever reads elements in their order comes back to the same window. */
struct window {
    bool busy;
    bool cells;
    uint32_t tensor; /* of blocks; WW_NONE: nothing is there */
    uint64_t at;     /* of the tensor's windows */
    uint64_t used;   /* by the clock of the windows */
    size_t room;     /* elements */
    double *one;
    double *two;
};

struct ww_mxfp4_windows {
    pthread_mutex_t lock;
    uint64_t clock;
    struct window slots[SLOTS];
};

static bool fits(const struct ww_tensor *blocks, const struct ww_tensor *scales)
{
    return blocks->dtype == WW_DTYPE_U8 && scales->dtype == WW_DTYPE_U8 &&
           blocks->rank == 4 && scales->rank == 3 && blocks->shape[3] == CODES &&
           blocks->n_elements > 0 && blocks->shape[1] <= MOST_ROWS &&
           memcmp(blocks->shape, scales->shape, 3 * sizeof(*blocks->shape)) == 0;
}

enum ww_err ww_mxfp4_find(const struct ww_model *model, uint32_t tensor,
                          struct ww_mxfp4 *out, bool *is, struct ww_error *err)
{
    const char *name = model->tensors[tensor].name;
    const bool blocks = ww_str_ends(name, WW_MXFP4_BLOCKS);
    const size_t stem = strlen(name) - (sizeof(WW_MXFP4_BLOCKS) - 1);
    char *beside = NULL;
    uint32_t other = WW_NONE;

    *is = false;
    if (!blocks && !ww_str_ends(name, WW_MXFP4_SCALES)) {
        return WW_OK;
    }
    beside = ww_asprintf("%.*s%s", (int)stem, name,
                         blocks ? WW_MXFP4_SCALES : WW_MXFP4_BLOCKS);
    if (!beside) {
        return WW_FAIL_MEMORY(err, "a name");
    }
    other = ww_model_find(model, beside);
    ww_free(beside);
    if (other == WW_NONE) {
        return WW_OK;
    }
    out->blocks = blocks ? tensor : other;
    out->scales = blocks ? other : tensor;
    *is = fits(&model->tensors[out->blocks], &model->tensors[out->scales]);
    out->rows = model->tensors[out->scales].shape[1];
    out->groups = model->tensors[out->scales].shape[2];
    return WW_OK;
}

void ww_mxfp4_show(const struct ww_model *model, const struct ww_mxfp4 *of,
                   const char *name, struct ww_tensor *out)
{
    *out = model->tensors[of->blocks];
    out->name = name;
    out->dtype = WW_DTYPE_F32;
    out->rank = 3;
    out->shape[1] = BLOCK * of->groups;
    out->shape[2] = of->rows;
    out->shape[3] = 0;
    out->n_elements *= 2;
}

struct ww_mxfp4_windows *ww_mxfp4_windows_new(void)
{
    struct ww_mxfp4_windows *windows = ww_calloc(1, sizeof(*windows));

    if (windows) {
        pthread_mutex_init(&windows->lock, NULL);
    }
    for (size_t i = 0; windows && i < SLOTS; i++) {
        windows->slots[i].tensor = WW_NONE;
    }
    return windows;
}

void ww_mxfp4_windows_free(struct ww_mxfp4_windows *windows)
{
    for (size_t i = 0; windows && i < SLOTS; i++) {
        ww_free(windows->slots[i].one);
        ww_free(windows->slots[i].two);
    }
    if (windows) {
        pthread_mutex_destroy(&windows->lock);
    }
    ww_free(windows);
}

static bool holds(const struct window *w, const struct window *want)
{
    return w->tensor == want->tensor && w->at == want->at && w->cells == want->cells;
}

/* The slot that holds what is wanted, or else the one that was longest not asked for, of
 * those that nobody reads; `own` where there is none. */
static struct window *take(struct ww_mxfp4_windows *windows, const struct window *want,
                           struct window *own)
{
    struct window *found = NULL;

    pthread_mutex_lock(&windows->lock);
    for (size_t i = 0; i < SLOTS; i++) {
        struct window *w = &windows->slots[i];
        if (!w->busy && (!found || holds(w, want) ||
                         (!holds(found, want) && w->used < found->used))) {
            found = w;
        }
    }
    if (found) {
        found->busy = true;
        found->used = ++windows->clock;
    }
    pthread_mutex_unlock(&windows->lock);
    return found ? found : own;
}

static void give_back(struct ww_mxfp4_windows *windows, struct window *w)
{
    pthread_mutex_lock(&windows->lock);
    w->busy = false;
    pthread_mutex_unlock(&windows->lock);
}

/* A block of a row to where its elements belong, which are `rows` apart. */
static bool decode(const uint8_t *codes, uint8_t scale, uint64_t rows, uint64_t row,
                   const struct window *w)
{
    uint8_t block[1 + CODES] = {scale};
    float values[BLOCK];
    double one[BLOCK];
    double two[BLOCK];

    for (unsigned e = 0; e < BLOCK; e++) {
        const unsigned code = codes[e / 2] >> e % 2 * 4 & 15;
        block[1 + e % CODES] |= (uint8_t)(code << e / CODES * 4);
    }
    ww_gguf_to_float(WW_GGUF_MXFP4, block, 1, values);
    if (w->cells) {
        ww_gguf_cells(WW_GGUF_MXFP4, block, 1, values, one, two);
    } else {
        ww_gguf_steps(WW_GGUF_MXFP4, block, 1, two);
    }
    for (unsigned e = 0; e < BLOCK; e++) {
        const bool minus = (codes[e / 2] >> e % 2 * 4 & 15) == MINUS_ZERO;
        if (scale == NO_NUMBER || !isfinite(values[e])) {
            return false;
        }
        w->one[e * rows + row] = w->cells ? one[e] : minus ? -0.0 : (double)values[e];
        w->two[e * rows + row] = two[e];
    }
    return true;
}

struct room {
    uint8_t codes[ROOM];
    uint8_t scales[ROOM];
};

/* All rows of a window. */
static enum ww_err load(const struct ww_model *model, const struct ww_mxfp4 *of,
                        const struct window *w, struct room *room, struct ww_error *err)
{
    const uint64_t stride = of->groups * CODES;
    const uint64_t most = stride > NEAR ? 1 : 1 + (ROOM - CODES) / stride;
    const uint64_t first =
        w->at / of->groups * of->rows * of->groups + w->at % of->groups;
    uint64_t n = 0;
    enum ww_err rc = WW_OK;

    for (uint64_t row = 0; row < of->rows && !rc; row += n) {
        const uint64_t block = first + row * of->groups;
        n = ww_min_u64(of->rows - row, most);
        rc = ww_elements_bytes(model, of->blocks, block * CODES,
                               (size_t)((n - 1) * stride + CODES), room->codes, err);
        rc =
            rc ? rc
               : ww_elements_bytes(model, of->scales, block,
                                   (size_t)((n - 1) * of->groups + 1), room->scales, err);
        for (uint64_t i = 0; i < n && !rc; i++) {
            if (!decode(room->codes + i * stride, room->scales[i * of->groups], of->rows,
                        row + i, w)) {
                rc = WW_FAIL(err, WW_E_NONFINITE,
                             "tensor '%.160s' of '%s' holds NaN or infinity; repair the "
                             "weights first",
                             model->tensors[of->blocks].name, model->path);
            }
        }
    }
    return rc;
}

static enum ww_err fill(const struct ww_model *model, const struct ww_mxfp4 *of,
                        const struct window *want, struct window *w, struct ww_error *err)
{
    const size_t n = (size_t)(BLOCK * of->rows);
    struct room *room = NULL;
    enum ww_err rc = WW_OK;

    w->tensor = WW_NONE;
    if (w->room < n) {
        ww_free(w->one);
        ww_free(w->two);
        w->one = ww_calloc(n, sizeof(*w->one));
        w->two = ww_calloc(n, sizeof(*w->two));
        w->room = w->one && w->two ? n : 0;
    }
    w->cells = want->cells;
    w->at = want->at;
    room = ww_calloc(1, sizeof(*room));
    rc = w->room >= n && room ? load(model, of, w, room, err)
                              : WW_FAIL_MEMORY(err, "blocks");
    ww_free(room);
    if (!rc) {
        w->tensor = want->tensor;
    }
    return rc;
}

enum ww_err ww_mxfp4_read(const struct ww_model *model, const struct ww_mxfp4 *of,
                          struct ww_mxfp4_windows *windows, uint64_t first, size_t n,
                          bool cells, double *one, double *two, struct ww_error *err)
{
    const uint64_t whole = BLOCK * of->rows;
    struct window own = {.tensor = WW_NONE};
    enum ww_err rc = WW_OK;

    for (size_t done = 0; done < n && !rc;) {
        const uint64_t from = (first + done) % whole;
        const size_t m = (size_t)ww_min_u64(n - done, whole - from);
        const struct window want = {
            .cells = cells, .tensor = of->blocks, .at = (first + done) / whole};
        struct window *w = take(windows, &want, &own);
        rc = holds(w, &want) ? WW_OK : fill(model, of, &want, w, err);
        if (!rc) {
            memcpy(one + done, w->one + from, m * sizeof(*one));
        }
        if (!rc && two) {
            memcpy(two + done, w->two + from, m * sizeof(*two));
        }
        if (w != &own) {
            give_back(windows, w);
        }
        done += m;
    }
    ww_free(own.one);
    ww_free(own.two);
    return rc;
}
