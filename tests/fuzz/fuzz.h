/* SPDX-License-Identifier: Apache-2.0 */
/* The entry point that libFuzzer, AFL++ and replay.c agree on. */
#ifndef WW_FUZZ_H
#define WW_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that does not hold stops the run like a crash does. */
#define FUZZ_CHECK(expr)                                                                 \
    do {                                                                                 \
        if (!(expr)) {                                                                   \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #expr);    \
            abort();                                                                     \
        }                                                                                \
    } while (0)

#endif
