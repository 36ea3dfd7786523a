/* SPDX-License-Identifier: Apache-2.0 */
/* Model cards as the Hub knows them. A card that is no card says nothing. */
#include "evidence/front_matter.h"

#include <string.h>

/* The YAML between the first two lines "---"; *len is 0 without it. */
static const uint8_t *front_matter(const uint8_t *text, size_t n, size_t *len)
{
    const uint8_t *end = NULL;

    *len = 0;
    if (n < 4 || memcmp(text, "---\n", 4) != 0) {
        return text;
    }
    end = memmem(text + 3, n - 3, "\n---", 4);
    *len = end ? (size_t)(end + 1 - (text + 4)) : 0;
    return text + 4;
}

struct ww_yaml *ww_card_open(const uint8_t *text, size_t len)
{
    struct ww_yaml *yaml = NULL;
    size_t n = 0;
    const uint8_t *front = front_matter(text, len, &n);

    if (n == 0 || ww_yaml_parse(front, n, "card", &ww_yaml_limits_recipe, &yaml, NULL)) {
        return NULL;
    }
    return yaml;
}

const char *ww_card_license(const struct ww_yaml *card)
{
    const struct ww_ynode *root = ww_yaml_root(card, 0);
    const char *license = NULL;

    if (!ww_ytext(ww_yget(root, "license"), &license)) {
        return NULL;
    }
    if (strcmp(license, "other") == 0) {
        (void)ww_ytext(ww_yget(root, "license_name"), &license);
    }
    return license;
}
