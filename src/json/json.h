/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Strict JSON: a scan of our own decides what is accepted (RFC 8259, UTF-8, no BOM, no
 * NUL even escaped, no control character, no lone surrogate, no duplicate key at any
 * level, integers within +-(2^53-1) unless the limits say otherwise, numbers of at most
 * 63 characters that fit a double, caps on bytes, depth and nodes, no trailing byte);
 * cJSON then builds the tree. Why: cJSON alone accepts duplicate keys, cut strings and
 * trailing junk, which in signed data means two readers see two documents.
 */
#ifndef WW_JSON_JSON_H
#define WW_JSON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "weightward/error.h"

struct ww_json_limits {
    size_t max_bytes;
    unsigned max_depth;
    size_t max_nodes;
    bool python; /* what Python's json writes too, and files of transformers have for "no
                    limit": integers beyond +-(2^53-1), which are read as doubles, and
                    Infinity, -Infinity and NaN, which are read as null */
};

/* Defaults per use. */
extern const struct ww_json_limits
    ww_json_limits_config; /* 16 MiB, 32, 1 million, python */
extern const struct ww_json_limits ww_json_limits_bundle; /* 64 MiB, 32, 4 million */
extern const struct ww_json_limits ww_json_limits_small;  /* 1 MiB, 16, 65,536 */

/** A parsed document; owns every node, not the text it was read from. */
struct ww_json;
/** A value inside a document: a borrow that ends with ww_json_free. */
struct ww_jnode;

/** Only the strict scan. On failure the text says line, column and what was found.
 *  WW_E_JSON; WW_E_LIMIT for the caps; WW_E_USAGE for a max_depth above 64. */
enum ww_err ww_json_check(const uint8_t *text, size_t len,
                          const struct ww_json_limits *limits,
                          struct ww_error *err) WW_MUST_USE;

enum ww_err ww_json_parse(const uint8_t *text, size_t len,
                          const struct ww_json_limits *limits, struct ww_json **out,
                          struct ww_error *err) WW_MUST_USE;
void ww_json_free(struct ww_json *json);
const struct ww_jnode *ww_json_root(const struct ww_json *json);

enum ww_jtype { WW_J_NULL, WW_J_BOOL, WW_J_NUMBER, WW_J_STRING, WW_J_ARRAY, WW_J_OBJECT };
/** WW_J_NULL also of NULL: what is missing is no array, and so on. */
enum ww_jtype ww_jtype(const struct ww_jnode *node);

/** Member by exact name; NULL when absent or node (may be NULL) is no object. */
const struct ww_jnode *ww_jget(const struct ww_jnode *node, const char *key);
/** First child of an array or object, then siblings; NULL at the end. */
const struct ww_jnode *ww_jfirst(const struct ww_jnode *node);
const struct ww_jnode *ww_jnext(const struct ww_jnode *node);
/** Name of an object member, NULL for an array element. */
const char *ww_jkey(const struct ww_jnode *node);
size_t ww_jsize(const struct ww_jnode *node);
const struct ww_jnode *ww_jat(const struct ww_jnode *node, size_t index);

/* Typed reads: false when node is NULL or of another type (or not integral/in range; 2.0
 * counts as integral). On false *out is not touched. */
bool ww_jstr(const struct ww_jnode *node, const char **out);
/** A string of 2 len lower-case hex digits; on false some of out may be written. */
bool ww_jhex(const struct ww_jnode *node, uint8_t *out, size_t len);
bool ww_jbool(const struct ww_jnode *node, bool *out);
bool ww_ju64(const struct ww_jnode *node, uint64_t *out);
bool ww_ji64(const struct ww_jnode *node, int64_t *out);
bool ww_jdouble(const struct ww_jnode *node, double *out);

/**
 * Refuse members that are not in the list. what names the object in the error, which
 * also offers the nearest known name. code is the caller's (WW_E_BUNDLE, ...).
 */
enum ww_err ww_jonly(const struct ww_jnode *object, const char *const *allowed, size_t n,
                     enum ww_err code, const char *what,
                     struct ww_error *err) WW_MUST_USE;

/**
 * Deterministic writer into a buffer: compact (indent 0) or indented. Errors stick and
 * come out of ww_jw_end; a misuse (value without key, unbalanced) is an invariant. What
 * it accepts is what the strict scan accepts: text that is not UTF-8 or holds a NUL is
 * WW_E_MALFORMED, an integer beyond 2^53-1 is WW_E_LIMIT (write such a number as hex).
 */
struct ww_jw {
    struct ww_buf *buf;
    struct ww_error err;
    unsigned indent;
    unsigned depth;
    uint64_t in_object; /* bit per depth */
    bool need_comma;
    bool after_key;
};
void ww_jw_init(struct ww_jw *w, struct ww_buf *buf, unsigned indent);
void ww_jw_object(struct ww_jw *w);
void ww_jw_array(struct ww_jw *w);
void ww_jw_close(struct ww_jw *w); /* closes the innermost */
void ww_jw_key(struct ww_jw *w, const char *key);
void ww_jw_str(struct ww_jw *w, const char *s); /* NULL writes null */
void ww_jw_strn(struct ww_jw *w, const char *s, size_t len);
void ww_jw_u64(struct ww_jw *w, uint64_t v);
void ww_jw_i64(struct ww_jw *w, int64_t v);
void ww_jw_double(struct ww_jw *w, double v); /* shortest of %.{1..17}g that reads back;
                                               * NaN and infinity become null */
void ww_jw_bool(struct ww_jw *w, bool v);
void ww_jw_null(struct ww_jw *w);
void ww_jw_raw(struct ww_jw *w, const char *json); /* a value already serialised */
/* key and value in one call */
void ww_jw_kstr(struct ww_jw *w, const char *key, const char *s);
void ww_jw_ku64(struct ww_jw *w, const char *key, uint64_t v);
/* as text of decimal digits: readers of JSON keep 53 bits of a number */
void ww_jw_kdecimal(struct ww_jw *w, const char *key, uint64_t v);
void ww_jw_kdouble(struct ww_jw *w, const char *key, double v);
/* null where it is not known */
void ww_jw_kmaybe(struct ww_jw *w, const char *key, bool known, double v);
/* [low, high], or null where it is not known */
void ww_jw_kinterval(struct ww_jw *w, const char *key, bool known, double low,
                     double high);
void ww_jw_kbool(struct ww_jw *w, const char *key, bool v);
void ww_jw_khex(struct ww_jw *w, const char *key, const uint8_t *bytes, size_t len);
enum ww_err ww_jw_end(struct ww_jw *w, struct ww_error *err) WW_MUST_USE;
/** A text in double quotes, as YAML reads it too: one value, whatever it holds. The
 *  caller's; NULL after a failure. */
enum ww_err ww_json_quote(const char *text, char **out, struct ww_error *err) WW_MUST_USE;

#endif
