/* SPDX-License-Identifier: Apache-2.0 */
/* Deliberately wrong: the input "WW!" makes it add one to the largest number. */
#include "fuzz.h"

#include <limits.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 3 && memcmp(data, "WW!", 3) == 0) {
        volatile int most = INT_MAX;
        most = most + data[0];
    }
    return 0;
}
