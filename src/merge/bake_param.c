/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Factors of a parameter that is no module's weight: the stacked experts of a layer
 * (PEFT's target_parameters). Their names say the module alone; where several parameters
 * of one module have factors PEFT wraps the module once for each, in the order in which
 * the module has them, and ".base_layer" counts the wraps from the outside. Files keep
 * many of these stacks as one tensor for each expert, gate and up apart, so one pair of
 * factors may change hundreds of tensors.
 */
#include <string.h>

#include "merge/bake_work.h"
#include "model/adapter_names.h"
#include "model/config.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

#define WRAP ".base_layer"
#define MAX_PARAMETERS 4
#define N_HALVES 2

/* The end of a parameter's name, and of the tensors that hold it, of expert 0 where there
 * is one for each. Two are the halves of its rows. */
struct form {
    const char *parameter;
    const char *stored[N_HALVES];
    bool each;
};

static const struct form forms[] = {
    {"", {""}, false},
    {".experts.gate_up_proj", {".input_linear.weight"}, false},
    {".experts.down_proj", {".output_linear.weight"}, false},
    {".gate_up_proj", {".fc1.weight"}, false},
    {".down_proj", {".fc2.weight"}, false},
    {".gate_up_proj", {".0.gate_proj.weight", ".0.up_proj.weight"}, true},
    {".gate_up_proj", {".0.w1.weight", ".0.w3.weight"}, true},
    {".gate_up_proj", {".0.fc1.weight", ".0.fc3.weight"}, true},
    {".up_proj", {".0.up_proj.weight"}, true},
    {".down_proj", {".0.down_proj.weight"}, true},
    {".down_proj", {".0.w2.weight"}, true},
    {".down_proj", {".0.fc2.weight"}, true},
    {".mlp.experts.gate_up_proj",
     {".block_sparse_moe.experts.0.w1.weight", ".block_sparse_moe.experts.0.w3.weight"},
     true},
    {".mlp.experts.down_proj", {".block_sparse_moe.experts.0.w2.weight"}, true},
};

/* In the order in which modules have them. */
static const char *const in_order[] = {"gate_up_proj", "gate_proj", "up_proj",
                                       "down_proj"};

/* A parameter and where the base has it. */
struct place {
    const char *leaf; /* in the adapter's configuration */
    size_t rank;      /* in in_order; its length: unknown */
    const struct form *form;
    uint32_t first[N_HALVES];
};

/* The module's name without wraps, and how many there are. */
static size_t unwrapped(const char *module, uint32_t *wraps)
{
    size_t len = strlen(module);

    *wraps = 0;
    while (len > strlen(WRAP) &&
           memcmp(module + len - strlen(WRAP), WRAP, strlen(WRAP)) == 0) {
        len -= strlen(WRAP);
        (*wraps)++;
    }
    return len;
}

/* Pairs of factors of one module. */
static uint32_t count_wraps(const struct ww_adapter *adapter, const char *module,
                            size_t len)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        const struct ww_adapter_entry *e = &adapter->entries[i];
        uint32_t wraps = 0;
        if (e->part == WW_PART_A && unwrapped(e->module, &wraps) == len &&
            memcmp(e->module, module, len) == 0 && wraps + 1 > most) {
            most = wraps + 1;
        }
    }
    return most;
}

enum ww_err ww_bake_stored(const struct ww_model *base, const char *name, uint32_t *found,
                           struct ww_error *err)
{
    const char *type = base->config ? base->config->root_model_type : NULL;
    bool twice = false;
    char *stored = NULL;
    enum ww_err rc = WW_OK;

    *found = ww_adapter_find(base, name, &twice);
    if (*found == WW_NONE) {
        rc = ww_adapter_stored_name(type, name, &stored, err);
        *found = stored ? ww_adapter_find(base, stored, &twice) : WW_NONE;
    }
    *found = twice ? WW_NONE : *found;
    ww_free(stored);
    return rc;
}

/* Does the base have this parameter in this form? */
static enum ww_err fits_form(const struct ww_model *base, const char *parameter,
                             const struct form *form, struct place *place, bool *fits,
                             struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *fits = ww_str_ends(parameter, form->parameter);
    for (size_t i = 0; i < N_HALVES && *fits && form->stored[i] && !rc; i++) {
        const size_t keep = strlen(parameter) - strlen(form->parameter);
        char *name = ww_asprintf("%.*s%s", (int)keep, parameter, form->stored[i]);
        rc = name ? ww_bake_stored(base, name, &place->first[i], err)
                  : WW_FAIL_MEMORY(err, "an adapter");
        *fits = !rc && place->first[i] != WW_NONE;
        ww_free(name);
    }
    place->form = form;
    return rc;
}

