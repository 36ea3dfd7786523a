/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Who may do what with which model: documents whose signatures were checked elsewhere,
 * and a pure evaluator. No I/O, no clock, no allocation once loaded.
 *
 * Default deny; a forbid beats every permit; the order of rules, files and sources never
 * matters; what cannot be decided is denied. Unknown members, conditions and actions
 * reject a whole document: an authorisation that is half understood is none. Conditions
 * that could turn a deny into a permit when something is taken away are not allowed in a
 * forbid. docs/formats/policy.md has the documents; ideas from Cedar, TUF and in-toto.
 */
#ifndef WW_POLICY_POLICY_H
#define WW_POLICY_POLICY_H

#include "crypto/hash.h"
#include "json/json.h"

#define WW_POLICY_MAX_BYTES ((size_t)1 << 20)
#define WW_POLICY_MAX_RULES 4096
#define WW_POLICY_MAX_NAME 256
#define WW_HINT_CHARS 64 /* of a key id: hex SHA-256 of the key's PEM text */

/* X(name, text) */
#define WW_MAY_LIST(X)                                                                   \
    X(LOCK, "lock")                                                                      \
    X(UNLOCK, "unlock")                                                                  \
    X(MERGE, "merge")                                                                    \
    X(EXTRACT, "extract")                                                                \
    X(REDISTRIBUTE, "redistribute")

enum ww_may {
#define WW_MAY_ENUM(name, text) WW_MAY_##name,
    WW_MAY_LIST(WW_MAY_ENUM)
#undef WW_MAY_ENUM
        WW_MAY_COUNT
};
const char *ww_may_name(enum ww_may action);
/** Of an action, for error texts. */
#define WW_MAY_UNKNOWN                                                                   \
    "action '%.80s' is unknown; known are lock, unlock, merge, extract, redistribute"
bool ww_may_parse(const char *text, enum ww_may *out);

/** Seconds since 1970 of "2026-11-25T12:00:00Z", UTC and whole seconds only. */
bool ww_policy_time(const char *text, int64_t *out);
/** Millionths of a decimal string with at most six places: "0.25" is 250000. */
bool ww_policy_decimal(const char *text, int64_t *out);
#define WW_DECIMAL_BYTES 32
/** The other way: 250000 is "0.25". */
void ww_policy_decimal_text(int64_t millionths, char out[WW_DECIMAL_BYTES]);

/** A list of strings in a document; borrowed. */
struct ww_words {
    const char **items;
    size_t n;
};

enum ww_resource_kind { WW_RES_MODEL, WW_RES_LINEAGE, WW_RES_TAG };

struct ww_rule_resource {
    enum ww_resource_kind kind;
    uint8_t root[WW_SHA256_BYTES]; /* MODEL, LINEAGE */
    const char *tag;               /* TAG */
};

/* Conditions of a rule; all that are there must hold. */
struct ww_when {
    struct ww_words methods;
    struct ww_words licenses_allowed; /* of the other sources */
    struct ww_words licenses_denied;
    struct ww_words cosources_signed_by; /* key ids */
    struct ww_words purpose;
    const char *output_license;
    bool output_locked;         /* output_lock: required */
    int64_t max_weight;         /* millionths, -1: any */
    uint64_t min_sources;       /* 0: any */
    uint64_t max_sources;       /* 0: any */
    int64_t not_before;         /* INT64_MIN: any */
    int64_t not_after;          /* INT64_MAX: any */
    const char *approvals_role; /* NULL: none needed */
    uint64_t approvals;
};

struct ww_rule {
    const char *id;
    bool forbid;
    struct ww_words subjects; /* "key:ID", "role:NAME" */
    unsigned actions;         /* bit per enum ww_may */
    struct ww_rule_resource *resources;
    size_t n_resources;
    struct ww_when when;
};

struct ww_policy {
    struct ww_json *json;
    const char *id;
    uint64_t version;
    int64_t issued;
    int64_t expires;
    struct ww_rule *rules;
    size_t n_rules;
    void **lists; /* owns the arrays of strings */
    size_t n_lists;
};

/** payload: the signed bytes. WW_E_POLICY naming rule and member, WW_E_JSON, WW_E_LIMIT.
 */
enum ww_err ww_policy_read(const uint8_t *payload, size_t len, struct ww_policy *out,
                           struct ww_error *err) WW_MUST_USE;
void ww_policy_release(struct ww_policy *policy);

/** The rules as one line each, in order of id: what a snapshot holds. */
enum ww_err ww_policy_print(const struct ww_policy *policy, struct ww_buf *out,
                            struct ww_error *err) WW_MUST_USE;

/** A role: who is in it, and how many must sign. */
struct ww_role {
    const char *name;
    struct ww_words keyids;
    uint64_t threshold;
};

