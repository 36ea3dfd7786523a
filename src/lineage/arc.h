/* SPDX-License-Identifier: Apache-2.0 */
/* The number of a spherical path from the shares of its two ends. */
#ifndef WW_LINEAGE_ARC_H
#define WW_LINEAGE_ARC_H

/** from = sin((1 - t) angle) / sin(angle), to = sin(t angle) / sin(angle): the t, for any
 *  angle. A sum of one or less is a straight line. */
double ww_arc_number(double from, double to);

#endif
