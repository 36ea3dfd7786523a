/* SPDX-License-Identifier: Apache-2.0 */
/* From which likeness on a member of a family counts as a source. */
#ifndef WW_LINEAGE_CATALOGUE_THRESHOLD_H
#define WW_LINEAGE_CATALOGUE_THRESHOLD_H

#include <stddef.h>

/** One-sided normal quantile that n trials exceed together with this chance. */
double ww_family_wise_z(double chance, size_t n);

/** z spreads above the median of values, [n], n > 0, finite; their order is lost. */
double ww_empirical_threshold(double *values, size_t n, double z);

#endif
