/* SPDX-License-Identifier: Apache-2.0 */
/* An expression, a line end, and a name: it fits the name's end where it fits all that
 * follows a dot, and a plain text fits as the automaton says. */
#include "fuzz.h"

#include <string.h>

#include "util/alloc.h"
#include "util/pattern.h"
#include "util/str.h"

static bool fits_after_dots(struct ww_pattern *p, const char *name)
{
    bool fits = ww_pattern_fits(p, name);

    for (const char *dot = strchr(name, '.'); dot && !fits; dot = strchr(dot + 1, '.')) {
        fits = ww_pattern_fits(p, dot + 1);
    }
    return fits;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_pattern *p = NULL;
    char *text = ww_strndup((const char *)data, size);
    char *name = text ? strchr(text, '\n') : NULL;

    if (name) {
        *name++ = '\0';
    }
    if (name && ww_utf8_ok((const uint8_t *)name, strlen(name)) &&
        ww_pattern_new(text, &p, &err) == WW_OK) {
        const bool fits = ww_pattern_fits_end(p, name);
        bool plain = false;
        FUZZ_CHECK(!ww_pattern_plain_fits_end(text, name, &plain) || plain == fits);
        FUZZ_CHECK(strchr(text, '^') || fits == fits_after_dots(p, name));
        ww_pattern_free(p);
    }
    ww_free(text);
    return 0;
}
