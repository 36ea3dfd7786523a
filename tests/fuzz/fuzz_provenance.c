/* SPDX-License-Identifier: Apache-2.0 */
/* A payload of provenance: what is accepted keeps the reader's promises. */
#include "fuzz.h"

#include <string.h>

#include "evidence/provenance.h"

static void check(const struct ww_provenance_view *view)
{
    FUZZ_CHECK(view->action && view->method && view->name && view->n_files > 0);
    FUZZ_CHECK((view->n_links == 0) == (strcmp(view->action, "origin") == 0));
    FUZZ_CHECK(view->n_links <= WW_PROVENANCE_MAX_SOURCES);
    for (size_t i = 1; i < view->n_files; i++) {
        FUZZ_CHECK(strcmp(view->files[i - 1].name, view->files[i].name) < 0);
    }
    for (size_t i = 0; i < view->n_links; i++) {
        struct ww_resource file = {0};
        FUZZ_CHECK(view->links[i].name && ww_jsize(view->links[i].files) > 0);
        FUZZ_CHECK(ww_provenance_file(ww_jfirst(view->links[i].files), &file));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_provenance_view view;
    const enum ww_err rc = ww_provenance_parse(data, size, &view, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK((rc == WW_OK) == (view.json != NULL));
    if (!rc) {
        check(&view);
    }
    ww_provenance_release(&view);
    return 0;
}
