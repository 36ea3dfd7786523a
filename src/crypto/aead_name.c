/* SPDX-License-Identifier: Apache-2.0 */
/* Names of ciphers, apart from the ciphers: who verifies reads the names alone. */
#include <string.h>

#include "crypto/aead.h"
#include "util/fail.h"

static const struct {
    uint32_t number;
    const char *name;
} ciphers[] = {
    {WW_AEAD_AES256_GCM, "aes-256-gcm"},
    {WW_AEAD_CHACHA20, "chacha20-poly1305"},
};

const char *ww_aead_name(uint32_t cipher)
{
    for (size_t i = 0; i < WW_LEN(ciphers); i++) {
        if (ciphers[i].number == cipher) {
            return ciphers[i].name;
        }
    }
    return NULL;
}

bool ww_aead_find(const char *name, uint32_t *out)
{
    for (size_t i = 0; i < WW_LEN(ciphers); i++) {
        if (strcmp(ciphers[i].name, name) == 0) {
            *out = ciphers[i].number;
            return true;
        }
    }
    return false;
}
