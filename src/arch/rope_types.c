/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frequencies per rope type: theta^(-2f/r), bent for longer sequences than the model was
 * trained on. linear: positions divided by a factor (Chen et al., arXiv 2306.15595);
 * dynamic: theta grows with the sequence (NTK-aware); yarn: Peng et al., arXiv
 * 2309.00071; longrope: Ding et al., arXiv 2402.13753; llama3: the scheme of Llama 3.1.
 * Parameters have a name and a default each, and come from the rope section of
 * config.json, some of them from the section above it.
 */
#include "arch/rope.h"

#include <math.h>

#include "model/config.h"
#include "util/fail.h"
#include "util/str.h"

#define PI 3.14159265358979323846

struct rope_input {
    const struct ww_attention *att;
    const struct ww_jnode *params;
    const struct ww_jnode *section;
    double dims;
    size_t n_pairs;
    double sequence_length;
};

typedef enum ww_err (*rope_fn)(const struct rope_input *in, double *frequency,
                               double *factor, struct ww_error *err);

static const struct ww_jnode *find(const struct rope_input *in, const char *key)
{
    const struct ww_jnode *node = ww_config_at(in->params, key);
    return node ? node : ww_config_at(in->section, key);
}

static enum ww_err need(const struct rope_input *in, const char *key, double *out,
                        struct ww_error *err)
{
    if (!ww_jdouble(find(in, key), out) || !isfinite(*out) || *out <= 0) {
        return WW_FAIL(err, WW_E_CONFIG,
                       "config.json: rope type '%s' of '%s' needs a positive number '%s'",
                       in->att->rope.type, in->att->name, key);
    }
    return WW_OK;
}

/* A positive number if there is one; zero and null count as absent, as in the library. */
static bool may(const struct rope_input *in, const char *key, double *out)
{
    double value;
    bool found =
        ww_jdouble(ww_config_at(in->params, key), &value) && isfinite(value) && value > 0;
    if (found) {
        *out = value;
    }
    return found;
}

/* Phi-3 keeps the original length outside the rope section, and that one counts. */
static enum ww_err original_length(const struct rope_input *in, double *out,
                                   struct ww_error *err)
{
    static const char key[] = "original_max_position_embeddings";
    if (ww_jdouble(ww_config_at(in->section, key), out) && *out > 0) {
        return WW_OK;
    }
    if (may(in, key, out)) {
        return WW_OK;
    }
    return need(in, "max_position_embeddings", out, err);
}

static void plain(const struct rope_input *in, double theta, double *frequency)
{
    for (size_t f = 0; f < in->n_pairs; f++) {
        frequency[f] = 1 / pow(theta, 2 * (double)f / in->dims);
    }
}

static enum ww_err rope_default(const struct rope_input *in, double *frequency,
                                double *factor, struct ww_error *err)
{
    (void)factor;
    (void)err;
    plain(in, in->att->rope.theta, frequency);
    return WW_OK;
}

static enum ww_err rope_linear(const struct rope_input *in, double *frequency,
                               double *factor, struct ww_error *err)
{
    double scale = 1;
    (void)factor;
    enum ww_err rc = need(in, "factor", &scale, err);
    if (rc) {
        return rc;
    }
    plain(in, in->att->rope.theta, frequency);
    for (size_t f = 0; f < in->n_pairs; f++) {
        frequency[f] /= scale;
    }
    return WW_OK;
}

static enum ww_err rope_dynamic(const struct rope_input *in, double *frequency,
                                double *factor, struct ww_error *err)
{
    double scale = 1;
    double trained = 1;
    (void)factor;
    enum ww_err rc = need(in, "factor", &scale, err);
    if (rc) {
        return rc;
    }
    rc = need(in, "max_position_embeddings", &trained, err);
    if (rc) {
        return rc;
    }
    double length = fmax(in->sequence_length, trained);
    double growth = scale * length / trained - (scale - 1);
    plain(in, in->att->rope.theta * pow(growth, in->dims / (in->dims - 2)), frequency);
    return WW_OK;
}

static enum ww_err rope_llama3(const struct rope_input *in, double *frequency,
                               double *factor, struct ww_error *err)
{
    double scale = 1;
    double low = 1;
    double high = 1;
    double trained = 1;
    (void)factor;
    enum ww_err rc = need(in, "factor", &scale, err);
    if (!rc) {
        rc = need(in, "low_freq_factor", &low, err);
    }
    if (!rc) {
        rc = need(in, "high_freq_factor", &high, err);
    }
    if (!rc) {
        rc = original_length(in, &trained, err);
    }
    if (rc) {
        return rc;
    }
    plain(in, in->att->rope.theta, frequency);
    for (size_t f = 0; f < in->n_pairs; f++) {
        double wavelength = 2 * PI / frequency[f];
        if (wavelength > trained / low) {
            frequency[f] /= scale;
        } else if (wavelength >= trained / high) {
            double smooth = (trained / wavelength - low) / (high - low);
            frequency[f] = (1 - smooth) * frequency[f] / scale + smooth * frequency[f];
        }
    }
    return WW_OK;
}

static double yarn_scale(double factor, double weight)
{
    return factor <= 1 ? 1 : 0.1 * weight * log(factor) + 1;
}

