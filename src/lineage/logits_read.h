/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Answers of an interface as a matrix: JSON lines, or one safetensors file.
 *
 *   {"logits": [V numbers]}                       a full vector; or "logprobs"
 *   {"ids": [tokens], "logprobs": [as many]}      some tokens; all lines are one kind
 *   "prompt" may stand in a line and is not looked at
 *
 * Of a vocabulary that is longer than needed, a draw of tokens is kept. Of lists, the
 * tokens that all of them have.
 */
#ifndef WW_LINEAGE_LOGITS_READ_H
#define WW_LINEAGE_LOGITS_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

#define WW_SAID_MOST 16384
/** Logits beyond it stand for masked tokens. */
#define WW_SAID_RANGE 1000.0

struct ww_said_pair;

struct ww_said {
    bool logprobs;
    uint64_t vocab;  /* 0: lists */
    size_t n;        /* answers */
    uint32_t *ids;   /* [n_ids], ascending */
    size_t n_ids;    /* tokens kept */
    double *values;  /* [n][n_ids] */
    size_t capacity; /* answers that values has room for */
    size_t most;     /* tokens to keep */
    uint64_t seed;
    struct ww_said_pair *pairs; /* of lists, one behind the other */
    size_t n_pairs;
    size_t pairs_capacity;
    size_t *ends; /* [n] of lists */
    uint64_t bytes_read;
};

/** Start an empty matrix of at most `most` tokens. */
void ww_said_begin(struct ww_said *a, size_t most, uint64_t seed);
/** One line without its end; number is told in errors. */
enum ww_err ww_said_line(struct ww_said *a, const uint8_t *text, size_t len,
                         uint64_t number, struct ww_error *err) WW_MUST_USE;
/** After the last line. WW_E_MALFORMED for no answer. */
enum ww_err ww_said_end(struct ww_said *a, struct ww_error *err) WW_MUST_USE;

/** begin, all lines or the matrix of the file, end. */
enum ww_err ww_said_read(struct ww_said *a, const char *path, size_t most, uint64_t seed,
                         struct ww_error *err) WW_MUST_USE;
void ww_said_release(struct ww_said *a);

#endif
