/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Level sealed: weight files encrypted for named recipients or by a passphrase.
 *
 * The only level that keeps weights from a reader, and only until the first recipient
 * opens them. Headers of the weight files, config.json, the tokenizer and the other files
 * stay readable; every one of them is authenticated. Formats:
 * docs/formats/sealed-model.md.
 */
#ifndef WEIGHTWARD_SEAL_H
#define WEIGHTWARD_SEAL_H

#include "weightward/key.h"
#include "weightward/run.h"
#include "weightward/sign.h"

#ifdef __cplusplus
extern "C" {
#endif

/* In a sealed folder: who may open it, and what it holds. */
#define WW_SEAL_KEYS_FILE "attestations/keys.sealed"
#define WW_SEAL_MANIFEST_FILE "sealed.json"

enum ww_seal_cipher {
    WW_SEAL_CIPHER_BEST, /* AES when the processor has instructions for it */
    WW_SEAL_CIPHER_AES256_GCM,
    WW_SEAL_CIPHER_CHACHA20_POLY1305
};

struct ww_seal_options {
    struct ww_sealer sealer;        /* recipients or a passphrase, one of them */
    const struct ww_signer *signer; /* NULL: not signed */
    bool no_lineage;                /* signed, but not with provenance: nobody but the
                                       recipients learns which model lies in it, or of
                                       what that was made */
    enum ww_seal_cipher cipher;
    struct ww_run_options run; /* resume is refused: each run has its own key */
};

struct ww_seal_report {
    uint64_t files; /* encrypted */
    uint64_t bytes; /* of plaintext in them */
    uint64_t chunk_bytes;
    uint64_t recipients; /* 0: by a passphrase */
    char cipher[32];
    char seal_id[33];
    char root_sha256[65]; /* OMS root, empty when unsigned */
    struct ww_run_report run;
    char **warnings;
    size_t n_warnings;
};
WW_API void ww_seal_report_release(struct ww_seal_report *report);

/** Seal a model folder into a new folder, which appears whole or not at all; the file
 * with the keys is written last. WW_E_USAGE without anybody who may open it, WW_E_EXISTS,
 * WW_E_UNSUPPORTED for a folder that is sealed, WW_E_KEY and WW_E_KEYFILE for recipients'
 * files, WW_E_NOSPACE. */
WW_API enum ww_err ww_seal_folder(const char *path, const char *out_path,
                                  const struct ww_seal_options *options,
                                  struct ww_seal_report *report,
                                  struct ww_error *err) WW_MUST_USE;

/** True when the folder is a sealed one. */
WW_API bool ww_folder_is_sealed(const char *path);

/** Give the source folder back, byte for byte. WW_E_NOT_FOR_YOU when the recipient is not
 *  named, WW_E_SEALED when anything was altered, moved, cut or added to a file. */
WW_API enum ww_err ww_unseal_folder(const char *path, const char *out_path,
                                    const struct ww_unsealer *unsealer,
                                    const struct ww_run_options *run,
                                    struct ww_seal_report *report,
                                    struct ww_error *err) WW_MUST_USE;

/** Takes plaintext in order; what it returns ends the call when it is not WW_OK. */
typedef enum ww_err (*ww_unseal_fn)(void *payload, const void *bytes, size_t n,
                                    struct ww_error *err);
/** Give one sealed file's plaintext out in order, each chunk after its tag was checked.
 *  name is the file's name before sealing. Peak memory: its header and two chunks.
 *  WW_E_NOTFOUND without such a file, WW_E_NOT_FOR_YOU, WW_E_PASSPHRASE, WW_E_SEALED. */
WW_API enum ww_err ww_unseal_file(const char *path, const char *name,
                                  const struct ww_unsealer *unsealer,
                                  const struct ww_run_options *run, ww_unseal_fn give,
                                  void *payload, struct ww_seal_report *report,
                                  struct ww_error *err) WW_MUST_USE;

/** Who may open a sealed folder: what its keys file says, unverified. */
struct ww_seal_access {
    enum ww_key_sealing sealing;
    char seal_id[33];
    uint64_t created_unix;
    char (*recipients)[33]; /* ids in hex */
    size_t n_recipients;
};
/** *out is the caller's, to be released. WW_E_NOTFOUND for a folder that is not sealed,
 *  WW_E_KEYFILE and WW_E_VERSION for a keys file that cannot be read. */
WW_API enum ww_err ww_seal_access_read(const char *path, struct ww_seal_access *out,
                                       struct ww_error *err) WW_MUST_USE;
WW_API void ww_seal_access_release(struct ww_seal_access *access);

/** Recipients to add (paths of NAME.pub) and to remove (ids in hex). Only the keys file
 * is written anew. Removing stops openings with the new keys file alone: the content key
 * stays what it was, so who has opened the model, or kept the old file, can still open
 * it. */
struct ww_seal_change {
    const char *const *add;
    size_t n_add;
    const char *const *remove;
    size_t n_remove;
};
/** unsealer opens the folder: only who may read it may say who else may. The keys file is
 *  replaced whole or not at all. WW_E_NOT_FOR_YOU, WW_E_PASSPHRASE, WW_E_USAGE for a
 *  recipient who is there already, is not, or would be the last, WW_E_UNSUPPORTED for a
 *  model that is sealed by a passphrase. */
WW_API enum ww_err ww_seal_change_recipients(const char *path,
                                             const struct ww_unsealer *unsealer,
                                             const struct ww_seal_change *change,
                                             struct ww_error *err) WW_MUST_USE;

/** Id of a recipient's NAME.pub in hex. WW_E_NOTFOUND, WW_E_KEY, WW_E_KEYFILE. */
WW_API enum ww_err ww_recipient_id_of(const char *path, char id[33],
                                      struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
