/* SPDX-License-Identifier: Apache-2.0 */
/* The loops of stored_kept.h: one for each way of selecting, of adding up and number of
 * sources, of vectors of 256 bits and of 512. */
#ifndef WW_MERGE_STORED_KEPT_FORMS_H
#define WW_MERGE_STORED_KEPT_FORMS_H

#include "merge/stored.h"
#include "merge/stored_kept.h"

#define WW_STORED_KEPT_STEP 16u /* values at a time */

enum ww_stored_by { WW_BY_BITS, WW_BY_LEAST, WW_BY_RANGE, WW_STORED_BYS };
enum ww_stored_add {
    WW_ADD_TOTAL,
    WW_ADD_MEAN,
    WW_ADD_ELECTED,
    WW_ADD_ELECTED_MEAN,
    WW_STORED_ADDS
};

/** As ww_stored_kept; n is a multiple of the step. */
typedef bool (*ww_stored_form)(const struct ww_stored_kept *kept, const uint8_t *const *x,
                               const uint8_t *base, size_t n, uint8_t *out);

/** Of n_x sources, 2 to WW_STORED_KEPT_MOST. */
#define WW_STORED_COUNTS(name)                                                           \
    {                                                                                    \
        name##_2, name##_3, name##_4                                                     \
    }
#define WW_STORED_ROW(name)                                                              \
    {                                                                                    \
        WW_STORED_COUNTS(name##_total), WW_STORED_COUNTS(name##_mean),                   \
            WW_STORED_COUNTS(name##_elected), WW_STORED_COUNTS(name##_elected_mean)      \
    }
/* FORM(name, by, how, count) defines one. */
#define WW_STORED_FORMS(name, by, how)                                                   \
    FORM(name##_2, by, how, 2) FORM(name##_3, by, how, 3) FORM(name##_4, by, how, 4)
#define WW_STORED_WAYS(name, by)                                                         \
    WW_STORED_FORMS(name##_total, by, WW_ADD_TOTAL)                                      \
    WW_STORED_FORMS(name##_mean, by, WW_ADD_MEAN)                                        \
    WW_STORED_FORMS(name##_elected, by, WW_ADD_ELECTED)                                  \
    WW_STORED_FORMS(name##_elected_mean, by, WW_ADD_ELECTED_MEAN)

/** With AVX-512, where ww_stored_wide(). */
ww_stored_form ww_stored_kept_wide(enum ww_stored_by by, enum ww_stored_add how,
                                   uint32_t n_x);

#endif
