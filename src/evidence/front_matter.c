/* SPDX-License-Identifier: Apache-2.0 */
/* Model cards as the Hub knows them. A card that is no card says nothing. */
#include "evidence/front_matter.h"

#include <string.h>

/* Behind the line at `at`; n at the end. */
static size_t next_line(const uint8_t *text, size_t n, size_t at)
{
    const uint8_t *end = memchr(text + at, '\n', n - at);

    return end ? (size_t)(end - text) + 1 : n;
}

/* A line of nothing but `mark`, blanks and the end of a line. */
static bool is_line(const uint8_t *text, size_t n, size_t at, const char *mark)
{
    const size_t len = strlen(mark);
    const size_t end = next_line(text, n, at);

    if (end - at < len || memcmp(text + at, mark, len) != 0) {
        return false;
    }
    for (size_t i = at + len; i < end; i++) {
        if (!strchr(" \t\r\n", text[i]) || text[i] == '\0') {
            return false;
        }
    }
    return true;
}

/* Where the first line is when it is "---", behind a byte order mark and empty lines; n
 * when it is another. */
static size_t find_front(const uint8_t *text, size_t n)
{
    size_t at = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

    while (at < n && is_line(text, n, at, "")) {
        at = next_line(text, n, at);
    }
    return at < n && is_line(text, n, at, "---") ? at : n;
}

/* The YAML between the first two lines "---"; *len is 0 without it. */
static const uint8_t *front_matter(const uint8_t *text, size_t n, size_t *len)
{
    const size_t front = find_front(text, n);
    const size_t first = front < n ? next_line(text, n, front) : n;
    size_t at = first;

    while (at < n && !is_line(text, n, at, "---")) {
        at = next_line(text, n, at);
    }
    *len = at < n ? at - first : 0;
    return text + first;
}

bool ww_card_has_front(const uint8_t *text, size_t len)
{
    return find_front(text, len) < len;
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
    const struct ww_ynode *stated = ww_yget(root, "license");
    const char *license = NULL;

    if (ww_ytype(stated) == WW_Y_LIST && ww_ysize(stated) == 1) {
        stated = ww_yfirst(stated);
    }
    if (!ww_ytext(stated, &license)) {
        return NULL;
    }
    if (strcmp(license, "other") == 0) {
        (void)ww_ytext(ww_yget(root, "license_name"), &license);
    }
    return license;
}