static double yarn_attention(const struct rope_input *in, double scale)
{
    double value = 1;
    double mscale = 0;
    double mscale_all = 0;
    if (may(in, "attention_factor", &value)) {
        return value;
    }
    if (may(in, "mscale", &mscale) && may(in, "mscale_all_dim", &mscale_all)) {
        return yarn_scale(scale, mscale) / yarn_scale(scale, mscale_all);
    }
    return yarn_scale(scale, 1);
}

/* The pair that makes this many turns over the trained length. */
static double yarn_edge(const struct rope_input *in, double turns, double trained)
{
    return in->dims * log(trained / (turns * 2 * PI)) / (2 * log(in->att->rope.theta));
}

static void yarn_mix(const struct rope_input *in, double scale, double trained,
                     double *frequency)
{
    double fast = 32;
    double slow = 1;
    bool truncate = true;
    may(in, "beta_fast", &fast);
    may(in, "beta_slow", &slow);
    ww_jbool(find(in, "truncate"), &truncate);
    double low = yarn_edge(in, fast, trained);
    double high = yarn_edge(in, slow, trained);
    if (truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, in->dims - 1);
    if (low == high) {
        high += 0.001;
    }
    plain(in, in->att->rope.theta, frequency);
    for (size_t f = 0; f < in->n_pairs; f++) {
        double ramp = fmin(fmax(((double)f - low) / (high - low), 0), 1);
        frequency[f] = frequency[f] / scale * ramp + frequency[f] * (1 - ramp);
    }
}

/* The factor, or how much longer the model claims to be than it was trained. */
static enum ww_err stretch(const struct rope_input *in, double trained, double *out,
                           struct ww_error *err)
{
    if (may(in, "factor", out)) {
        return WW_OK;
    }
    double length = 1;
    enum ww_err rc = need(in, "max_position_embeddings", &length, err);
    *out = length / trained;
    return rc;
}

/* The length that it was trained with, and by how much that is exceeded. */
static enum ww_err lengths(const struct rope_input *in, double *trained, double *scale,
                           struct ww_error *err)
{
    enum ww_err rc = original_length(in, trained, err);
    return rc ? rc : stretch(in, *trained, scale, err);
}

static enum ww_err rope_yarn(const struct rope_input *in, double *frequency,
                             double *factor, struct ww_error *err)
{
    double trained = 1;
    double scale = 1;
    enum ww_err rc = lengths(in, &trained, &scale, err);
    if (rc) {
        return rc;
    }
    yarn_mix(in, scale, trained, frequency);
    *factor = yarn_attention(in, scale);
    return WW_OK;
}

static enum ww_err divide_by_list(const struct rope_input *in, const char *key,
                                  double *frequency, struct ww_error *err)
{
    const struct ww_jnode *list = find(in, key);
    if (!list || ww_jtype(list) != WW_J_ARRAY || ww_jsize(list) != in->n_pairs) {
        return WW_FAIL(
            err, WW_E_CONFIG,
            "config.json: rope type 'longrope' of '%s' needs a list '%s' of %zu "
            "numbers",
            in->att->name, key, in->n_pairs);
    }
    size_t f = 0;
    for (const struct ww_jnode *at = ww_jfirst(list); at; at = ww_jnext(at)) {
        double value = 0;
        if (!ww_jdouble(at, &value) || !(value > 0)) {
            return WW_FAIL(err, WW_E_CONFIG,
                           "config.json: entry %zu of '%s' is no positive number", f,
                           key);
        }
        frequency[f++] /= value;
    }
    return WW_OK;
}

static enum ww_err rope_longrope(const struct rope_input *in, double *frequency,
                                 double *factor, struct ww_error *err)
{
    double trained = 1;
    double scale = 1;
    enum ww_err rc = lengths(in, &trained, &scale, err);
    if (rc) {
        return rc;
    }
    if (!may(in, "attention_factor", factor)) {
        *factor = scale <= 1 ? 1 : sqrt(1 + log(scale) / log(trained));
    }
    plain(in, in->att->rope.theta, frequency);
    bool is_long = in->sequence_length > trained;
    return divide_by_list(in, is_long ? "long_factor" : "short_factor", frequency, err);
}

static const struct {
    const char *name;
    rope_fn fn;
} rope_types[] = {
    {"default", rope_default}, {"linear", rope_linear}, {"dynamic", rope_dynamic},
    {"llama3", rope_llama3},   {"yarn", rope_yarn},     {"longrope", rope_longrope},
    {"su", rope_longrope}, /* its name in early Phi-3 files */
};

enum ww_err ww_rope_frequencies(const struct ww_layout *layout,
                                const struct ww_attention *att, size_t sequence_length,
                                double *frequency, double *factor, struct ww_error *err)
{
    const struct ww_config *config = layout->model ? layout->model->config : NULL;
    struct rope_input in = {.att = att,
                            .dims = (double)att->rope.dims,
                            .n_pairs = (size_t)att->rope.dims / 2,
                            .sequence_length = (double)sequence_length};
    const char *type = att->rope.type ? att->rope.type : "default";
    if (config) {
        in.section = config->text ? config->text : config->root;
    }
    if (in.section && att->rope.params_path) {
        in.params = ww_config_at(in.section, att->rope.params_path);
    }
    *factor = 1;
    for (size_t i = 0; i < WW_LEN(rope_types); i++) {
        if (ww_str_eq(rope_types[i].name, type)) {
            return rope_types[i].fn(&in, frequency, factor, err);
        }
    }
    return WW_FAIL(err, WW_E_UNSUPPORTED,
                   "rope type '%s' of '%s' is not known to the reference forward pass",
                   type, att->name);
}
