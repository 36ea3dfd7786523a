/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of owned strings. Sorting by bytes is sorting by code point in UTF-8, which is
 * the order that every reader on every machine agrees on.
 */
#include "util/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_strlist_add(struct ww_strlist *list, const char *s, struct ww_error *err)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 8;
        char **items = ww_realloc_array(list->items, capacity, sizeof(*items));
        if (!items) {
            return WW_FAIL_MEMORY(err, "a list of %zu names", capacity);
        }
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = ww_strdup(s);
    if (!copy) {
        return WW_FAIL_MEMORY(err, "a name");
    }
    list->items[list->n++] = copy;
    return WW_OK;
}

bool ww_strlist_has(const struct ww_strlist *list, const char *s)
{
    for (size_t i = 0; i < list->n; i++) {
        if (strcmp(list->items[i], s) == 0) {
            return true;
        }
    }
    return false;
}

static int compare_items(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void ww_strlist_sort(struct ww_strlist *list)
{
    if (list->n > 1) {
        qsort(list->items, list->n, sizeof(*list->items), compare_items);
    }
}

void ww_strlist_release(struct ww_strlist *list)
{
    if (!list) {
        return;
    }
    for (size_t i = 0; i < list->n; i++) {
        ww_free(list->items[i]);
    }
    ww_free(list->items);
    memset(list, 0, sizeof(*list));
}

enum ww_err ww_lines_add(char ***lines, size_t *n, struct ww_error *err, const char *fmt,
                         ...)
{
    struct ww_strlist list = {*lines, *n, *n};
    char text[512];
    char line[512];
    va_list args;
    enum ww_err rc = WW_OK;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ww_one_line(line, sizeof(line), text); /* names of others may be cut, too */
    rc = ww_strlist_add(&list, line, err);
    *lines = list.items;
    *n = list.n;
    return rc;
}
