/* SPDX-License-Identifier: Apache-2.0 */
/* A sealed folder that was opened with one recipient's key or the passphrase. */
#ifndef WW_SEAL_SEALED_FOLDER_H
#define WW_SEAL_SEALED_FOLDER_H

#include "crypto/lockkey.h"
#include "seal/seal_manifest.h"
#include "seal/seal_plan.h"

struct ww_sealed_folder {
    const char *path;
    int dirfd;
    struct ww_buf keys; /* the keys file */
    struct ww_record record;
    struct ww_secret *prk;
    struct ww_seal_manifest manifest;
};

/** Read and parse the keys file only. WW_E_NOTFOUND when the folder is not sealed. */
enum ww_err ww_sealed_keys_read(struct ww_sealed_folder *folder, const char *path,
                                struct ww_error *err) WW_MUST_USE;
/** Open the content key and the manifest. WW_E_NOT_FOR_YOU, WW_E_PASSPHRASE,
 *  WW_E_SEALED. */
enum ww_err ww_sealed_open(struct ww_sealed_folder *folder, const char *path,
                           const struct ww_unsealer *unsealer,
                           struct ww_error *err) WW_MUST_USE;
void ww_sealed_close(struct ww_sealed_folder *folder);

/** Open one sealed file of the manifest and check its head. */
enum ww_err ww_sealed_add(const struct ww_sealed_folder *folder,
                          const struct ww_seal_file *file, struct ww_seal_items *list,
                          struct ww_seal_item **item, struct ww_error *err) WW_MUST_USE;
/** WW_E_SEALED when the digest is not the one that the manifest commits to. */
enum ww_err ww_sealed_check_digest(const struct ww_sealed_folder *folder,
                                   const struct ww_seal_file *file,
                                   const uint8_t sha256[WW_SHA256_BYTES],
                                   struct ww_error *err) WW_MUST_USE;
/** What the manifest says, for people. */
struct ww_seal_report;
void ww_sealed_describe(const struct ww_sealed_folder *folder,
                        struct ww_seal_report *report);

#endif
