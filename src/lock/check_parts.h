/* SPDX-License-Identifier: Apache-2.0 */
/**
 * The parts that the checks of cores (check_core.h) are made of: values before and after
 * the transform, drawn or read, and their comparison.
 */
#ifndef WW_LOCK_CHECK_PARTS_H
#define WW_LOCK_CHECK_PARTS_H

#include "lock/lens.h"

/* Rows of activations in every draw: enough that each position differs. */
#define WW_CHECK_ROWS 4

struct ww_checker {
    const struct ww_gauge *gauge;
    const struct ww_layout *layout;
    const struct ww_weights *base;
    const struct ww_element *stream; /* that what is checked reads and writes */
    struct ww_lens lens;
    uint64_t seed;
    double max_error;
};

/** Values before and after the transform; both NULL when there are none. */
struct ww_check_pair {
    double *before, *after;
};
void ww_check_pair_free(struct ww_check_pair *pair);
/** A tensor; nothing for WW_NONE. */
enum ww_err ww_check_pair_read(struct ww_checker *c, uint32_t tensor,
                               struct ww_check_pair *pair,
                               struct ww_error *err) WW_MUST_USE;
/** rows x element->n random values, and what the action makes of each row. */
enum ww_err ww_check_pair_random(struct ww_checker *c, const struct ww_element *element,
                                 enum ww_action action, size_t rows,
                                 struct ww_check_pair *pair,
                                 struct ww_error *err) WW_MUST_USE;

/** What the layout states for the output of a linear map, or NULL. */
const struct ww_segment *ww_check_output_segment(const struct ww_checker *c,
                                                 const struct ww_linear *linear);
/** Random output of a projection; width is used when nothing moves. */
enum ww_err ww_check_projection(struct ww_checker *c, const struct ww_linear *linear,
                                uint32_t width, struct ww_check_pair *pair,
                                struct ww_error *err) WW_MUST_USE;
/** Random rows over a space that the output of a linear map holds; n when none. */
enum ww_err ww_check_part(struct ww_checker *c, const struct ww_linear *linear,
                          uint32_t space, uint64_t n, struct ww_check_pair *pair,
                          struct ww_error *err) WW_MUST_USE;

/** Is got [rows, element->n] what the element makes of want? space: whose matrices act on
 *  top, or WW_NONE. WW_E_CHECK_FAILED names owner and part. */
enum ww_err ww_check_same_mixed(struct ww_checker *c, const char *owner, const char *part,
                                uint32_t space, const struct ww_element *element,
                                const double *got, const double *want, size_t rows,
                                struct ww_error *err) WW_MUST_USE;
/** The same of one row, without matrices. */
enum ww_err ww_check_same_moved(struct ww_checker *c, const char *owner, const char *part,
                                const struct ww_element *element, const double *got,
                                const double *want, struct ww_error *err) WW_MUST_USE;

/** A norm over a space with this element; over the stream; a layer scale on it. */
enum ww_err ww_check_norm_on(struct ww_checker *c, const char *owner, const char *part,
                             const struct ww_norm *norm, const struct ww_element *element,
                             struct ww_error *err) WW_MUST_USE;
enum ww_err ww_check_norm(struct ww_checker *c, const char *owner, const char *part,
                          const struct ww_norm *norm, struct ww_error *err) WW_MUST_USE;
enum ww_err ww_check_layer_scale(struct ww_checker *c, const char *owner, uint32_t tensor,
                                 struct ww_error *err) WW_MUST_USE;

/** Everything between the projections of an attention; in check_attention.c. */
enum ww_err ww_check_attention(struct ww_checker *c, uint32_t index,
                               struct ww_error *err) WW_MUST_USE;

#endif
