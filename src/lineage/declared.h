/* SPDX-License-Identifier: Apache-2.0 */
/* What a folder says it was made of: the recipe that lies in it, or its card. */
#ifndef WW_LINEAGE_DECLARED_H
#define WW_LINEAGE_DECLARED_H

#include "util/str.h"

#define WW_DECLARED_CARD "README.md"

/* What base_model_relation of a card says of the models; that of a fine-tune or adapter,
 * and of what is not known, changes nothing. */
enum ww_declared_relation {
    WW_DECLARED_DERIVED,
    WW_DECLARED_QUANTIZED,
    WW_DECLARED_MERGE
};

struct ww_declared {
    const char *file;        /* static: where it is said; NULL: nowhere */
    struct ww_strlist names; /* of a card: base_model, as written */
    enum ww_declared_relation relation;
    const char
        *unread; /* static: why not all that a card declares is known; NULL: it is */
};

/** The recipe first; a card that is none says nothing. Release in every case. */
enum ww_err ww_declared_read(const char *folder, struct ww_declared *out,
                             struct ww_error *err) WW_MUST_USE;
/** base_model and base_model_relation of a card's front matter. The Hub takes a name or a
 *  list of names; of anything else out->unread is set. */
enum ww_err ww_declared_card(const uint8_t *text, size_t len, struct ww_declared *out,
                             struct ww_error *err) WW_MUST_USE;
void ww_declared_release(struct ww_declared *declared);

#endif
