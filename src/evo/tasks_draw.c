/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items for one trial of a search. The part that an item is in follows from its own hash,
 * so that parts stay apart however often a file is read or edited; within a part items
 * are ordered by a hash with the seed and the first ones are taken.
 */
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "evo/tasks.h"
#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

static const struct part {
    const char *name;
    unsigned from, to; /* of the hash's first byte */
} parts[] = {{"search", 0, 128}, {"again", 128, 192}, {"final", 192, 256}};

struct drawn {
    uint8_t order[WW_SHA256_BYTES];
    size_t index;
};

static int by_order(const void *a, const void *b)
{
    const struct drawn *x = a;
    const struct drawn *y = b;
    return memcmp(x->order, y->order, sizeof(x->order));
}

static int by_index(const void *a, const void *b)
{
    const struct drawn *x = a;
    const struct drawn *y = b;
    return (x->index > y->index) - (x->index < y->index);
}

static const struct part *find_part(const char *name)
{
    for (size_t i = 0; i < WW_LEN(parts); i++) {
        if (strcmp(parts[i].name, name) == 0) {
            return &parts[i];
        }
    }
    return NULL;
}

static size_t list_part(const struct ww_tasks *tasks, const struct part *part,
                        uint64_t seed, struct drawn *out)
{
    uint8_t text[8 + WW_SHA256_BYTES];
    size_t n = 0;
    ww_put_u64le(text, seed);
    for (size_t i = 0; i < tasks->n; i++) {
        const uint8_t *hash = tasks->item[i].hash;
        if (hash[0] >= part->from && hash[0] < part->to) {
            memcpy(text + 8, hash, WW_SHA256_BYTES);
            ww_sha256_of(text, sizeof(text), out[n].order);
            out[n++].index = i;
        }
    }
    return n;
}

/* Those that are listed stay, in the file's order; the others go. */
static void keep(struct ww_tasks *tasks, const struct drawn *drawn, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < tasks->n; i++) {
        if (at < n && drawn[at].index == i) {
            tasks->item[at] = tasks->item[i];
            tasks->text[at++] = tasks->text[i];
        } else {
            ww_free(tasks->item[i].options);
            ww_json_free(tasks->text[i]);
        }
    }
    tasks->n = n;
}

enum ww_err ww_tasks_draw(struct ww_tasks *tasks, const char *part, uint64_t seed,
                          size_t sample, struct ww_error *err)
{
    const struct part *p = find_part(part);
    if (!p) {
        return WW_FAIL(err, WW_E_USAGE,
                       "'%.40s' is no part of the items: expected search, again or final",
                       part);
    }
    struct drawn *drawn = ww_calloc(tasks->n + 1, sizeof(*drawn));
    if (!drawn) {
        return WW_FAIL_MEMORY(err, "%zu items", tasks->n);
    }
    size_t n = list_part(tasks, p, seed, drawn);
    qsort(drawn, n, sizeof(*drawn), by_order);
    n = sample && sample < n ? sample : n;
    qsort(drawn, n, sizeof(*drawn), by_index);
    enum ww_err rc = WW_OK;
    if (n == 0) {
        rc = WW_FAIL(err, WW_E_USAGE, "no item falls into the part '%s'", part);
    } else {
        keep(tasks, drawn, n);
    }
    ww_free(drawn);
    return rc;
}
