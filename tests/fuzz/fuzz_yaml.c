/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever is accepted is a tree within the limits, and every read of it ends. */
#include "fuzz.h"

#include <string.h>

#include "yaml/yaml.h"

static const struct ww_yaml_limits limits = {1u << 16, 16, 2000};

static size_t visit(const struct ww_ynode *node, unsigned depth)
{
    size_t n = 1;
    size_t children = 0;
    const char *s = NULL;
    double d = 0;
    int64_t i = 0;
    FUZZ_CHECK(depth <= limits.max_depth + 1);
    FUZZ_CHECK(ww_yline(node) > 0);
    if (ww_yi64(node, &i)) {
        FUZZ_CHECK(ww_ynumber(node, &d) && d == (double)i);
    }
    if (ww_ystr(node, &s)) {
        FUZZ_CHECK(ww_ytext(node, &s));
    }
    for (const struct ww_ynode *c = ww_yfirst(node); c; c = ww_ynext(c)) {
        FUZZ_CHECK((ww_ykey(c) != NULL) == (ww_ytype(node) == WW_Y_MAP));
        if (ww_ykey(c) && ww_ytype(c) != WW_Y_NULL) {
            FUZZ_CHECK(ww_yget(node, ww_ykey(c)) == c);
        }
        n += visit(c, depth + 1);
        children++;
    }
    FUZZ_CHECK(children == ww_ysize(node));
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_yaml *yaml = NULL;
    enum ww_err rc = ww_yaml_parse(data, size, "input", &limits, &yaml, &err);
    size_t n = 0;
    FUZZ_CHECK((yaml != NULL) == (rc == WW_OK));
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    for (size_t i = 0; i < ww_yaml_count(yaml); i++) {
        n += visit(ww_yaml_root(yaml, i), 0);
    }
    FUZZ_CHECK(n <= limits.max_nodes);
    ww_yaml_free(yaml);
    return 0;
}
