/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Errors: one code list, one caller-owned record; and what holds in all headers.
 *
 * Every function that can fail returns `enum ww_err` (0 is success) and takes a
 * `struct ww_error *` as its last argument, which may be NULL. Callers branch on the
 * class of a code, people read the text. Codes are fixed and never reused.
 *
 * Arguments come in this order: what is read, what is written, options, report, error. No
 * pointer is NULL unless its description says so. What is passed in is borrowed for the
 * call. `struct X **out` gives an object, which X's function of free or close takes back;
 * `char **` gives text for ww_string_free. A report is a struct of the caller's, which
 * need not be zeroed: it is filled on success and failure, and emptied by its release
 * function. Option structs of zeros are the defaults, but where a field says otherwise.
 * Shapes are as stored, row-major; digests and ids in char arrays are lower-case hex, and
 * shares of 1 are all.
 */
#ifndef WEIGHTWARD_ERROR_H
#define WEIGHTWARD_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define WW_MUST_USE __attribute__((warn_unused_result))
#define WW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define WW_API __attribute__((visibility("default")))
#else
#define WW_MUST_USE
#define WW_PRINTF(fmt, args)
#define WW_API
#endif

/* X(name, number, default text). The hundred is the class. */
#define WW_ERR_LIST(X)                                                                   \
    X(WW_E_USAGE, 100, "wrong use")                                                      \
    X(WW_E_MALFORMED, 200, "malformed input")                                            \
    X(WW_E_JSON, 201, "malformed JSON")                                                  \
    X(WW_E_SAFETENSORS, 202, "malformed safetensors file")                               \
    X(WW_E_INDEX, 203, "malformed shard index")                                          \
    X(WW_E_CONFIG, 204, "malformed or contradictory config.json")                        \
    X(WW_E_BUNDLE, 205, "malformed signature bundle")                                    \
    X(WW_E_KEYFILE, 206, "malformed key file")                                           \
    X(WW_E_MANIFEST, 207, "malformed lock manifest")                                     \
    X(WW_E_LIMIT, 208, "input exceeds a limit")                                          \
    X(WW_E_SHAPE, 209, "tensor of the wrong shape")                                      \
    X(WW_E_TENSOR, 210, "tensor missing or unknown")                                     \
    X(WW_E_NONFINITE, 211, "NaN or infinity in the weights")                             \
    X(WW_E_DUPLICATE, 212, "two copies of the weights")                                  \
    X(WW_E_PATH, 213, "path leaves the folder")                                          \
    X(WW_E_DESCRIPTOR, 214, "malformed architecture descriptor")                         \
    X(WW_E_YAML, 215, "malformed YAML")                                                  \
    X(WW_E_RECIPE, 216, "malformed merge recipe")                                        \
    X(WW_E_LEDGER, 217, "malformed ledger")                                              \
    X(WW_E_POLICY, 218, "malformed policy")                                              \
    X(WW_E_ADAPTER_FILE, 219, "malformed adapter")                                       \
    X(WW_E_IO, 300, "input or output failed")                                            \
    X(WW_E_NOMEM, 301, "out of memory")                                                  \
    X(WW_E_NOSPACE, 302, "no space left on the device")                                  \
    X(WW_E_EXISTS, 303, "output exists")                                                 \
    X(WW_E_CHANGED, 304, "file changed while it was read")                               \
    X(WW_E_NOTFOUND, 305, "file not found")                                              \
    X(WW_E_KEY, 400, "key unusable")                                                     \
    X(WW_E_PASSPHRASE, 401, "wrong or missing passphrase")                               \
    X(WW_E_KEY_ACCESS, 402, "key file readable by others")                               \
    X(WW_E_WRONG_KEY, 403, "wrong lock key")                                             \
    X(WW_E_CRYPTO, 404, "cryptographic operation failed")                                \
    X(WW_E_SHARES, 405, "key shares do not fit together")                                \
    X(WW_E_NOT_FOR_YOU, 406, "sealed for other recipients")                              \
    X(WW_E_SIGNATURE, 500, "signature does not verify")                                  \
    X(WW_E_UNTRUSTED, 501, "signed by another key")                                      \
    X(WW_E_TAMPERED, 502, "file differs from what was signed")                           \
    X(WW_E_EXTRA_FILE, 503, "file that was not signed")                                  \
    X(WW_E_MISSING_FILE, 504, "signed file is missing")                                  \
    X(WW_E_EXPIRED, 505, "certificate not valid at the stated time")                     \
    X(WW_E_WRONG_MODEL, 506, "lock manifest belongs to another model")                   \
    X(WW_E_DAMAGED, 507, "locked model is damaged")                                      \
    X(WW_E_CHECK_FAILED, 508, "self-check failed")                                       \
    X(WW_E_NOT_SIGNED, 509, "no signature found")                                        \
    X(WW_E_UNRELATED, 510, "models that are not related")                                \
    X(WW_E_NO_MATCH, 511, "no match")                                                    \
    X(WW_E_DIFFERS, 512, "re-derived bytes differ")                                      \
    X(WW_E_DENIED, 513, "policy denies it")                                              \
    X(WW_E_SEALED, 514, "sealed data altered, moved or cut")                             \
    X(WW_E_UNSUPPORTED, 600, "not supported")                                            \
    X(WW_E_ARCH, 601, "architecture not supported")                                      \
    X(WW_E_QUANTISED, 602, "quantised weights")                                          \
    X(WW_E_PICKLE, 603, "pickle checkpoint")                                             \
    X(WW_E_GGUF, 604, "GGUF file")                                                       \
    X(WW_E_VERSION, 605, "format version not supported")                                 \
    X(WW_E_ADAPTER, 606, "adapter without its base")                                     \
    X(WW_E_NOT_ORDER_FREE, 607, "rule that depends on element order")                    \
    X(WW_E_RULE, 608, "merge rule not supported")                                        \
    X(WW_E_LIBRARY, 609, "library absent or too old")                                    \
    X(WW_E_INTERNAL, 900, "internal error")                                              \
    X(WW_E_CANCELLED, 901, "interrupted")

