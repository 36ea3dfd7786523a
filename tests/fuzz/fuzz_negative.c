/* SPDX-License-Identifier: Apache-2.0 */
/* Deliberately wrong: the input "WW!" makes it write one byte behind a block. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 3 && memcmp(data, "WW!", 3) == 0) {
        volatile size_t n = 3;
        volatile uint8_t *block = malloc(n);
        block[n] = data[0];
        free((void *)(uintptr_t)block);
    }
    return 0;
}
