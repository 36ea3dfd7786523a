/* SPDX-License-Identifier: Apache-2.0 */
/* Stops and texts are UTF-8, so what is cut or held begins where a character does. */
#include "serve/stop.h"

#include <string.h>

size_t ww_stop_find(const char *const *stops, uint32_t n, const uint8_t *text, size_t len,
                    size_t from)
{
    size_t first = len;
    for (uint32_t s = 0; s < n; s++) {
        const size_t size = strlen(stops[s]);
        for (size_t at = from < size ? 0 : from - size + 1; at + size <= len; at++) {
            if (memcmp(text + at, stops[s], size) == 0) {
                first = at < first ? at : first;
                break;
            }
        }
    }
    return first;
}

size_t ww_stop_held(const char *const *stops, uint32_t n, const uint8_t *text, size_t len)
{
    size_t held = 0;
    for (uint32_t s = 0; s < n; s++) {
        size_t size = strlen(stops[s]) - 1;
        size = size < len ? size : len;
        while (size > held && memcmp(text + len - size, stops[s], size) != 0) {
            size--;
        }
        held = size > held ? size : held;
    }
    return held;
}
