/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a space file. Everything is checked here, before anything is evaluated. */
#include "evo/search_space.h"

#include <math.h>
#include <string.h>

#include "crypto/hash.h"
#include "la/fixmath.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"
#include "yaml/yaml.h"

#define MAX_COUNT 1000000
#define MAX_RECIPE ((size_t)1 << 20)
#define ADAPTER_ROUNDS 8

#define KEY_OF(field, key, standard) key,
static const char *const space_keys[] = {"adapters",
                                         "recipe",
                                         "recipe_file",
                                         "variables",
                                         "goal",
                                         "items",
                                         "deliver",
                                         "objectives",
                                         "l1",
                                         "method",
                                         WW_SPACE_NUMBERS(KEY_OF)};
#undef KEY_OF
static const char *const variable_keys[] = {"low",   "high",   "start", "step",
                                            "scale", "values", "level"};

void ww_space_release(struct ww_space *space)
{
    for (uint32_t i = 0; space->variable && i < space->n_variables; i++) {
        ww_free(space->variable[i].name);
    }
    for (uint32_t i = 0; space->objectives && i < space->n_objectives; i++) {
        ww_free(space->objectives[i]);
    }
    ww_free(space->variable);
    ww_free(space->objectives);
    ww_free(space->objective_minimise);
    ww_free(space->recipe);
    *space = (struct ww_space){0};
}

/* One of two words; absent: the first. */
static enum ww_err read_word(const struct ww_ynode *node, const char *what,
                             const char *first, const char *second, bool *is_second,
                             struct ww_error *err)
{
    const char *text = NULL;
    if (!node) {
        return WW_OK;
    }
    if (!ww_ystr(node, &text) || !(ww_str_eq(text, first) || ww_str_eq(text, second))) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: '%s' must be '%s' or '%s'",
                       ww_yline(node), what, first, second);
    }
    *is_second = ww_str_eq(text, second);
    return WW_OK;
}

static enum ww_err read_count(const struct ww_ynode *root, const char *key,
                              uint32_t standard, uint32_t *out, struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(root, key);
    int64_t value = standard;
    if (node && (!ww_yi64(node, &value) || value < 0 || value > MAX_COUNT)) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: '%s' must be a whole number up to %d",
                       ww_yline(node), key, MAX_COUNT);
    }
    *out = (uint32_t)value;
    return WW_OK;
}

static enum ww_err read_number(const struct ww_ynode *map, const char *key, double *out,
                               struct ww_error *err)
{
    const struct ww_ynode *node = ww_yget(map, key);
    if ((node || *out != *out) && (!ww_ynumber(node, out) || !isfinite(*out))) {
        return WW_FAIL(err, WW_E_RECIPE, "line %zu: variable '%s' needs a number '%s'",
                       ww_yline(node ? node : map), ww_ykey(map), key);
    }
    return WW_OK;
}

static enum ww_err check_variable(const struct ww_ynode *map,
                                  const struct ww_space_variable *v, struct ww_error *err)
{
    const char *wrong = NULL;
    if (!(v->low < v->high)) {
        wrong = "'low' is not below 'high'";
    } else if (v->start < v->low || v->start > v->high) {
        wrong = "'start' lies outside of the box";
    } else if (!(v->step > 0)) {
        wrong = "'step' is not above 0";
    } else if (v->is_log && !(v->low > 1e-300)) {
        wrong = "a logarithmic scale needs a 'low' above 0";
    } else if (v->values == 0 || v->values > WW_SPACE_MAX_NUMBERS) {
        wrong = "'values' is not between 1 and 512";
    } else if (!(v->level >= v->low && v->level <= v->high)) {
        wrong = "'level' lies outside of the box";
    }
    return wrong ? WW_FAIL(err, WW_E_RECIPE, "line %zu: variable '%s': %s", ww_yline(map),
                           v->name, wrong)
                 : WW_OK;
}

/* A step above the start, or below it where the box ends there. */
static double usual_level(const struct ww_space_variable *v)
{
    const double step = v->start < v->high ? v->step : -v->step;
    const double level = v->is_log ? v->start * ww_fix_exp(step) : v->start + step;
    return level > v->high ? v->high : level < v->low ? v->low : level;
}