static enum ww_err locate(const struct ww_model *base, const char *parameter,
                          struct place *place, bool *found, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *found = false;
    for (size_t i = 0; i < WW_LEN(forms) && !*found && !rc; i++) {
        rc = fits_form(base, parameter, &forms[i], place, found, err);
    }
    return rc;
}

static size_t order_of(const char *leaf)
{
    size_t i = 0;

    while (i < WW_LEN(in_order) && strcmp(in_order[i], leaf) != 0) {
        i++;
    }
    return i;
}

/* In the module's order; one that is there already is left. */
static void insert(struct place *places, uint32_t *n, const struct place *place)
{
    uint32_t at = *n;

    for (uint32_t i = 0; i < *n; i++) {
        if (strcmp(places[i].leaf, place->leaf) == 0) {
            return;
        }
    }
    for (; at > 0 && places[at - 1].rank > place->rank; at--) {
        places[at] = places[at - 1];
    }
    places[at] = *place;
    (*n)++;
}

/* Parameters of a module that the adapter targets and the base has. */
static enum ww_err gather(const struct ww_bake_from *from, const char *module, int len,
                          struct place *places, uint32_t *n, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    *n = 0;
    for (const struct ww_jnode *t = ww_jfirst(from->adapter->parameters); t && !rc;
         t = ww_jnext(t)) {
        struct place place = {0};
        const char *target = NULL;
        const char *dot = NULL;
        bool found = false;
        if (!ww_jstr(t, &target)) {
            return WW_FAIL(err, WW_E_ADAPTER_FILE,
                           "target_parameters of adapter '%s': expected a list of names",
                           from->adapter->path);
        }
        dot = strrchr(target, '.');
        place.leaf = dot ? dot + 1 : target;
        place.rank = order_of(place.leaf);
        char *name = ww_asprintf("%.*s.%s", len, module, place.leaf);
        rc = name ? WW_OK : WW_FAIL_MEMORY(err, "an adapter");
        if (!rc && ww_adapter_ends(name, target)) {
            rc = locate(from->base, name, &place, &found, err);
        }
        ww_free(name);
        if (!rc && found && *n < MAX_PARAMETERS) {
            insert(places, n, &place);
        }
    }
    return rc;
}

static enum ww_err add_change(struct ww_bake_group *group, uint32_t tensor,
                              const struct ww_adapter_entry *entry,
                              const struct ww_bake_expert *expert, struct ww_error *err)
{
    struct ww_bake_change *change = NULL;
    enum ww_err rc = ww_bake_group_add(group, &change, err);

    if (!rc) {
        change->tensor = tensor;
        change->part[entry->part] = entry;
        change->expert = *expert;
    }
    return rc;
}

/* The tensor of another expert, named like that of expert 0. */
static enum ww_err of_expert(const struct ww_model *base, uint32_t first, const char *end,
                             uint32_t e, uint32_t *found, struct ww_error *err)
{
    const char *zero = strstr(end, ".0.");
    const char *name = base->tensors[first].name;
    const size_t keep = strlen(name) - strlen(zero);
    char *other = ww_asprintf("%.*s.%u%s", (int)keep, name, e, zero + 2);

    if (!other) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    *found = ww_model_find(base, other);
    ww_free(other);
    return WW_OK;
}

static enum ww_err add_each(const struct ww_bake_from *from, const struct place *place,
                            const struct ww_adapter_entry *entry,
                            struct ww_bake_expert *expert, struct ww_bake_group *group,
                            struct ww_error *err)
{
    const struct ww_model *base = from->base;
    const char *const *ends = place->form->stored;
    uint32_t tensor = 0;
    enum ww_err rc = WW_OK;