enum ww_err {
    WW_OK = 0,
#define WW_ERR_ENUM(name, number, text) name = number,
    WW_ERR_LIST(WW_ERR_ENUM)
#undef WW_ERR_ENUM
};

enum ww_err_class {
    WW_CLASS_OK = 0,
    WW_CLASS_USAGE = 1,
    WW_CLASS_MALFORMED = 2,
    WW_CLASS_SYSTEM = 3,
    WW_CLASS_KEY = 4,
    WW_CLASS_REFUSED = 5,
    WW_CLASS_UNSUPPORTED = 6,
    WW_CLASS_INTERNAL = 9
};

#define WW_ERROR_TEXT_BYTES 600

/** What went wrong: set once by the function that failed, read by the caller. */
struct ww_error {
    enum ww_err code;
    int sys_errno;    /* 0 when no system call was involved */
    const char *file; /* source position, for bug reports */
    int line;
    char text[WW_ERROR_TEXT_BYTES]; /* one line, no secret, no control character */
};

/** Free text that a function of the library gave. NULL is fine, as for all that free or
 * close an object; release functions take a struct that was filled or zeroed. */
WW_API void ww_string_free(char *s);

/** Reset a record, so that it can be used again: the first error in it is kept. */
WW_API void ww_error_clear(struct ww_error *err);

/** Call `from`, a path that is there only for a while, `to` wherever it stands in the
 * text, so that the text says what its reader knows. err may be NULL. */
WW_API void ww_error_rename(struct ww_error *err, const char *from, const char *to);

/** The name of a code ("WW_E_JSON"), or "WW_E_?" for a number that is none. */
WW_API const char *ww_err_name(enum ww_err code);

/** The default text of a code. */
WW_API const char *ww_err_text(enum ww_err code);

/** What kind of failure a code is: callers branch on this. */
WW_API enum ww_err_class ww_err_class_of(enum ww_err code);

/** The lower-case word for a class, as used in JSON answers ("malformed"). */
WW_API const char *ww_err_class_name(enum ww_err_class cls);

/** The exit status a program should end with: see weightward(1). */
WW_API int ww_err_exit_status(enum ww_err code);

#ifdef __cplusplus
}
#endif
#endif
