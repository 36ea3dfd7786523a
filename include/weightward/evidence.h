/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Where a model came from: SLSA provenance of what made it, with the evidence of its
 * ancestors beside it, so that the chain is walked from the model alone, without a
 * network.
 *
 * Each step's statement names the statement of every source by its SHA-256, so that the
 * lineage is a hash chain; docs/formats/provenance.md has the members.
 */
#ifndef WEIGHTWARD_EVIDENCE_H
#define WEIGHTWARD_EVIDENCE_H

#include "weightward/run.h"
#include "weightward/sign.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WW_PROVENANCE_FILE "attestations/provenance.sigstore.json"
/* What an unsigned step writes instead: the same statement without an envelope. */
#define WW_PROVENANCE_PLAIN_FILE "attestations/provenance.intoto.json"
#define WW_PROVENANCE_PREDICATE "https://slsa.dev/provenance/v1"
#define WW_BOM_FILE "attestations/bom.cdx.json"
#define WW_BOM_SIGNED_FILE "attestations/bom.sigstore.json"
/* What policies said about the step that made the folder, when they were asked. */
#define WW_DECISION_FILE "attestations/decision.sigstore.json"
#define WW_ANCESTORS_DIR "attestations/ancestors"

#define WW_MERGE_BUILD_TYPE "urn:weightward:build:merge:1"
#define WW_LOCK_BUILD_TYPE "urn:weightward:build:lock:1"
#define WW_SEAL_BUILD_TYPE "urn:weightward:build:seal:1"
#define WW_EXTRACT_BUILD_TYPE "urn:weightward:build:extract:1"
#define WW_ORIGIN_BUILD_TYPE "urn:weightward:build:origin:1"
#define WW_PACK_BUILD_TYPE "urn:weightward:build:pack:1"
#define WW_FUSION_BUILD_TYPE "urn:weightward:build:fusion:1"

/* Of a file (a package, a recipe) instead of a folder, evidence lies in a folder beside
 * it that has the file's name and this behind it; paths in there are the same. */
#define WW_EVIDENCE_SUFFIX ".evidence"

/**
 * State that a folder, whose model.sig was made with this key, was made of no other
 * model: provenance without sources. WW_E_EXISTS when it has provenance and replace is
 * not set; WW_E_UNTRUSTED when another key signed the folder.
 */
WW_API enum ww_err ww_origin_state(const char *path, const struct ww_signer *signer,
                                   bool replace, struct ww_error *err) WW_MUST_USE;

struct ww_chain_keys; /* whom a walk trusts */
/**
 * What the evidence of a file must speak of: fills report (root_sha256, signer, what was
 * checked), and hint with the id of the signing key where it is one of the keys.
 * ww_pack_check_file is one.
 */
typedef enum ww_err (*ww_chain_file_fn)(const char *path,
                                        const struct ww_chain_keys *keys,
                                        struct ww_verify_report *report, char hint[65],
                                        struct ww_error *err);

struct ww_chain_options {
    const char *const *keys; /* SPKI PEM paths; each link must be signed by one
                                of them, or by what follows */
    size_t n_keys;
    const char *const *certificates; /* trust anchors, as for ww_verify_folder */
    size_t n_certificates;
    int64_t at_unix;
    const char *trusted_root;
    const char *identity; /* keyless */
    const char *identity_provider;
    const char *const *ignore_paths; /* as for ww_verify_folder, of the model itself */
    size_t n_ignore_paths;
    bool ignore_unsigned_files;
    ww_chain_file_fn check_file; /* when the path is a file; NULL: its SHA-256 is
                                    what the statement beside it speaks of */
    struct ww_run_options run;
};

/** A model of the chain. */
struct ww_chain_link {
    char *name;               /* as what was made of it names it */
    const char *action;       /* "merge", "lock", "seal", "extract", "origin",
                                 "pack", "fusion"; "signed": only a model signature;
                                 "unsigned": no evidence at all */
    char *method;             /* how: of a merge, the mode of a pack, the rule of a
                                 fusion, ...; "" for none */
    char signer[256];         /* "" for none */
    char evidence_sha256[65]; /* of the file that holds the statement, or "" */
    char root_sha256[65];     /* OMS root, "" where it is not stated */
    char tensor_root[65];     /* the same of the tensor tree */
    char license[128];        /* as its card spells it; "" for none known */
    size_t *sources;          /* indices into links */
    size_t n_sources;
    unsigned depth; /* steps from the model, on the first way to it */
};

struct ww_chain_report {
    struct ww_verify_report model; /* of the folder itself, all files */
    struct ww_chain_link *links;   /* [0] is the model */
    size_t n_links;
    bool has_bom;       /* a signed bill of materials, that tells of it */
    char **not_checked; /* sentences on the chain, beside the model's */
    size_t n_not_checked;
    char *broken; /* after a failure: name of the link, or NULL */
};
WW_API void ww_chain_report_release(struct ww_chain_report *report);

/**
 * Verify the folder as ww_verify_folder does, then its signed tensor statement and
 * provenance, then those of every ancestor, down to models whose statement names no
 * source or that nothing is stated of. Stops at the first link that does not hold:
 * WW_E_SIGNATURE, WW_E_UNTRUSTED, WW_E_TAMPERED, WW_E_WRONG_MODEL (a statement about
 * other bytes). A signed bill of materials in the folder must tell of this very chain.
 * path may be a file with its evidence beside it (WW_EVIDENCE_SUFFIX).
 * WW_E_NOTFOUND: evidence that a statement names is not here, so it cannot be told. On
 * failure the report has the links that held before.
 */
WW_API enum ww_err ww_verify_chain(const char *path,
                                   const struct ww_chain_options *options,
                                   struct ww_chain_report *report,
                                   struct ww_error *err) WW_MUST_USE;

/**
 * The chain as a CycloneDX 1.6 document (ancestors as components, in pedigrees and as
 * dependencies; steps as workflows). The same chain gives the same text; the caller frees
 * it with ww_string_free. Unsigned: it can be made again by whoever verifies. WW_E_NOMEM.
 */
WW_API enum ww_err ww_chain_bom(const struct ww_chain_report *report, char **out,
                                struct ww_error *err) WW_MUST_USE;

/**
 * Write the bill of a folder that was just made and signed into it: WW_BOM_FILE, and the
 * same as a signed statement in WW_BOM_SIGNED_FILE. It says what the evidence in the
 * folder says, unverified and without signers; ww_verify_chain compares it with the
 * chain. WW_E_NOTFOUND without a signature or evidence, WW_E_BUNDLE for what cannot be
 * read, WW_E_EXISTS.
 */
WW_API enum ww_err ww_bom_attach(const char *path, const struct ww_signer *signer,
                                 struct ww_error *err) WW_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