/* A first step is a quarter of the box unless given. */
static enum ww_err read_variable(const struct ww_ynode *map, struct ww_space_variable *v,
                                 struct ww_error *err)
{
    v->low = v->high = v->start = v->step = (double)NAN;
    enum ww_err rc = ww_yonly(map, variable_keys, WW_LEN(variable_keys), WW_E_RECIPE,
                              "a variable", err);
    v->name = ww_strdup(ww_ykey(map));
    if (!rc && !v->name) {
        rc = WW_FAIL_MEMORY(err, "a space");
    }
    if (!rc) {
        rc = read_word(ww_yget(map, "scale"), "scale", "linear", "log", &v->is_log, err);
    }
    if (!rc) {
        rc = read_count(map, "values", 1, &v->values, err);
    }
    const struct {
        const char *key;
        double *to;
    } numbers[] = {{"low", &v->low}, {"high", &v->high}, {"start", &v->start}};
    for (size_t i = 0; !rc && i < WW_LEN(numbers); i++) {
        rc = read_number(map, numbers[i].key, numbers[i].to, err);
    }
    v->step = v->is_log ? 0.5 : (v->high - v->low) / 4;
    if (!rc) {
        rc = read_number(map, "step", &v->step, err);
    }
    v->level = usual_level(v);
    if (!rc) {
        rc = read_number(map, "level", &v->level, err);
    }
    return rc ? rc : check_variable(map, v, err);
}

static enum ww_err read_variables(const struct ww_ynode *map, struct ww_space *space,
                                  struct ww_error *err)
{
    const size_t n = ww_ysize(map);
    if (!map || ww_ytype(map) != WW_Y_MAP || n == 0 || n > WW_SPACE_MAX_NUMBERS) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "'variables' must be a map of 1 to %d variables by their names",
                       WW_SPACE_MAX_NUMBERS);
    }
    space->variable = ww_calloc(n, sizeof(*space->variable));
    if (!space->variable) {
        return WW_FAIL_MEMORY(err, "a space");
    }
    for (const struct ww_ynode *at = ww_yfirst(map); at; at = ww_ynext(at)) {
        struct ww_space_variable *v = &space->variable[space->n_variables++];
        enum ww_err rc = read_variable(at, v, err);
        if (rc) {
            return rc;
        }
        v->first = space->d;
        space->d += v->values;
        if (space->d > WW_SPACE_MAX_NUMBERS) {
            return WW_FAIL(err, WW_E_LIMIT, "more than %d numbers to search for",
                           WW_SPACE_MAX_NUMBERS);
        }
    }
    return WW_OK;
}

static enum ww_err read_objectives(const struct ww_ynode *map, struct ww_space *space,
                                   struct ww_error *err)
{
    const size_t n = ww_ysize(map);
    if (!map) {
        return WW_OK;
    }
    if (ww_ytype(map) != WW_Y_MAP || n < 2 || n > 4) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "line %zu: 'objectives' must be a map of 2 to 4 names, each with "
                       "'maximise' or 'minimise'",
                       ww_yline(map));
    }
    space->objectives = ww_calloc(n, sizeof(*space->objectives));
    space->objective_minimise = ww_calloc(n, sizeof(*space->objective_minimise));
    if (!space->objectives || !space->objective_minimise) {
        return WW_FAIL_MEMORY(err, "a space");
    }
    for (const struct ww_ynode *at = ww_yfirst(map); at; at = ww_ynext(at)) {
        uint32_t i = space->n_objectives++;
        space->objectives[i] = ww_strdup(ww_ykey(at));
        if (!space->objectives[i]) {
            return WW_FAIL_MEMORY(err, "a space");
        }
        enum ww_err rc = read_word(at, ww_ykey(at), "maximise", "minimise",
                                   &space->objective_minimise[i], err);
        if (rc) {
            return rc;
        }
    }
    return WW_OK;
}

