/* SPDX-License-Identifier: Apache-2.0 */
/** Newton's method in one variable, downhill only: what a pair and a neuron come down to.
 */
#ifndef WW_ATTACK_DESCEND_H
#define WW_ATTACK_DESCEND_H

struct ww_descent_value {
    double f;
    double scale; /* of the terms that f is the difference of */
    double slope;
    double bend;
};
typedef struct ww_descent_value (*ww_descent_fn)(const void *problem, double u);

/** The bottom of the valley that u lies in; ends at a step below short_step. */
double ww_descend(ww_descent_fn at, const void *problem, double u, double short_step);

#endif
