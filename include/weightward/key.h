/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Keys: signing keys (ECDSA), lock keys (32 secret bytes, sealed), recipient keys
 * (X25519).
 *
 * Files. Signing: NAME.key is PKCS#8 PEM (PBES2, scrypt, AES-256-CBC; plain only when
 * asked), NAME.pub is SPKI PEM. Recipient: NAME.key is a sealed record, NAME.pub one line
 * of text. Lock: one sealed record. The record's layout is in docs/formats/sealed-key.md.
 * Secret files are created 0600 with O_EXCL and O_NOFOLLOW and refused when readable by
 * others.
 */
#ifndef WEIGHTWARD_KEY_H
#define WEIGHTWARD_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Secret bytes in guarded memory. Opaque; free wipes. */
struct ww_secret;
WW_API void ww_secret_free(struct ww_secret *secret);

/** Read a passphrase from a file or descriptor up to the first newline or end (both
 *  removed), at most 1024 bytes (else WW_E_LIMIT), into guarded memory; *out is the
 *  caller's. A file readable by others is WW_E_KEY_ACCESS, an absent one WW_E_NOTFOUND.
 *  Empty is WW_E_PASSPHRASE, an interrupt WW_E_CANCELLED. A descriptor stays open. */
WW_API enum ww_err ww_passphrase_from_file(const char *path, struct ww_secret **out,
                                           struct ww_error *err) WW_MUST_USE;
WW_API enum ww_err ww_passphrase_from_fd(int fd, struct ww_secret **out,
                                         struct ww_error *err) WW_MUST_USE;
/** From the controlling terminal with echo off, asked twice when confirm is set; *out is
 *  the caller's. WW_E_PASSPHRASE when it is empty, the two differ or there is no
 * terminal, WW_E_LIMIT, WW_E_CANCELLED, WW_E_IO. */
WW_API enum ww_err ww_passphrase_from_terminal(const char *prompt, bool confirm,
                                               struct ww_secret **out,
                                               struct ww_error *err) WW_MUST_USE;

/** ECDSA signing key. */
struct ww_signkey;
enum ww_curve { WW_CURVE_P256, WW_CURVE_P384, WW_CURVE_P521 };

/** Make a key pair; writes BASE.key and BASE.pub, never over existing files.
 *  passphrase NULL stores the key unencrypted. WW_E_EXISTS, WW_E_PATH, WW_E_IO,
 *  WW_E_USAGE. */
WW_API enum ww_err ww_signkey_create(const char *base, enum ww_curve curve,
                                     struct ww_secret *passphrase,
                                     struct ww_error *err) WW_MUST_USE;
/** Is the key file encrypted, so that a passphrase is needed? WW_E_NOTFOUND,
 *  WW_E_KEY_ACCESS, WW_E_KEYFILE, WW_E_KEY for another kind of key. */
WW_API enum ww_err ww_signkey_is_encrypted(const char *path, bool *encrypted,
                                           struct ww_error *err) WW_MUST_USE;
/** passphrase may be NULL for an unencrypted key; *out is the caller's. WW_E_PASSPHRASE,
 *  WW_E_KEY_ACCESS, WW_E_NOTFOUND, WW_E_KEYFILE, WW_E_KEY for another kind of key. */
WW_API enum ww_err ww_signkey_load(const char *path, struct ww_secret *passphrase,
                                   struct ww_signkey **out,
                                   struct ww_error *err) WW_MUST_USE;
WW_API void ww_signkey_free(struct ww_signkey *key);

/** True for a PKCS #11 URI (RFC 7512), by its scheme alone. */
WW_API bool ww_token_uri_is(const char *text);
/** True when the URI says itself where the PIN is (pin-source). */
WW_API bool ww_token_uri_has_pin(const char *uri);
/**
 * A signing key in a token: pkcs11:token=...;object=...?module-path=...; exactly one EC
 * private key must fit. pin may be NULL when the URI has a pin-source (a file, refused
 * when readable by others) or the token has a keypad. A pin-value in the URI is refused,
 * as it would stand in the process list. *out is the caller's; pin is read here and not
 * kept. WW_E_USAGE, WW_E_KEY, WW_E_PASSPHRASE, WW_E_NOTFOUND without the library.
 */