    for (uint32_t e = 0; !rc; e++) {
        rc = of_expert(base, place->first[0], ends[0], e, &tensor, err);
        if (rc || tensor == WW_NONE) {
            break;
        }
        expert->n = e + 1;
    }
    for (uint32_t i = 0; i < N_HALVES && ends[i]; i++) {
        expert->n_rows += base->tensors[place->first[i]].shape[0];
    }
    for (uint32_t e = 0; e < expert->n && !rc; e++) {
        expert->index = e;
        expert->row = 0;
        for (uint32_t i = 0; i < N_HALVES && ends[i] && !rc; i++) {
            rc = of_expert(base, place->first[i], ends[i], e, &tensor, err);
            if (!rc && tensor == WW_NONE) {
                rc = WW_FAIL(err, WW_E_TENSOR,
                             "'%s' has no tensor like '%.160s' of expert %u", base->path,
                             base->tensors[place->first[i]].name, e);
            }
            if (!rc) {
                rc = add_change(group, tensor, entry, expert, err);
            }
            expert->row += base->tensors[place->first[i]].shape[0];
        }
    }
    return rc;
}

static enum ww_err add_place(const struct ww_bake_from *from, const struct place *place,
                             const struct ww_adapter_entry *entry, const char *name,
                             struct ww_bake_group *group, struct ww_error *err)
{
    const struct ww_tensor *w = &from->base->tensors[place->first[0]];
    struct ww_bake_expert expert = {.name = name, .index = WW_NONE};

    if (place->form->each) {
        return add_each(from, place, entry, &expert, group, err);
    }
    if (w->rank != 2 && w->rank != 3) {
        return WW_FAIL(err, WW_E_SHAPE,
                       "parameter '%.160s' of '%s' has %u axes, expected 2 or 3", name,
                       from->base->path, w->rank);
    }
    expert.n = w->rank == 3 && w->shape[0] <= UINT32_MAX ? (uint32_t)w->shape[0] : 1;
    return add_change(group, place->first[0], entry, &expert, err);
}

/* Which of the module's parameters this pair is of. */
static enum ww_err choose(const struct ww_bake_from *from,
                          const struct ww_adapter_entry *entry,
                          const struct place *places, uint32_t n, uint32_t *at,
                          struct ww_error *err)
{
    const struct ww_adapter *adapter = from->adapter;
    uint32_t wraps = 0;
    const size_t len = unwrapped(entry->module, &wraps);
    const uint32_t n_pairs = count_wraps(adapter, entry->module, len);

    if (n_pairs != n || wraps >= n || (n > 1 && places[n - 2].rank == WW_LEN(in_order))) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "adapter '%s' has %u pairs of factors for '%.*s', of which its "
            "target_parameters name %u parameters; which is which cannot be told",
            adapter->path, n_pairs, (int)len, entry->module, n);
    }
    if (adapter->dora || adapter->fan_in_fan_out) {
        return WW_FAIL(
            err, WW_E_UNSUPPORTED,
            "adapter '%s': %s of a parameter is not supported, for PEFT has none",
            adapter->path, adapter->dora ? "DoRA" : "fan_in_fan_out");
    }
    *at = n - 1 - wraps;
    return WW_OK;
}

/* A linear layer's own weight, whoever targets it. */
static bool is_module(const struct ww_model *base, const char *module)
{
    char *name = ww_asprintf("%s.weight", module);
    bool twice = false;
    const uint32_t t = name ? ww_adapter_find(base, name, &twice) : WW_NONE;

    ww_free(name);
    return t != WW_NONE && base->tensors[t].rank <= 2;
}

enum ww_err ww_bake_parameter(const struct ww_bake_from *from,
                              const struct ww_adapter_entry *entry,
                              struct ww_bake_group *group, bool *done,
                              struct ww_error *err)
{
    struct place places[MAX_PARAMETERS];
    uint32_t n = 0;
    uint32_t at = 0;
    uint32_t wraps = 0;
    const int len = (int)unwrapped(entry->module, &wraps);
    char *name = NULL;
    enum ww_err rc = WW_OK;

    *done = false;
    if (!from->adapter->parameters ||
        (entry->part != WW_PART_A && entry->part != WW_PART_B) ||
        is_module(from->base, entry->module)) {
        return WW_OK;
    }
    rc = gather(from, entry->module, len, places, &n, err);
    if (rc || n == 0) {
        return rc;
    }
    rc = choose(from, entry, places, n, &at, err);
    if (rc) {
        return rc;
    }
    name = ww_asprintf("%.*s.%s", len, entry->module, places[at].leaf);
    rc = name ? ww_strlist_add(&group->names, name, err)
              : WW_FAIL_MEMORY(err, "an adapter");
    if (!rc) {
        rc = add_place(from, &places[at], entry, group->names.items[group->names.n - 1],
                       group, err);
    }
    *done = !rc;
    ww_free(name);
    return rc;
}
