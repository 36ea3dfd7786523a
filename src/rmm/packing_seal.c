/* SPDX-License-Identifier: Apache-2.0 */
/* A content key for one section, wrapped for each recipient in a sealed record. */
#include <string.h>
#include <time.h>

#include "crypto/aead.h"
#include "crypto/recipient.h"
#include "rmm/packing.h"
#include "util/alloc.h"
#include "util/fail.h"

static enum ww_err wrap(struct ww_packing *p, const struct ww_pack_manifest_member *entry,
                        const uint8_t (*recipients)[WW_X25519_BYTES], size_t n,
                        struct ww_secret *content_key, struct ww_error *err)
{
    struct ww_record_plan plan = {.kind = WW_RECORD_CONTENT,
                                  .created_unix = (uint64_t)time(NULL),
                                  .cost = ww_argon2_strong,
                                  .recipients = recipients,
                                  .n_recipients = n};
    struct ww_secret *record = NULL;
    enum ww_err rc = WW_OK;

    memcpy(plan.id, entry->key_id, sizeof(plan.id));
    rc = ww_record_make(&plan, content_key, &record, err);
    if (!rc) {
        rc = ww_pack_keys_add(&p->keys, ww_secret_open(record), ww_secret_len(record),
                              err);
        ww_secret_close(record);
    }
    ww_secret_free(record);
    return rc;
}

enum ww_err ww_packing_seal(struct ww_packing *p, const struct ww_pack_member *given,
                            struct ww_pack_manifest_member *entry, struct ww_secret **key,
                            struct ww_error *err)
{
    uint8_t(*recipients)[WW_X25519_BYTES] = NULL;
    struct ww_secret *content_key = NULL;
    enum ww_err rc = ww_recipients_load(given->to, given->n_to, &recipients, err);

    *key = NULL;
    if (!rc) {
        rc = ww_secret_new(WW_RECORD_SECRET_BYTES, &content_key, err);
    }
    if (rc) {
        goto out;
    }
    ww_random(ww_secret_open(content_key), WW_RECORD_SECRET_BYTES);
    ww_secret_close(content_key);
    ww_random(entry->key_id, sizeof(entry->key_id));
    entry->sealed = true;
    entry->cipher = (uint32_t)ww_aead_best();
    rc = wrap(p, entry, (const uint8_t(*)[WW_X25519_BYTES])recipients, given->n_to,
              content_key, err);
    if (!rc) {
        rc = ww_section_key(content_key, entry->key_id, key, err);
    }
out:
    ww_secret_free(content_key);
    ww_free(recipients);
    return rc;
}
