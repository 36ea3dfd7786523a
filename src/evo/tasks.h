/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Task files: JSON lines, each with a prompt and an answer ("prompt", "answer"; with
 * "options" a choice; "weight", "id", "task" as wanted). Empty and repeated items are
 * refused: they would count twice in every score.
 */
#ifndef WW_EVO_TASKS_H
#define WW_EVO_TASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weightward/error.h"

/** Bytes that may hold anything, NUL too; who owns them is said where it is used. */
struct ww_span {
    const uint8_t *data;
    size_t len;
};
bool ww_span_eq(struct ww_span a, struct ww_span b);

struct ww_task_item {
    struct ww_span prompt;
    struct ww_span answer;
    struct ww_span *options; /* [n_options], the answer among them; NULL */
    uint32_t n_options;
    double weight;    /* above 0; 1 unless given */
    const char *task; /* group for the report; "" */
    uint8_t hash[32]; /* SHA-256 of prompt and answer, for comparing splits */
};

struct ww_tasks {
    size_t n;
    struct ww_task_item *item; /* [n] */
    uint8_t digest[32];        /* SHA-256 of the file */
    struct ww_json **text;     /* [n], what the spans lie in */
};

/** Items of a text; WW_E_MALFORMED with the line's number. text may go afterwards. */
enum ww_err ww_tasks_parse(const uint8_t *text, size_t len, struct ww_tasks *out,
                           struct ww_error *err) WW_MUST_USE;
/** The same of a file. */
enum ww_err ww_tasks_read(const char *path, struct ww_tasks *out,
                          struct ww_error *err) WW_MUST_USE;
void ww_tasks_release(struct ww_tasks *tasks);

/** Keep one part of the items, "search" (half of them), "again" or "final" (a quarter
 *  each), decided by each item's hash; of it at most sample items (0: all), drawn by the
 *  seed, in the file's order. WW_E_USAGE for another part, or where none is left. */
enum ww_err ww_tasks_draw(struct ww_tasks *tasks, const char *part, uint64_t seed,
                          size_t sample, struct ww_error *err) WW_MUST_USE;

/** First item of a that is in b as well, to *out; a->n: none. */
enum ww_err ww_tasks_shared(const struct ww_tasks *a, const struct ww_tasks *b,
                            size_t *out, struct ww_error *err) WW_MUST_USE;

#endif
