/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Packages: one signed file from which each of several models and adapters comes back
 * byte for byte, or within a stated error, and then always as the same bytes. Members are
 * coded against a base model that is not in the package; each can be sealed for its own
 * recipients. Format: docs/formats/package.md.
 */
#ifndef WEIGHTWARD_PACKAGE_H
#define WEIGHTWARD_PACKAGE_H

#include "weightward/evidence.h"
#include "weightward/key.h"
#include "weightward/merge.h"
#include "weightward/run.h"
#include "weightward/sign.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A folder that goes into a package: a model, or a PEFT adapter. */
struct ww_pack_member {
    const char *name; /* a bare file name, unique in the package */
    const char *path;
    const char *const *to; /* NAME.pub of its recipients; none: readable by anyone */
    size_t n_to;
};

/* What members have in common while they are coded. */
enum ww_pack_codec {
    WW_PACK_ALONE, /* nothing: each for itself */
    WW_PACK_ROWS,  /* adapters of the same modules, shapes and ranks: each row of B and
                      column  of A as a mean and directions of all, and coefficients of
                      each  (reversible model merging, arXiv 2510.14163) */
    WW_PACK_CORE, /* the same: subspaces that B and A of all lie in as far as they go, and
                     coordinates of each (as in Core Space, arXiv 2509.17786); what that
                     leaves is coded within the error, or exactly */
    WW_PACK_CODECS
};

/** Sources of a merge, coded while the merge is computed: ww_pack_beside_new. */
struct ww_pack_beside;

struct ww_pack_options {
    const char *base; /* model folder, may be NULL: coded without a prediction */
    double error;     /* 0: exact. Else each product of a pair of an adapter's
                         factors, and the change of each matrix of a model against
                         the base, comes back within this share of its Frobenius
                         norm; all else is exact. 1e-4 to 1 */
    uint64_t budget;  /* 0: none. Else the package has at most so many bytes, with
                         the smallest error found, and error is 0. WW_E_LIMIT */
    /* all members but ALONE share a basis, a member of its own that is written before
     * them; so all have the same recipients, no parent in after, and error is 0 for ROWS
     */
    enum ww_pack_codec codec;
    size_t directions; /* that are shared; 0: ROWS, as many as the budget holds */
    bool residual; /* what directions leave is coded too: all comes back exactly; else an
                      adapter of ROWS comes back as they give it, with its error as
                      measured */
    const struct ww_signer *signer; /* NULL: not signed; else what it was made of lies
                                   beside it, in PATH.evidence */
    const struct ww_merge_inverse *inverses; /* NULL, or one for each member: the base is
                                   a merge of it with others, and it is coded against what
                                   the two say of it. n 0: against the base alone */
    const struct ww_pack_beside *beside; /* with inverses: what was coded while the base
                                   was merged is not read again, and the package is the
                                   same; NULL: nothing was */
    const char *const *after; /* NULL, or for each member NULL or the name of another that
                                 it is a version of, in the package or given before it:
                                 what is shorter so is coded against that one, so all
                                 that may open it must be allowed that one. WW_E_DENIED */
    const struct ww_unsealer *unsealer; /* opens those that are sealed; may be NULL */
    bool folder; /* a new package is a folder, with a file for each section; what is there
                    stays what it is */
    struct ww_run_options run; /* resume is refused */
};

/* How a chunk was coded: bytes by these in reports. */
enum ww_pack_form {
    WW_PACK_STORED,
    WW_PACK_SAME,
    WW_PACK_ORDER,
    WW_PACK_SPLIT,
    WW_PACK_OWN,
    WW_PACK_FEW,
    WW_PACK_DENSE,
    WW_PACK_KLT,
    WW_PACK_FORMS
};
/** "stored", "same", "order", "split", "own", "few", "dense", "klt" */
WW_API const char *ww_pack_form_name(enum ww_pack_form form);

/** A model that a member's base was merged of with it, and that it needs to come back. */
struct ww_pack_needed {
    char *name; /* of its folder when it was packed */
    char tensor_tree[65];
    double weight; /* of it, when the merge is solved for the member */
};

/** What a package says of a member. */
struct ww_pack_entry {
    char *name;
    bool adapter;
    bool basis;        /* no adapter and no model, but what others share, */
    char codec[8];     /* so, */
    size_t directions; /* with at most so many directions */
    bool sealed;
    bool bounded;   /* not exact: */
    double error;   /* largest of any product or matrix, measured when it was packed */
    uint64_t bytes; /* of its section */
    uint64_t files;
    uint64_t files_bytes;          /* what comes back */
    uint64_t coded[WW_PACK_FORMS]; /* zero for sealed members */
    char commitment[65];
    char (*recipients)[33]; /* ids in hex */
    size_t n_recipients;
    struct ww_pack_needed *needed;
    size_t n_needed;
    char *parent; /* member that it is a version of, or its basis, which its recipients
                     can read too; or NULL */
    bool shares;  /* the parent is a basis */
};