static enum ww_err read_recipe(const struct ww_ynode *root, const char *path,
                               struct ww_space *space, struct ww_error *err)
{
    const char *text = NULL;
    const char *file = NULL;
    struct ww_buf buf;
    char *beside = NULL;
    enum ww_err rc = WW_OK;
    ww_buf_init(&buf, MAX_RECIPE);
    if (ww_ystr(ww_yget(root, "recipe"), &text) ==
        ww_ystr(ww_yget(root, "recipe_file"), &file)) {
        rc = WW_FAIL(
            err, WW_E_RECIPE,
            "space '%s' needs either 'recipe', the text of one, or 'recipe_file'", path);
        goto out;
    }
    if (file) {
        beside = file[0] == '/' ? ww_strdup(file)
                                : ww_asprintf("%.*s%s", (int)(ww_path_base(path) - path),
                                              path, file);
        rc = beside ? ww_file_read(beside, &buf, err) : WW_FAIL_MEMORY(err, "a path");
        text = ww_buf_cstr(&buf);
        if (!rc && strlen(text) != buf.len) {
            rc = WW_FAIL(err, WW_E_RECIPE, "recipe '%s' is not text: it has a byte 0",
                         beside);
        }
    }
    if (!rc) {
        space->recipe = ww_strdup(text);
        rc = space->recipe ? WW_OK : WW_FAIL_MEMORY(err, "a space");
    }
out:
    ww_free(beside);
    ww_buf_release(&buf);
    return rc;
}

/* Every variable is used, and everything used is a variable. */
static enum ww_err check_use(const struct ww_space *space, struct ww_error *err)
{
    struct ww_buf text;
    double x[WW_SPACE_MAX_NUMBERS];
    ww_buf_init(&text, 2 * MAX_RECIPE);
    ww_space_start(space, x);
    enum ww_err rc = ww_space_render(space, x, &text, err);
    for (uint32_t i = 0; !rc && i < space->n_variables; i++) {
        char *mark = ww_asprintf("${%s}", space->variable[i].name);
        if (!mark || !strstr(space->recipe, mark)) {
            rc = WW_FAIL(err, mark ? WW_E_RECIPE : WW_E_NOMEM,
                         "the recipe does not use variable '%s'; write '${%s}' where it "
                         "belongs",
                         space->variable[i].name, space->variable[i].name);
        }
        ww_free(mark);
    }
    ww_buf_release(&text);
    return rc;
}

/* What a method would not read is refused. */
static enum ww_err check_method(const struct ww_space *space, bool second,
                                struct ww_error *err)
{
    const bool many = space->n_objectives > 0;
    if (many && space->l1 > 0) {
        return WW_FAIL(err, WW_E_RECIPE,
                       "'l1' is taken from one score, and does not go "
                       "with 'objectives'");
    }
    if ((many || second) && (space->screen || space->patience)) {
        return WW_FAIL(err, WW_E_RECIPE, "'%s' goes with method 'cma' alone",
                       space->screen ? "screen" : "patience");
    }
    for (uint32_t i = 0; space->screen && i < space->n_variables; i++) {
        const struct ww_space_variable *v = &space->variable[i];
        if (v->level == v->start) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "variable '%s': 'level' is its start, where a screen learns "
                           "nothing",
                           v->name);
        }
    }
    return WW_OK;
}

static enum ww_err read_method(const struct ww_ynode *node, struct ww_space *space,
                               struct ww_error *err)
{
    const bool many = space->n_objectives > 0;
    const char *const names[] = {many ? "archive" : "cma",
                                 many ? "surrogate" : "crossover"};
    bool second = false;
    enum ww_err rc = read_word(node, "method", names[0], names[1], &second, err);
    if (!rc && second) {
        space->method = many ? WW_METHOD_SURROGATE : WW_METHOD_CROSSOVER;
    }
    return rc ? rc : check_method(space, second, err);
}