WW_API enum ww_err ww_signkey_open_token(const char *uri, struct ww_secret *pin,
                                         struct ww_signkey **out,
                                         struct ww_error *err) WW_MUST_USE;

/** How long a signer program may take when no limit is given. */
#define WW_SIGNER_SECONDS 60
/**
 * A signing key behind a program, run without a shell as PROGRAM HASH, with the digest on
 * standard input; it must print the DER signature within the time. public_key: PEM path.
 * seconds 0: WW_SIGNER_SECONDS. The program is run when something is signed; *out is the
 * caller's. WW_E_USAGE for a name without a path, WW_E_NOTFOUND, WW_E_KEY and
 * WW_E_KEYFILE for the public key.
 */
WW_API enum ww_err ww_signkey_open_program(const char *program, const char *public_key,
                                           unsigned seconds, struct ww_signkey **out,
                                           struct ww_error *err) WW_MUST_USE;
/** Is it a reference to a program, "program:PATH?public-key=PUB"? */
WW_API bool ww_program_uri_is(const char *text);
/** The key that such a reference names, the caller's. WW_E_USAGE for one that is none,
 *  else as above. */
WW_API enum ww_err ww_signkey_open_program_uri(const char *uri, unsigned seconds,
                                               struct ww_signkey **out,
                                               struct ww_error *err) WW_MUST_USE;

/** X25519 recipient key pair: BASE.key (sealed record) and BASE.pub, never over existing
 *  files; passphrase NULL stores the key unsealed. WW_E_EXISTS, WW_E_PATH, WW_E_IO. */
WW_API enum ww_err ww_recipient_create(const char *base, struct ww_secret *passphrase,
                                       struct ww_error *err) WW_MUST_USE;

/** How a sealed record opens. */
struct ww_unsealer {
    struct ww_secret *passphrase; /* may be NULL */
    const char *recipient_key;    /* path of a recipient NAME.key, may be NULL */
    struct ww_secret *recipient_passphrase; /* for that file, may be NULL */
};

/** What a lock key may be used for. */
enum ww_key_purpose { WW_PURPOSE_ANY, WW_PURPOSE_LOCK, WW_PURPOSE_UNLOCK };

#define WW_BOUND_NAME_BYTES 64

/** What a lock key is bound to, inside its sealed record. All-zero: to nothing. */
struct ww_key_binding {
    enum ww_key_purpose purpose;
    unsigned char model_id[32]; /* of names, sizes and digests of its weight files
                                   (docs/formats/sealed-key.md); zero: any model */
    unsigned char lock_id[32];  /* of one locked folder; zero: any */
    char model_name[WW_BOUND_NAME_BYTES]; /* for people, NUL-terminated */
};

/** A new lock key: 32 random bytes, sealed for the recipients (paths of NAME.pub) or by
 *  the passphrase; with neither it is stored unsealed and the file says so. WW_E_EXISTS,
 *  WW_E_USAGE for both or a recipient named twice, WW_E_KEY and WW_E_KEYFILE for a file
 *  that is no recipient's, WW_E_IO. */
WW_API enum ww_err ww_lockkey_create(const char *path, struct ww_secret *passphrase,
                                     const char *const *recipients, size_t n_recipients,
                                     struct ww_error *err) WW_MUST_USE;
/** The 32 bytes, the caller's. WW_E_PASSPHRASE when none or the wrong one was given,
 *  WW_E_NOT_FOR_YOU when it is sealed for others, WW_E_KEYFILE when damaged, WW_E_KEY
 * when it is another kind of key, WW_E_KEY_ACCESS, WW_E_NOTFOUND. */
WW_API enum ww_err ww_lockkey_load(const char *path, const struct ww_unsealer *unsealer,
                                   struct ww_secret **out,
                                   struct ww_error *err) WW_MUST_USE;
/** The same with what the key is bound to; what uses the key must check that. */
WW_API enum ww_err ww_lockkey_load_bound(const char *path,
                                         const struct ww_unsealer *unsealer,
                                         struct ww_secret **out,
                                         struct ww_key_binding *binding,
                                         struct ww_error *err) WW_MUST_USE;