struct ww_pack_report {
    char id[33];
    uint64_t version;
    char *base;            /* name, or NULL */
    uint64_t base_tensors; /* that members use; of adapters packed with a base all */
    struct ww_pack_entry *members;
    size_t n_members;
    uint64_t bytes;       /* of the package */
    uint64_t files_bytes; /* of all members */
    bool is_signed;
    char manifest_sha256[65];
    char signer[256];  /* verified, or empty */
    uint64_t restored; /* verify: members that were restored in memory */
    char **warnings;   /* pack, add, unpack */
    size_t n_warnings;
    uint64_t n_foreign; /* verify, of a folder: files that are not of the package, */
    char *foreign;      /* the first of them by name, or NULL */
    bool base_unknown; /* an adapter was added to a base, or verified beside one, of which
                          the package does not say whether it is the adapter's */
    struct ww_run_report run;
};
WW_API void ww_pack_report_release(struct ww_pack_report *report);

/** Write a new package: PATH.partial, fsync, rename. The same input gives the same bytes
 * on any number of threads, unless members are sealed. Peak memory: run.memory_bytes, up
 * to 256 MiB while merged adapters are looked for, with a codec also the factors of one
 * module of all members as doubles, and what the headers take. WW_E_EXISTS; with a codec
 * WW_E_UNSUPPORTED for members that cannot share, WW_E_DENIED for other recipients. */
WW_API enum ww_err ww_pack_create(const char *path, const struct ww_pack_member *members,
                                  size_t n, const struct ww_pack_options *options,
                                  struct ww_pack_report *report,
                                  struct ww_error *err) WW_MUST_USE;

/**
 * Code sources of a merge while it is computed, from the bytes that the merge has in
 * memory: give ww_pack_beside_watch to ww_merge_folder, then ww_pack_beside_invert and
 * the rest to ww_pack_create, with the merged folder as the base. sources: all folders of
 * the merge, the first n_wanted to be packed, in this order; package: where the package
 * will be, beside which coded chunks wait in a file without a name. These are borrowed.
 * Memory: run->memory_bytes, or 256 MiB, beside the merge's own. Tensors whose inputs the
 * merge does not take as they lie in one file (another dtype or vocabulary, a layer of
 * another number), more than 16 sources and too little memory are no error: what was not
 * coded is read again by ww_pack_create. A merge that cannot be solved for what is wanted
 * (another method, a weight of 0, weights that differ between tensors, locked models, one
 * with an adapter) fails before it is computed, with WW_E_UNSUPPORTED, whatever memory
 * there is.
 */
WW_API enum ww_err ww_pack_beside_new(const char *package, const char *const *sources,
                                      size_t n_sources, size_t n_wanted,
                                      const struct ww_run_options *run,
                                      struct ww_pack_beside **out,
                                      struct ww_error *err) WW_MUST_USE;
/** Borrowed from it. */
WW_API const struct ww_merge_watch *
ww_pack_beside_watch(const struct ww_pack_beside *beside);
/** After the merge, what ww_merge_invert would read all sources for: out has n_wanted, to
 *  be released. *known false: nothing was coded; use ww_merge_invert. WW_E_NOMEM. */
WW_API enum ww_err ww_pack_beside_invert(const struct ww_pack_beside *beside,
                                         struct ww_merge_inverse *out, bool *known,
                                         struct ww_error *err) WW_MUST_USE;
WW_API void ww_pack_beside_free(struct ww_pack_beside *beside);

/** Add members to a package; what is there already is copied as it is. With a package
 * that is signed a signer is needed. WW_E_UNRELATED when the base is another one. */
WW_API enum ww_err ww_pack_add(const char *path, const struct ww_pack_member *members,
                               size_t n, const struct ww_pack_options *options,
                               struct ww_pack_report *report,
                               struct ww_error *err) WW_MUST_USE;

/** Write the package without a member and without its key. Copies of the older file still
 *  hold it. WW_E_NOTFOUND; WW_E_USAGE while there are versions of it. */
WW_API enum ww_err ww_pack_drop(const char *path, const char *name,
                                const struct ww_pack_options *options,
                                struct ww_pack_report *report,
                                struct ww_error *err) WW_MUST_USE;

/** Let others open a sealed member: one stanza each. Only the keys change, the signature
 *  stays. WW_E_NOT_FOR_YOU, WW_E_USAGE when the member is not sealed, WW_E_DENIED when it
 * is a version of one that they may not open. */
WW_API enum ww_err ww_pack_share(const char *path, const char *name,
                                 const char *const *to, size_t n_to,
                                 const struct ww_unsealer *unsealer,
                                 struct ww_error *err) WW_MUST_USE;

/** Does a member ask for policies? It is opened for that. WW_E_NOTFOUND without the
 *  member, WW_E_NOT_FOR_YOU, WW_E_PASSPHRASE, WW_E_TAMPERED, WW_E_MALFORMED. */
WW_API enum ww_err ww_pack_asks(const char *path, const char *name,
                                const struct ww_unsealer *unsealer, bool *asks,
                                struct ww_error *err) WW_MUST_USE;