static enum ww_err read_settings(const struct ww_ynode *root, struct ww_space *space,
                                 struct ww_error *err)
{
    enum ww_err rc = read_word(ww_yget(root, "goal"), "goal", "maximise", "minimise",
                               &space->minimise, err);
    if (!rc) {
        rc = read_word(ww_yget(root, "items"), "items", "fresh", "same",
                       &space->same_items, err);
    }
    if (!rc) {
        rc = read_word(ww_yget(root, "deliver"), "deliver", "recipe", "model",
                       &space->deliver_model, err);
    }
    const struct ww_ynode *l1 = ww_yget(root, "l1");
    if (!rc && l1 &&
        (!ww_ynumber(l1, &space->l1) || !(space->l1 >= 0 && space->l1 <= 1e6))) {
        rc = WW_FAIL(err, WW_E_RECIPE,
                     "line %zu: 'l1' must be a number from 0 to 1000000", ww_yline(l1));
    }
#define READ_COUNT(field, key, standard)                                                 \
    if (!rc) {                                                                           \
        rc = read_count(root, key, standard, &space->field, err);                        \
    }
    WW_SPACE_NUMBERS(READ_COUNT)
#undef READ_COUNT
    if (!rc && (space->leaders == 0 || space->repeats == 0 || space->seconds == 0)) {
        rc = WW_FAIL(err, WW_E_RECIPE,
                     "'leaders', 'repeats' and 'seconds' must be at "
                     "least 1");
    }
    return rc;
}

/* Of many adapters few are for the task: they are screened unless told otherwise, and
 * most of the rounds end before. */
static enum ww_err read_adapters(const struct ww_ynode *root,
                                 const struct ww_ynode *adapters, struct ww_space *space,
                                 struct ww_error *err)
{
    static const char *const others[] = {"recipe", "recipe_file", "variables"};
    for (size_t i = 0; i < WW_LEN(others); i++) {
        if (ww_yget(root, others[i])) {
            return WW_FAIL(err, WW_E_RECIPE,
                           "line %zu: '%s' does not go with 'adapters', which makes it",
                           ww_yline(ww_yget(root, others[i])), others[i]);
        }
    }
    const bool usual = !ww_yget(root, "objectives") && !ww_yget(root, "method");
    if (usual && !ww_yget(root, "screen")) {
        space->screen = ADAPTER_ROUNDS;
    }
    return ww_space_adapters(adapters, space, err);
}

static enum ww_err read_root(const struct ww_ynode *root, const char *path,
                             struct ww_space *space, struct ww_error *err)
{
    enum ww_err rc =
        ww_yonly(root, space_keys, WW_LEN(space_keys), WW_E_RECIPE, "a space", err);
    const struct ww_ynode *adapters = ww_yget(root, "adapters");
    space->deliver_model = adapters != NULL;
    if (!rc) {
        rc = read_settings(root, space, err);
    }
    if (!rc && adapters) {
        rc = read_adapters(root, adapters, space, err);
    } else if (!rc) {
        rc = read_variables(ww_yget(root, "variables"), space, err);
    }
    if (!rc) {
        rc = read_objectives(ww_yget(root, "objectives"), space, err);
    }
    if (!rc) {
        rc = read_method(ww_yget(root, "method"), space, err);
    }
    if (!rc && !adapters) {
        rc = read_recipe(root, path, space, err);
    }
    return rc ? rc : check_use(space, err);
}

static enum ww_err digest_of(const struct ww_buf *text, struct ww_space *space,
                             struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);
    if (!rc) {
        ww_sha256_update(h, text->data, text->len);
        ww_sha256_update(h, "", 1);
        ww_sha256_update(h, space->recipe, strlen(space->recipe));
        ww_sha256_final(h, space->digest);
    }
    ww_sha256_free(h);
    return rc;
}

enum ww_err ww_space_read(const char *path, struct ww_space *out, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_yaml *yaml = NULL;
    enum ww_err rc = WW_OK;
    *out = (struct ww_space){0};
    ww_buf_init(&text, ww_yaml_limits_recipe.max_bytes);
    rc = ww_file_read(path, &text, err);
    if (!rc) {
        rc = ww_yaml_parse(text.data, text.len, path, &ww_yaml_limits_recipe, &yaml, err);
    }
    if (!rc && ww_yaml_count(yaml) != 1) {
        rc = WW_FAIL(err, WW_E_RECIPE, "space '%s' must be one document", path);
    }
    if (!rc) {
        rc = read_root(ww_yaml_root(yaml, 0), path, out, err);
        if (rc) {
            ww_error_context(err, "space '%s'", path);
        }
    }
    if (!rc) {
        rc = digest_of(&text, out, err);
    }
    ww_yaml_free(yaml);
    ww_buf_release(&text);
    if (rc) {
        ww_space_release(out);
    }
    return rc;
}
