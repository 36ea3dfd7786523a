/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sealed box has no associated data, so what a key is for lies beside it in the sealed
 * payload: no one who cannot open the record can bind its secret to something else.
 */
#include "crypto/binding.h"

#include <string.h>

#include "util/fail.h"
#include "util/num.h"
#include "util/str.h"

#define AT_MODEL 4
#define AT_LOCK 36
#define AT_NAME 68

_Static_assert(AT_NAME + WW_BOUND_NAME_BYTES == WW_BINDING_BYTES, "fields fill it");

void ww_binding_write(const struct ww_key_binding *binding, uint8_t out[WW_BINDING_BYTES])
{
    memset(out, 0, WW_BINDING_BYTES);
    ww_put_u32le(out, (uint32_t)binding->purpose);
    memcpy(out + AT_MODEL, binding->model_id, sizeof(binding->model_id));
    memcpy(out + AT_LOCK, binding->lock_id, sizeof(binding->lock_id));
    memcpy(out + AT_NAME, binding->model_name,
           strnlen(binding->model_name, WW_BOUND_NAME_BYTES - 1));
}

bool ww_binding_equal(const struct ww_key_binding *a, const struct ww_key_binding *b)
{
    uint8_t x[WW_BINDING_BYTES];
    uint8_t y[WW_BINDING_BYTES];

    ww_binding_write(a, x);
    ww_binding_write(b, y);
    return memcmp(x, y, sizeof(x)) == 0;
}

bool ww_binding_is_empty(const struct ww_key_binding *binding)
{
    static const struct ww_key_binding nothing = {0};
    return ww_binding_equal(binding, &nothing);
}

enum ww_err ww_binding_read(const uint8_t bytes[WW_BINDING_BYTES],
                            struct ww_key_binding *out, struct ww_error *err)
{
    static const uint8_t zeros[WW_BOUND_NAME_BYTES];
    const uint8_t *name = bytes + AT_NAME;
    const size_t len = strnlen((const char *)name, WW_BOUND_NAME_BYTES);
    const uint32_t purpose = ww_get_u32le(bytes);

    memset(out, 0, sizeof(*out));
    if (purpose > WW_PURPOSE_UNLOCK) {
        return WW_FAIL(err, WW_E_KEYFILE, "key is bound to the unknown purpose %u",
                       purpose);
    }
    if (len == WW_BOUND_NAME_BYTES || !ww_text_ok(name, len) ||
        memcmp(name + len, zeros, WW_BOUND_NAME_BYTES - len) != 0) {
        return WW_FAIL(err, WW_E_KEYFILE, "key is bound to a model without a clean name");
    }
    out->purpose = (enum ww_key_purpose)purpose;
    memcpy(out->model_id, bytes + AT_MODEL, sizeof(out->model_id));
    memcpy(out->lock_id, bytes + AT_LOCK, sizeof(out->lock_id));
    memcpy(out->model_name, name, len);
    return WW_OK;
}