/** What the package says of itself; nothing is verified but that it is well-formed:
 *  WW_E_MALFORMED, WW_E_VERSION. The report is the caller's to release. */
WW_API enum ww_err ww_pack_list(const char *path, struct ww_pack_report *report,
                                struct ww_error *err) WW_MUST_USE;

/** Is this model the base that the package names, tensor by tensor? known: the package
 *  lists all of its tensors; else what is not listed was not looked at. Reads them once.
 *  WW_E_UNRELATED for the first that is another one. */
WW_API enum ww_err ww_pack_check_base(const char *path, const char *base, bool *known,
                                      struct ww_error *err) WW_MUST_USE;

struct ww_pack_verify_options {
    const char *public_key;     /* SPKI PEM path; NULL: digests alone are checked */
    uint64_t least_version;     /* an older one is refused: WW_E_DENIED */
    const char *base;           /* restore every member that can be opened, in memory */
    const char *const *sources; /* as ww_unpack_options has them */
    size_t n_sources;
    const struct ww_unsealer *unsealer; /* may be NULL */
    struct ww_run_options run;
};
/** Signature, then the digest of every section, and with a base every file of the
 * members. WW_E_NOT_SIGNED, WW_E_UNTRUSTED, WW_E_SIGNATURE, WW_E_TAMPERED, WW_E_DENIED.
 */
WW_API enum ww_err ww_pack_verify(const char *path,
                                  const struct ww_pack_verify_options *options,
                                  struct ww_pack_report *report,
                                  struct ww_error *err) WW_MUST_USE;

/** For ww_chain_options.check_file: a package by its signature and every section, so that
 *  what lies beside it speaks of its manifest; any other file is left to its SHA-256.
 *  WW_E_NOT_SIGNED, WW_E_UNTRUSTED, WW_E_SIGNATURE, WW_E_TAMPERED. */
WW_API enum ww_err ww_pack_check_file(const char *path, const struct ww_chain_keys *keys,
                                      struct ww_verify_report *report, char hint[65],
                                      struct ww_error *err) WW_MUST_USE;

/* As what a member comes back; all but the first are of adapters. */
enum ww_unpack_form {
    WW_UNPACK_FILES,    /* as it was packed */
    WW_UNPACK_PEFT,     /* the same, of an adapter alone */
    WW_UNPACK_PORTABLE, /* a plain LoRA that engines beside PEFT read rightly: one
                           rank, scaling in the factors, float32 */
    WW_UNPACK_GGUF,     /* the same as a GGUF file for llama.cpp; needs the base */
    WW_UNPACK_MODEL,    /* the base with the adapter added */
    WW_UNPACK_FORMS
};
/** "files", "peft", "portable", "gguf", "model" */
WW_API const char *ww_unpack_form_name(enum ww_unpack_form form);

struct ww_unpack_options {
    enum ww_unpack_form form;
    const char *base;           /* NULL: the member must not need it */
    const char *const *sources; /* [n_sources] model folders in any order, among them
                                   those that the base was merged of with the member;
                                   others are ignored */
    size_t n_sources;
    const struct ww_unsealer *unsealer; /* NULL: plain members only */
    const char *public_key;             /* who must have signed; NULL: anyone or no one */
    uint64_t least_version;             /* an older package is refused: WW_E_DENIED */
    struct ww_run_options run;
    /* Asked once every file is restored and has its digest, before the folder appears;
       folder is where it lies until then. All but WW_OK removes it. NULL: nothing. */
    enum ww_err (*before_commit)(void *payload, const char *folder, struct ww_error *err);
    void *before_commit_payload;
};
/** Restore a member as a folder, which appears whole or not at all: every file has the
 *  digest that the manifest commits to. Other forms are made of a member that was
 * restored so, in "OUT.member", which goes away. WW_E_NOTFOUND, WW_E_UNRELATED when the
 * base is another one, WW_E_PASSPHRASE for a sealed member without an unsealer,
 * WW_E_NOT_FOR_YOU, WW_E_SEALED, WW_E_TAMPERED; WW_E_UNSUPPORTED when the form cannot say
 * what the adapter says. */
WW_API enum ww_err ww_unpack(const char *path, const char *name, const char *out_path,
                             const struct ww_unpack_options *options,
                             struct ww_pack_report *report,
                             struct ww_error *err) WW_MUST_USE;

/** Takes bytes in order; what it returns ends the call when it is not WW_OK. */
typedef enum ww_err (*ww_unpack_fn)(void *payload, const void *bytes, size_t n,
                                    struct ww_error *err);
/** One tensor of a member, in order; only its chunks are read, each checked before it is
 *  decoded, but with a public key first the whole section, whose digest is what is
 * signed, and those of its parents. Peak memory: the table and a few chunks. WW_E_DENIED
 * for a member that asks for policies: they are asked about whole members. */
WW_API enum ww_err ww_unpack_tensor(const char *path, const char *name,
                                    const char *tensor,
                                    const struct ww_unpack_options *options,
                                    ww_unpack_fn give, void *payload,
                                    struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
