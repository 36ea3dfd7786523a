/* SPDX-License-Identifier: Apache-2.0 */
/* Members of a catalogue that the files of another one would stand for. */
#ifndef WW_LINEAGE_CATALOGUE_TWINS_H
#define WW_LINEAGE_CATALOGUE_TWINS_H

#include "lineage/catalogue_search.h"
#include "weightward/lineage.h"

/** Which of the compared models (picks, then more) have a twin among the members that
 * were not compared: one that in its place would leave no more of the difference than
 * what counts as settled, so that files cannot tell which of them went in. twin is
 *  [pursuit.n + n_more]. The same for any number of threads. */
enum ww_err ww_twins_find(const struct ww_lookup *search,
                          const struct ww_decompose_report *found, bool *twin,
                          struct ww_error *err) WW_MUST_USE;

#endif
