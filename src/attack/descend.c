/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Newton steps of at most 1, halved while the value rises; where the curve bends down, a
 * fixed step downhill takes their place.
 */
#include "attack/descend.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#define MAX_STEPS 100
#define MAX_HALVINGS 60

/* At the bottom rounding decides about f, and the slope alone can be trusted. */
static bool no_higher(struct ww_descent_value there, struct ww_descent_value here)
{
    return there.f <= here.f + 4.0 * DBL_EPSILON * here.scale;
}

double ww_descend(ww_descent_fn at, const void *problem, double u, double short_step)
{
    struct ww_descent_value here = at(problem, u);

    for (int i = 0; i < MAX_STEPS; i++) {
        double step =
            here.bend > 0.0 ? -here.slope / here.bend : (here.slope > 0.0 ? -0.25 : 0.25);
        step = fmin(fmax(step, -1.0), 1.0);
        struct ww_descent_value there = at(problem, u + step);
        for (int h = 0; h < MAX_HALVINGS && !no_higher(there, here); h++) {
            step *= 0.5;
            there = at(problem, u + step);
        }
        if (!no_higher(there, here)) {
            return u;
        }
        u += step;
        here = there;
        if (fabs(step) < short_step) {
            return u;
        }
    }
    return u;
}
