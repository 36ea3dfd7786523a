/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a product counts. Patterns are of the name under which PEFT adds factors:
 * the module's, and of a module's weight that is targeted as a parameter the weight's.
 */
#include <math.h>

#include "model/adapter.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/pattern.h"

/* PEFT: re.match("(.*\\.)?(KEY)$", module), and the first that fits counts. */
static enum ww_err pattern_fits(const struct ww_adapter *adapter, const char *key,
                                const char *module, bool *fits, struct ww_error *err)
{
    struct ww_pattern *pattern = NULL;
    enum ww_err rc = WW_OK;

    *fits = false;
    /* A name of a module as a rule, one for each: no automaton for each pair of them. */
    if (ww_pattern_plain_fits_end(key, module, fits)) {
        return WW_OK;
    }
    rc = ww_pattern_new(key, &pattern, err);
    if (rc) {
        ww_error_context(err, "alpha_pattern '%.100s' of adapter '%s'", key,
                         adapter->path);
        return rc;
    }
    *fits = ww_pattern_fits_end(pattern, module);
    ww_pattern_free(pattern);
    return WW_OK;
}

/* Is this one of the adapter's target_parameters? */
static bool is_parameter(const struct ww_adapter *adapter, const char *name)
{
    const char *target = NULL;

    for (const struct ww_jnode *t = ww_jfirst(adapter->parameters); t; t = ww_jnext(t)) {
        if (ww_jstr(t, &target) && ww_adapter_ends(name, target)) {
            return true;
        }
    }
    return false;
}

/* The first pattern that the name fits, or NULL. */
static enum ww_err find_pattern(const struct ww_adapter *adapter, const char *name,
                                const struct ww_jnode **found, struct ww_error *err)
{
    const struct ww_jnode *all = ww_jget(ww_json_root(adapter->config), "alpha_pattern");
    bool fits = false;
    enum ww_err rc = WW_OK;

    *found = NULL;
    for (const struct ww_jnode *p = ww_jfirst(all); p && !*found && !rc;
         p = ww_jnext(p)) {
        rc = pattern_fits(adapter, ww_jkey(p) ? ww_jkey(p) : "", name, &fits, err);
        *found = fits ? p : NULL;
    }
    return rc;
}

enum ww_err ww_adapter_scaling(const struct ww_adapter *adapter, const char *module,
                               uint64_t rank, double *scaling, struct ww_error *err)
{
    char *weight = ww_asprintf("%s.weight", module);
    const struct ww_jnode *own = NULL;
    double alpha = adapter->alpha;
    enum ww_err rc =
        weight ? find_pattern(adapter, is_parameter(adapter, weight) ? weight : module,
                              &own, err)
               : WW_FAIL_MEMORY(err, "a name");

    if (!rc && own && !ww_jdouble(own, &alpha)) {
        rc = WW_FAIL(err, WW_E_ADAPTER_FILE,
                     "alpha_pattern of adapter '%s': expected a number for '%.100s'",
                     adapter->path, ww_jkey(own));
    }
    if (!rc) {
        *scaling = alpha / (adapter->rslora ? sqrt((double)rank) : (double)rank);
    }
    ww_free(weight);
    return rc;
}
