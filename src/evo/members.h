/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Pool files: YAML with "members", each a model behind an endpoint: name, url, dialect
 * ("auto" unless given), model, key_file (a file of the user's alone), permit, price,
 * scales of adapters. No key is ever in the file itself.
 */
#ifndef WW_EVO_MEMBERS_H
#define WW_EVO_MEMBERS_H

#include "evo/member_key.h"
#include "evo/tasks.h"

#define WW_MEMBER_MOST_ADAPTERS 256
#define WW_MEMBER_MOST_SCALE 1000.0

struct ww_member {
    const char *name;          /* unique, also up to case */
    const char *url;           /* without user, password or query */
    const char *dialect;       /* "auto" or a row of the table */
    const char *model;         /* as the server calls it */
    const char *key_file;      /* NULL: none */
    struct ww_member_key *key; /* of key_file, read when it is needed; owned by members */
    const char *ca_file;       /* NULL: the system's */
    const char *permit;        /* signed policy of the owner; NULL */
    const char *owner;         /* PEM file of the owner's public key; NULL */
    const char *end;   /* text that the server reads as its end token, scored behind
                          every answer; "" */
    bool allow_plain;  /* http to another machine */
    double price_call; /* 0 unless given, in the pool's currency */
    double price_ktoken;
    bool exact; /* a right token in no list is asked for by itself */
    double
        *adapters; /* [n_adapters] scales of the server's adapters, in its order; owned */
    uint32_t n_adapters;
};

struct ww_members {
    uint32_t k;
    struct ww_member *member; /* [k], in the file's order */
    uint8_t digest[32];       /* SHA-256 of the file */
    struct ww_yaml *text;     /* what the strings lie in */
};

/** Members of a text; name goes into messages. */
enum ww_err ww_members_parse(const uint8_t *text, size_t len, const char *name,
                             struct ww_members *out, struct ww_error *err) WW_MUST_USE;

/** Unknown keys are refused with the nearest name. */
enum ww_err ww_members_read(const char *path, struct ww_members *out,
                            struct ww_error *err) WW_MUST_USE;
void ww_members_release(struct ww_members *members);

#endif
