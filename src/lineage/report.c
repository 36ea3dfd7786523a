/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that can be said of a suspect in one run: shares, the replay, and which model was
 * committed to first. What it says is put into words by src/report.
 */
#include <string.h>
#include <time.h>

#include "lineage/priority.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define COMMAND_MAX ((size_t)1 << 20)

struct reporting {
    const char *suspect;
    const struct ww_lineage_report_options *options;
    struct ww_lineage_report *report;
    struct ww_chain_keys keys;
    struct ww_trusted_root *root;
};

static enum ww_err look_at(struct reporting *r, const char *role, const char *path,
                           struct ww_error *err)
{
    struct ww_commitment *c = &r->report->models[r->report->n_models];
    const struct ww_priority_ask ask = {&r->keys, r->root, &r->options->compare.run};

    c->role = role;
    c->name = ww_strdup(path);
    if (!c->name) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    r->report->n_models++;
    return ww_commitment_find(&ask, c, err);
}

static enum ww_err look_at_models(struct reporting *r, struct ww_error *err)
{
    const struct ww_decompose_options *o = &r->options->compare;
    const struct ww_chain_options *trust = &r->options->trust;
    enum ww_err rc = WW_OK;

    r->report->models =
        ww_calloc(2 + o->n_candidates + o->n_controls, sizeof(*r->report->models));
    if (!r->report->models) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    r->keys.what = "is not one that is trusted here";
    rc = ww_chain_keys_more(trust, &r->keys, err);
    if (!rc && trust->trusted_root) {
        rc = ww_trusted_root_load(trust->trusted_root, &r->root, err);
    }
    if (!rc) {
        rc = look_at(r, "suspect", r->suspect, err);
    }
    if (!rc) {
        rc = look_at(r, "base", o->base, err);
    }
    for (size_t i = 0; i < o->n_candidates && !rc; i++) {
        rc = look_at(r, "candidate", o->candidates[i], err);
    }
    for (size_t i = 0; i < o->n_controls && !rc; i++) {
        rc = look_at(r, "control", o->controls[i], err);
    }
    return rc;
}

static enum ww_err judge_priority(struct reporting *r, struct ww_error *err)
{
    const size_t n = r->report->decompose.n_sources;

    r->report->priority = ww_calloc(n, sizeof(*r->report->priority));
    if (!r->report->priority) {
        return WW_FAIL_MEMORY(err, "a report");
    }
    for (size_t i = 0; i < n; i++) {
        r->report->priority[i] =
            ww_priority_of(&r->report->models[2 + i], &r->report->models[0]);
    }
    return WW_OK;
}

