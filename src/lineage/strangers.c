/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table whose words were put in another order says nothing of shares, and in a fit it
 * is noise as long as the weights. Weights of relatives point the same way in every
 * matrix, so a look at pieces from all over it tells.
 */
#include "lineage/strangers.h"

#include <inttypes.h>

#include "model/elements.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

#define PIECES 8
#define PIECE 2048
#define LEAST 1024 /* elements of a tensor that is looked at */
#define LIKE 0.5   /* least cosine; ternary weights have 0.8 */

struct look {
    uint8_t bytes[PIECE * sizeof(double)];
    double suspect[PIECE];
    double steps[PIECE];
    double base[PIECE];
};

static enum ww_err read_piece(const struct ww_family *f, const struct ww_family_tensor *t,
                              uint64_t first, size_t n, struct look *look,
                              struct ww_error *err)
{
    const struct ww_disguise *d = &f->disguise;
    const uint32_t s = t->index[WW_FAMILY_SUSPECT];
    enum ww_err rc =
        d->read ? ww_disguise_values(d, s, first, n, look->suspect, look->steps, err)
                : ww_elements_double(f->models[WW_FAMILY_SUSPECT], s, first, n,
                                     look->bytes, look->suspect, err);

    return rc ? rc
              : ww_elements_double(f->models[WW_FAMILY_BASE], t->index[WW_FAMILY_BASE],
                                   first, n, look->bytes, look->base, err);
}

static enum ww_err is_stranger(const struct ww_family *f,
                               const struct ww_family_tensor *t, struct look *look,
                               bool *stranger, struct ww_error *err)
{
    const size_t n = (size_t)ww_min_u64(PIECE, t->n_elements / PIECES);
    double ss = 0;
    double bb = 0;
    double sb = 0;
    enum ww_err rc = WW_OK;

    *stranger = false;
    if (t->n_elements < LEAST) {
        return WW_OK;
    }
    for (uint64_t p = 0; p < PIECES && !rc; p++) {
        rc = read_piece(f, t, p * ((t->n_elements - n) / (PIECES - 1)), n, look, err);
        for (size_t e = 0; e < n && !rc; e++) {
            ss += look->suspect[e] * look->suspect[e];
            bb += look->base[e] * look->base[e];
            sb += look->suspect[e] * look->base[e];
        }
    }
    *stranger = !rc && ss > 0 && bb > 0 && (sb <= 0 || sb * sb < LIKE * LIKE * ss * bb);
    return rc;
}

static enum ww_err tell(struct ww_family *f, uint32_t n, const char *first,
                        struct ww_error *err)
{
    char *text =
        ww_asprintf("%" PRIu32 " tensor%s of the suspect, '%.160s' first, %s not "
                    "compared: words, rows or columns in another order point elsewhere "
                    "than the base's, as %s",
                    n, n == 1 ? "" : "s", first, n == 1 ? "is" : "are",
                    n == 1 ? "it does" : "they do");
    enum ww_err rc = text ? ww_strlist_add(&f->warnings, text, err)
                          : WW_FAIL_MEMORY(err, "a comparison of models");

    ww_free(text);
    return rc;
}

static void leave(struct ww_family *f, const bool *strangers)
{
    uint32_t n = 0;

    for (uint32_t t = 0; t < f->n_tensors; t++) {
        if (!strangers[t]) {
            f->tensors[n++] = f->tensors[t];
        }
    }
    f->n_strangers = f->n_tensors - n;
    f->n_tensors = n;
}

enum ww_err ww_family_leave_strangers(struct ww_family *family, struct ww_error *err)
{
    struct look *look = ww_calloc(1, sizeof(*look));
    bool *strangers = ww_calloc(family->n_tensors, sizeof(*strangers));
    const char *first = NULL;
    uint32_t n = 0;
    uint64_t all = 0;
    uint64_t odd = 0;
    enum ww_err rc =
        look && strangers ? WW_OK : WW_FAIL_MEMORY(err, "a comparison of models");

    for (uint32_t t = 0; t < family->n_tensors && !rc; t++) {
        const struct ww_family_tensor *tensor = &family->tensors[t];
        rc = is_stranger(family, tensor, look, &strangers[t], err);
        all += tensor->n_elements;
        if (strangers[t]) {
            odd += tensor->n_elements;
            first = n++ ? first : tensor->name;
        }
    }
    if (!rc && n > 0 && 2 * odd < all) {
        rc = tell(family, n, first, err);
        leave(family, strangers);
    }
    ww_free(strangers);
    ww_free(look);
    return rc;
}
