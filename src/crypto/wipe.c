/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own: readers of public data wipe too, and hold no guarded memory. */
#include <sodium.h>

#include "crypto/secret.h"

void ww_wipe(void *p, size_t len)
{
    sodium_memzero(p, len);
}
