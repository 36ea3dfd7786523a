/* SPDX-License-Identifier: Apache-2.0 */
/** What a model card (README.md with YAML between two lines "---") says. */
#ifndef WW_EVIDENCE_FRONT_MATTER_H
#define WW_EVIDENCE_FRONT_MATTER_H

#include "yaml/yaml.h"

/** The front matter; NULL when the card has none that can be read. Free with
 *  ww_yaml_free. */
struct ww_yaml *ww_card_open(const uint8_t *text, size_t len);
/** Does it begin with a line "---", whether or not what follows can be read? */
bool ww_card_has_front(const uint8_t *text, size_t len);
/** The licence as the card spells it: 'license', or 'license_name' when that says
 *  "other"; of a list the only one. NULL for none, or for several. Borrowed. */
const char *ww_card_license(const struct ww_yaml *card);

#endif