/* X(name, text) */
#define WW_REVOKED_LIST(X)                                                               \
    X(KEY, "key")                                                                        \
    X(MODEL, "model")                                                                    \
    X(ATTESTATION, "attestation")                                                        \
    X(POLICY, "policy")
enum ww_revoked_kind {
#define WW_REVOKED_ENUM(name, text) WW_REVOKED_##name,
    WW_REVOKED_LIST(WW_REVOKED_ENUM)
#undef WW_REVOKED_ENUM
        WW_REVOKED_COUNT
};
bool ww_revoked_parse(const char *text, enum ww_revoked_kind *out);

struct ww_revoked {
    enum ww_revoked_kind kind;
    const char *id;
    const char *why;
};

/** What an evaluation knows of the trust root: roles and revocations. */
struct ww_trust_facts {
    const struct ww_role *roles;
    size_t n_roles;
    const struct ww_revoked *revoked;
    size_t n_revoked;
};

/** A model as its verified evidence describes it. */
struct ww_model_facts {
    uint8_t root[WW_SHA256_BYTES]; /* tensor root */
    const char *name;              /* for people, NULL */
    const char *signer;            /* key id of who signed it; NULL: unsigned */
    const char *evidence;          /* hex digest of its provenance file, NULL */
    const char *license;           /* SPDX id, NULL: none stated */
    struct ww_words tags;
    bool lineage_known; /* all ancestors are proven, back to the roots */
    const struct ww_model_facts *ancestors; /* all of them, each with its own */
    size_t n_ancestors;
    int64_t weight; /* of a source in a merge, millionths */
};

struct ww_request {
    struct ww_json *json; /* NULL when made in memory */
    const char *output_name;
    bool has_recipe;
    uint8_t recipe[WW_SHA256_BYTES]; /* digest of its text */
    enum ww_may action;
    const char *requester; /* key id that signed the request */
    const char *method;
    const char *purpose;
    const char *output_license;
    bool output_locked;
    int64_t time;
    uint8_t digest[WW_SHA256_BYTES]; /* of the signed bytes: what approvals name */
    const char *nonce;
    struct ww_request_source {
        uint8_t root[WW_SHA256_BYTES];
        int64_t weight;
    } * sources;
    size_t n_sources;
};

/** A signed request; requester is not in it and is set by the caller. */
enum ww_err ww_request_read(const uint8_t *payload, size_t len, struct ww_request *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_request_release(struct ww_request *request);

/** A signed approval: which request, by digest of the request's signed bytes. */
enum ww_err ww_approval_read(const uint8_t *payload, size_t len,
                             uint8_t request[WW_SHA256_BYTES], int64_t *time,
                             struct ww_error *err) WW_MUST_USE;

/** Approvals of this request that verified: the key ids, each key's material once or
 *  more; counted once. */
struct ww_evaluation {
    const struct ww_policy *const *policies;
    size_t n_policies;
    const struct ww_trust_facts *trust;
    const struct ww_request *request;
    const struct ww_model_facts *sources; /* one per request source, same order */
    const struct ww_words *approvals;
    int64_t now;
};

/* X(name, text): reasons, stable words. */
#define WW_REASON_LIST(X)                                                                \
    X(PERMITTED, "permitted")                                                            \
    X(NO_PERMIT, "no-permit")                                                            \
    X(FORBIDDEN, "forbidden")                                                            \
    X(REVOKED, "revoked")                                                                \
    X(UNSIGNED, "unsigned-source")                                                       \
    X(NO_LINEAGE, "lineage-unknown")                                                     \
    X(EXPIRED, "policy-expired")                                                         \
    X(CLOCK, "clock-before-issue")                                                       \
    X(REQUEST, "request-does-not-fit")

enum ww_reason {
#define WW_REASON_ENUM(name, text) WW_REASON_##name,
    WW_REASON_LIST(WW_REASON_ENUM)
#undef WW_REASON_ENUM
        WW_REASON_COUNT
};
const char *ww_reason_name(enum ww_reason reason);

#define WW_DECISION_MAX_RULES 64

struct ww_decision {
    bool permit;
    enum ww_reason reason;
    const struct ww_model_facts *model; /* that decided a denial, or NULL */
    /* that decided; at most so many */
    const struct ww_rule *rules[WW_DECISION_MAX_RULES];
    size_t n_rules;
    /* of the nearest permit: the first condition that does not hold */
    const char *failed;
    bool must_lock; /* duty on the output */
    const char *must_license;
};

/** Never fails: what cannot be decided is denied. Linear in rules times models. */
void ww_policy_evaluate(const struct ww_evaluation *evaluation, struct ww_decision *out);

#endif
