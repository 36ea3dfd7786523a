/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool of adapters as a space: their scales, and the recipe that sums them. The sum is
 * of products, s_1 B_1 A_1 + s_2 B_2 A_2 + ..., exact, by the merge engine: adding
 * factors (LoraHub, arXiv 2307.13269; Evo-Merging, arXiv 2509.12951) has cross terms B_i
 * A_j in it that nobody trained.
 */
#include <math.h>
#include <string.h>

#include "evo/search_space.h"
#include "json/json.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "yaml/yaml.h"

#define MOST_BYTES ((size_t)1 << 20)

static const char *const keys[] = {"base", "pool", "low", "high", "step", "level"};

struct scale {
    double low, high, step, level;
};

static enum ww_err read_scale(const struct ww_ynode *map, struct scale *scale,
                              struct ww_error *err)
{
    const struct {
        const char *key;
        double *to;
    } numbers[] = {{"low", &scale->low},
                   {"high", &scale->high},
                   {"step", &scale->step},
                   {"level", &scale->level}};
    for (size_t i = 0; i < WW_LEN(numbers); i++) {
        const struct ww_ynode *node = ww_yget(map, numbers[i].key);
        if (node && (!ww_ynumber(node, numbers[i].to) || !isfinite(*numbers[i].to))) {
            return WW_FAIL(err, WW_E_RECIPE, "line %zu: '%s' of adapters is no number",
                           ww_yline(node), numbers[i].key);
        }
    }
    if (!(scale->low <= 0 && scale->high >= 0 && scale->low < scale->high &&
          scale->step > 0 && scale->level >= scale->low && scale->level <= scale->high)) {
        return WW_FAIL(
            err, WW_E_RECIPE,
            "line %zu: adapters need 'low' <= 0 <= 'high', a 'step' above 0 and "
            "a 'level' in the box",
            ww_yline(map));
    }
    return WW_OK;
}

/* Names are the folders'; the recipe's marks must find them. */
static enum ww_err add_adapter(const struct ww_ynode *node, const struct scale *scale,
                               struct ww_space *space, struct ww_error *err)
{
    const char *path = NULL;
    struct ww_space_variable *v = &space->variable[space->n_variables];
    if (!ww_ystr(node, &path) || !*path || strstr(path, "${")) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: 'pool' is a list of adapter folders",
                       ww_yline(node));
    }
    const char *name = ww_path_base(path);
    if (!*name || strpbrk(name, "{}$")) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: '%s' does not end with a plain name",
                       ww_yline(node), path);
    }
    for (uint32_t i = 0; i < space->n_variables; i++) {
        if (strcmp(space->variable[i].name, name) == 0) {
            return WW_FAIL(err, WW_E_RECIPE, "line %zu: two adapters are named '%s'",
                           ww_yline(node), name);
        }
    }
    *v = (struct ww_space_variable){.name = ww_strdup(name),
                                    .values = 1,
                                    .first = space->d,
                                    .low = scale->low,
                                    .high = scale->high,
                                    .start = 0,
                                    .step = scale->step,
                                    .level = scale->level};
    if (!v->name) {
        return WW_FAIL_MEMORY(err, "a space");
    }
    space->n_variables++;
    space->d++;
    return WW_OK;
}

/* A path as YAML reads it: in double quotes, with an optional base before it. */
static enum ww_err put_path(struct ww_buf *out, const char *base, const char *path,
                            struct ww_error *err)
{
    struct ww_jw w;
    char *both = base ? ww_asprintf("%s+%s", base, path) : ww_strdup(path);
    if (!both) {
        return WW_FAIL_MEMORY(err, "a recipe");
    }
    ww_jw_init(&w, out, 0);
    ww_jw_str(&w, both);
    ww_free(both);
    return ww_jw_end(&w, err);
}

static enum ww_err write_recipe(const struct ww_ynode *pool, const char *base,
                                const struct ww_space *space, struct ww_buf *out,
                                struct ww_error *err)
{
    uint32_t i = 0;
    enum ww_err rc =
        base ? ww_buf_add_str(out, "merge_method: task_arithmetic\nbase_model: ", err)
             : ww_buf_add_str(out, "merge_method: linear\nparameters: {normalize: false}",
                              err);
    if (!rc && base) {
        rc = put_path(out, NULL, base, err);
    }
    if (!rc) {
        rc = ww_buf_add_str(out, "\nmodels:\n", err);
    }
    for (const struct ww_ynode *at = ww_yfirst(pool); at && !rc; at = ww_ynext(at)) {
        const char *path = NULL;
        (void)ww_ystr(at, &path);
        rc = ww_buf_add_str(out, "  - {model: ", err);
        rc = rc ? rc : put_path(out, base, path, err);
        rc = rc ? rc
                : ww_buf_addf(out, err, ", parameters: {weight: ${%s}}}\n",
                              space->variable[i++].name);
    }
    return rc;
}

enum ww_err ww_space_adapters(const struct ww_ynode *map, struct ww_space *space,
                              struct ww_error *err)
{
    struct scale scale = {.low = -1.5, .high = 1.5, .step = 0.15, .level = 0.3};
    const struct ww_ynode *pool = ww_yget(map, "pool");
    const struct ww_ynode *base = ww_yget(map, "base");
    const size_t n = ww_ysize(pool);
    const char *base_path = NULL;
    struct ww_buf text;
    ww_buf_init(&text, MOST_BYTES);
    enum ww_err rc = ww_yonly(map, keys, WW_LEN(keys), WW_E_RECIPE, "adapters", err);
    if (!rc) {
        rc = read_scale(map, &scale, err);
    }
    if (!rc && (!pool || ww_ytype(pool) != WW_Y_LIST || n == 0 ||
                n > WW_SPACE_MAX_NUMBERS || (base && !ww_ystr(base, &base_path)))) {
        rc = WW_FAIL(err, WW_E_RECIPE,
                     "line %zu: adapters need 'pool', a list of 1 to %d folders, and may "
                     "have 'base', the folder of their model",
                     ww_yline(map), WW_SPACE_MAX_NUMBERS);
    }
    space->variable = rc ? NULL : ww_calloc(n, sizeof(*space->variable));
    if (!rc && !space->variable) {
        rc = WW_FAIL_MEMORY(err, "a space");
    }
    for (const struct ww_ynode *at = rc ? NULL : ww_yfirst(pool); at && !rc;
         at = ww_ynext(at)) {
        rc = add_adapter(at, &scale, space, err);
    }
    if (!rc) {
        rc = write_recipe(pool, base_path, space, &text, err);
    }
    space->recipe = rc ? NULL : ww_strdup(ww_buf_cstr(&text));
    if (!rc && !space->recipe) {
        rc = WW_FAIL_MEMORY(err, "a space");
    }
    ww_buf_release(&text);
    return rc;
}