/** What a record gets sealed by: a passphrase, or recipients (paths of NAME.pub), or with
 *  neither nothing. */
struct ww_sealer {
    struct ww_secret *passphrase;
    const char *const *recipients;
    size_t n_recipients;
};
/** A new lock key that is bound; binding may be NULL. Errors as of ww_lockkey_create. */
WW_API enum ww_err ww_lockkey_create_bound(const char *path,
                                           const struct ww_key_binding *binding,
                                           const struct ww_sealer *sealer,
                                           struct ww_error *err) WW_MUST_USE;
/** Write an existing lock key anew, never over a file. Errors as of ww_lockkey_create. */
WW_API enum ww_err ww_lockkey_save(const char *path, struct ww_secret *key,
                                   const struct ww_key_binding *binding,
                                   const struct ww_sealer *sealer,
                                   struct ww_error *err) WW_MUST_USE;

/** How a lock key is split: n_shares files, threshold of which give it back. */
struct ww_split {
    unsigned threshold;            /* 2 .. n_shares */
    unsigned n_shares;             /* at most 255 */
    const char *const *recipients; /* paths of NAME.pub, one for each share, or none */
    size_t n_recipients;
    struct ww_secret *const *passphrases; /* one for all, one for each, or none; with */
    size_t n_passphrases;                 /* no recipients either: stored unsealed */
    struct ww_signkey *signer;            /* may be NULL */
};
/** Write BASE-1.share .. BASE-N.share, all or none, never over a file. WW_E_USAGE for
 *  numbers that do not fit, else as of ww_lockkey_create. */
WW_API enum ww_err ww_lockkey_split(const char *base, struct ww_secret *key,
                                    const struct ww_key_binding *binding,
                                    const struct ww_split *split,
                                    struct ww_error *err) WW_MUST_USE;

struct ww_combine {
    const char *const *paths; /* of shares */
    size_t n_paths;
    const struct ww_unsealer *unsealers; /* tried in order on every share */
    size_t n_unsealers;
    const char *signed_by; /* public key that must have signed every share;
                              NULL: signatures are not looked at */
};
/** The key from its shares. WW_E_SHARES when they are too few, the same, of several keys,
 *  altered, or give another key; *key is the caller's. WW_E_NOT_FOR_YOU, WW_E_PASSPHRASE,
 * WW_E_NOT_SIGNED, WW_E_SIGNATURE, WW_E_VERSION. */
WW_API enum ww_err ww_lockkey_combine(const struct ww_combine *combine,
                                      struct ww_secret **key,
                                      struct ww_key_binding *binding,
                                      struct ww_error *err) WW_MUST_USE;

enum ww_key_kind {
    WW_KEY_SIGNING,
    WW_KEY_SIGNING_PUBLIC,
    WW_KEY_LOCK,
    WW_KEY_RECIPIENT,
    WW_KEY_RECIPIENT_PUBLIC,
    WW_KEY_CONTENT,
    WW_KEY_SHARE
};
enum ww_key_sealing { WW_SEALED_NONE, WW_SEALED_PASSPHRASE, WW_SEALED_RECIPIENTS };

/** What can be told about a key file without opening its secret. */
struct ww_key_info {
    enum ww_key_kind kind;
    enum ww_key_sealing sealing;
    char curve[16]; /* signing keys */
    char id[65];    /* public kinds: key hint; sealed records: record id */
    unsigned n_stanzas;
    uint64_t created_unix; /* sealed records */
    unsigned share;        /* shares: number, */
    unsigned threshold;    /* how many are needed, */
    unsigned n_shares;     /* how many there are; id is the set's */
};
/** What a key file is, by what stands in it in clear: no passphrase is asked for, no
 * secret is opened, and a file readable by others is described too. WW_E_KEYFILE when it
 * is no key file. */
WW_API enum ww_err ww_key_inspect(const char *path, struct ww_key_info *out,
                                  struct ww_error *err) WW_MUST_USE;

/** From here on the process leaves no core dump, nobody but root may trace it, and keys
 * lie in locked memory. Call it first in a program that will hold secrets; a umask of 077
 * is the caller's to set. WW_E_CRYPTO. */
WW_API enum ww_err ww_process_harden(struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
