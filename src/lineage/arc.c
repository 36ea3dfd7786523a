/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shares of SLERP (Shoemake 1985) are not linear in its number. Their sum is
 * cos((1 - 2 t) angle / 2) / cos(angle / 2) and tells the angle, their ratio then the
 * number; each a little wrong leaves the other better, so they are solved in turns.
 */
#include "lineage/arc.h"

#include <math.h>

#define WIDEST 3.1 /* angle */
#define TURNS 8
#define HALVINGS 48

static double angle_of(double sum, double t)
{
    double low = 0;
    double high = WIDEST;

    for (unsigned i = 0; i < HALVINGS; i++) {
        const double middle = (low + high) / 2;
        if (cos((1 - 2 * t) * middle / 2) < sum * cos(middle / 2)) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

double ww_arc_number(double from, double to)
{
    const double sum = from + to;
    const double part = sum > 0 ? to / sum : 0;
    double t = part;

    for (unsigned i = 0; i < TURNS && sum > 1 && part > 0 && part < 1; i++) {
        const double angle = angle_of(sum, t);
        if (angle <= 0) {
            return part;
        }
        t = atan2(part * sin(angle), 1 - part + part * cos(angle)) / angle;
    }
    return t;
}