static enum ww_err digest_plan(struct reporting *r, struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    if (!r->options->compare.plan) {
        return WW_OK;
    }
    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    rc = ww_file_read(r->options->compare.plan, &text, err);
    if (!rc) {
        ww_sha256_of(text.data, text.len, digest);
        ww_hex(r->report->plan_sha256, digest, sizeof(digest));
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err replay(struct reporting *r, struct ww_error *err)
{
    const struct ww_decompose_options *o = &r->options->compare;
    const struct ww_replay_options options = {
        .base = o->base,
        .candidates = o->candidates,
        .n_candidates = o->n_candidates,
        .controls = o->controls,
        .n_controls = o->n_controls,
        .seed = o->seed,
        .plan = o->plan,
        .plan_key = o->plan_key,
        .run = o->run,
    };

    r->report->has_replay = true;
    return ww_lineage_replay(r->suspect, &options, &r->report->replay, err);
}

/* A word for a shell: in single quotes when it has more than letters, digits and a few
 * signs that mean nothing there. */
static enum ww_err add_word(struct ww_buf *out, const char *word, struct ww_error *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-./:=@+,";
    enum ww_err rc = ww_buf_add_str(out, out->len ? " " : "", err);

    if (!rc && *word && word[strspn(word, plain)] == '\0') {
        return ww_buf_add_str(out, word, err);
    }
    rc = rc ? rc : ww_buf_add_str(out, "'", err);
    for (; *word && !rc; word++) {
        rc = *word == '\'' ? ww_buf_add_str(out, "'\\''", err)
                           : ww_buf_add(out, word, 1, err);
    }
    return rc ? rc : ww_buf_add_str(out, "'", err);
}

static enum ww_err add_option(struct ww_buf *out, const char *option, const char *value,
                              struct ww_error *err)
{
    enum ww_err rc = value ? add_word(out, option, err) : WW_OK;

    return rc || !value ? rc : add_word(out, value, err);
}

static enum ww_err write_command(const struct reporting *r, const char *word, char **out,
                                 struct ww_error *err)
{
    const struct ww_decompose_options *o = &r->options->compare;
    struct ww_buf text;
    size_t len = 0;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, COMMAND_MAX);
    rc = ww_buf_addf(&text, err, "weightward lineage %s --seed %llu", word,
                     (unsigned long long)o->seed);
    rc = rc ? rc : add_option(&text, "--base", o->base, err);
    for (size_t i = 0; i < o->n_candidates && !rc; i++) {
        rc = add_option(&text, "--candidate", o->candidates[i], err);
    }
    for (size_t i = 0; i < o->n_controls && !rc; i++) {
        rc = add_option(&text, "--control", o->controls[i], err);
    }
    rc = rc ? rc : add_option(&text, "--plan", o->plan, err);
    rc = rc ? rc : add_option(&text, "--key", o->plan_key, err);
    rc = rc ? rc : add_word(&text, r->suspect, err);
    *out = rc ? NULL : (char *)ww_buf_take(&text, &len);
    ww_buf_release(&text);
    return rc;
}

static enum ww_err check_text(const char *what, const char *path, struct ww_error *err)
{
    return !path || ww_text_ok((const uint8_t *)path, strlen(path))
               ? WW_OK
               : WW_FAIL(err, WW_E_USAGE,
                         "the path of the %s, '%s', is not UTF-8 or holds control "
                         "characters, and cannot stand in a report; rename the folder or "
                         "make a link to it",
                         what, path);
}

/* Paths are in the report's sentences, its commands and its JSON. */
static enum ww_err check_paths(const struct reporting *r, struct ww_error *err)
{
    const struct ww_decompose_options *o = &r->options->compare;
    enum ww_err rc = check_text("suspect", r->suspect, err);

    rc = rc ? rc : check_text("base (--base)", o->base, err);
    for (size_t i = 0; i < o->n_candidates && !rc; i++) {
        rc = check_text("candidate (--candidate)", o->candidates[i], err);
    }
    for (size_t i = 0; i < o->n_controls && !rc; i++) {
        rc = check_text("control (--control)", o->controls[i], err);
    }
    rc = rc ? rc : check_text("plan (--plan)", o->plan, err);
    return rc ? rc : check_text("plan's key (--key)", o->plan_key, err);
}

enum ww_err ww_lineage_report(const char *suspect,
                              const struct ww_lineage_report_options *options,
                              struct ww_lineage_report *report, struct ww_error *err)
{
    struct reporting r = {.suspect = suspect, .options = options, .report = report};
    enum ww_err rc = WW_OK;

    memset(report, 0, sizeof(*report));
    report->seed = options->compare.seed;
    report->made_unix = (int64_t)time(NULL);
    rc = check_paths(&r, err);
    if (!rc && options->out) {
        rc = ww_path_check_new(options->out, err);
    }
    rc = rc ? rc : digest_plan(&r, err);
    if (!rc && options->out) {
        rc = ww_path_check_outside(suspect, options->out, err);
    }
    /* The plan is checked in there, before anything of the suspect is opened. */
    rc = rc ? rc
            : ww_lineage_decompose(suspect, &options->compare, &report->decompose, err);
    rc = rc ? rc : look_at_models(&r, err);
    rc = rc ? rc : judge_priority(&r, err);
    if (!rc && options->replay) {
        rc = replay(&r, err);
    }
    rc = rc ? rc : write_command(&r, "decompose", &report->command, err);
    if (!rc && options->replay) {
        rc = write_command(&r, "replay", &report->replay_command, err);
    }
    ww_chain_keys_release(&r.keys);
    ww_trusted_root_free(r.root);
    return rc;
}

void ww_lineage_report_release(struct ww_lineage_report *report)
{
    for (size_t i = 0; i < report->n_models; i++) {
        ww_free(report->models[i].name);
        ww_free(report->models[i].why);
    }
    ww_free(report->models);
    ww_free(report->priority);
    ww_free(report->command);
    ww_free(report->replay_command);
    ww_decompose_report_release(&report->decompose);
    ww_replay_report_release(&report->replay);
    memset(report, 0, sizeof(*report));
}
