/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Signing and verifying model folders: OpenSSF Model Signing v1.0 (a DSSE envelope in a
 * Sigstore bundle), and the signed tensor tree of this project.
 *
 * Verification keeps no state between calls. The signature is checked before the payload
 * is parsed; every file is opened once, hashed from that descriptor and compared.
 */
#ifndef WEIGHTWARD_SIGN_H
#define WEIGHTWARD_SIGN_H

#include "weightward/key.h"
#include "weightward/run.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WW_SIGNATURE_FILE "model.sig"
#define WW_ATTESTATIONS_DIR "attestations"
#define WW_TENSORS_FILE "attestations/tensors.sigstore.json"
/* What an unsigned lock writes instead: the same statement without an envelope. */
#define WW_TENSORS_PLAIN_FILE "attestations/tensors.intoto.json"
#define WW_TENSORS_PREDICATE "urn:weightward:predicate:tensors:1"

/** How a statement gets signed. */
struct ww_signer {
    struct ww_signkey *key;
    const char *certificate;  /* PEM path of the leaf, NULL: key method */
    const char *const *chain; /* PEM paths of the intermediates and root: the
                                 chain must be valid now and end in a root */
    size_t n_chain;
};

struct ww_sign_options {
    const char *signature;           /* NULL: model.sig in the folder */
    const char *const *ignore_paths; /* relative to the folder, or absolute and in it;
                                        exact paths with what lies below, no patterns */
    size_t n_ignore_paths;
    bool tensors;      /* also write the signed tensor tree; keeps a lock
                          that the folder's present statement holds */
    bool replace;      /* overwrite existing signatures */
    const char *cache; /* file outside of the folder with the digests of
                          an earlier run, signed by the same key: files
                          that have not changed since are not read. Made
                          when missing; NULL: read everything */
    struct ww_run_options run;
};

struct ww_sign_report {
    uint64_t files;
    uint64_t cached; /* of them, those that were not read */
    uint64_t bytes;
    char root_sha256[65]; /* OMS root digest */
    char hint[65];        /* of the signing key */
};

/** Sign a folder: regular files only, symbolic links refused (WW_E_PATH), git files left
 *  out. WW_E_EXISTS is found before anything is hashed; the signature is written last. */
WW_API enum ww_err ww_sign_folder(const char *path, const struct ww_signer *signer,
                                  const struct ww_sign_options *options,
                                  struct ww_sign_report *report,
                                  struct ww_error *err) WW_MUST_USE;

enum ww_verify_method { WW_VERIFY_KEY, WW_VERIFY_CERTIFICATE, WW_VERIFY_KEYLESS };

struct ww_verify_options {
    enum ww_verify_method method;
    const char *public_key;   /* KEY: SPKI PEM path */
    const char *const *chain; /* CERTIFICATE: PEM paths of trust anchors */
    size_t n_chain;
    int64_t at_unix;                 /* CERTIFICATE: time to check at; 0: that of the
                                        signed timestamps when there is a trusted root,
                                        or else now */
    const char *trusted_root;        /* KEYLESS: trusted_root.json of the instance;
                                        CERTIFICATE: may be NULL */
    const char *identity;            /* KEYLESS: who must have signed, exactly */
    const char *identity_provider;   /* KEYLESS: URL of who vouched for that, exactly */
    const char *signature;           /* NULL: model.sig in the folder; FILE.sig beside a
                                        model that is one file */
    const char *const *ignore_paths; /* as when signing, added to the signed ones */
    size_t n_ignore_paths;
    bool ignore_unsigned_files;
    const char *tensor; /* verify this tensor alone, by the tensor tree */
    struct ww_run_options run;
};

struct ww_verify_report {
    char signer[256]; /* "key HINT (P-256)" or the certificate subject */
    uint64_t files_checked;
    uint64_t tensors_checked;
    uint64_t bytes_checked;
    char **not_checked; /* sentences: files left out, modes, and so on */
    size_t n_not_checked;
    char root_sha256[65];
    char tensor_root[65]; /* model root of the tensor tree, when it was read */
    bool locked;          /* the tensor statement, signed by the same, holds
                             a lock */
};
WW_API void ww_verify_report_release(struct ww_verify_report *report);

/** WW_OK only when everything the signature covers was read and matches. Verdicts are the
 *  5xx codes (WW_E_NOT_SIGNED, WW_E_SIGNATURE, WW_E_UNTRUSTED, WW_E_EXPIRED,
 *  WW_E_TAMPERED, WW_E_MISSING_FILE, WW_E_EXTRA_FILE); the text names the file. path may
 *  also be a model that is one file. On failure the report says at most who signed. */
WW_API enum ww_err ww_verify_folder(const char *path,
                                    const struct ww_verify_options *options,
                                    struct ww_verify_report *report,
                                    struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
