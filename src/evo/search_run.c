/* SPDX-License-Identifier: Apache-2.0 */
/* A search from its files to its result. */
#include "weightward/search.h"

#include <string.h>

#include "crypto/hash.h"
#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/work_folder.h"

#define EVALUATIONS 400
#define MAX_EVALUATIONS 100000
#define MAX_RESULT ((size_t)64 << 20)

void ww_search_report_release(struct ww_search_report *report)
{
    if (report) {
        ww_free(report->chosen);
        ww_free(report->recipe);
        ww_free(report->curve);
        for (uint32_t i = 0; report->numbers && i < report->n_numbers; i++) {
            ww_free(report->numbers[i].name);
        }
        ww_free(report->numbers);
        for (uint32_t i = 0; report->objectives && i < report->n_objectives; i++) {
            ww_free(report->objectives[i]);
        }
        ww_free(report->objectives);
        ww_free(report->points);
        *report = (struct ww_search_report){0};
    }
}

/* Everything that trials and their order depend on. */
static enum ww_err run_digest(const struct ww_search *s, uint8_t out[WW_SHA256_BYTES],
                              struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);
    if (rc) {
        return rc;
    }
    ww_sha256_update(h, WW_SEARCH_SCHEMA, sizeof(WW_SEARCH_SCHEMA));
    ww_sha256_update(h, s->space.digest, sizeof(s->space.digest));
    ww_sha256_u64le(h, s->budget);
    ww_sha256_u64le(h, s->options->seed);
    for (const char *const *arg = s->options->evaluator; *arg; arg++) {
        ww_sha256_update(h, *arg, strlen(*arg) + 1);
    }
    ww_sha256_final(h, out);
    ww_sha256_free(h);
    return WW_OK;
}

static enum ww_err check_options(const struct ww_search *s, struct ww_error *err)
{
    if (!s->options->evaluator || !s->options->evaluator[0] || !s->options->journal) {
        return WW_FAIL(err, WW_E_USAGE, "a search needs an evaluator and a journal");
    }
    if (s->budget > MAX_EVALUATIONS) {
        return WW_FAIL(err, WW_E_LIMIT, "%u evaluations; at most %d can be asked for",
                       s->budget, MAX_EVALUATIONS);
    }
    return WW_OK;
}

static enum ww_err make_work(struct ww_search *s, struct ww_error *err)
{
    char *path = ww_asprintf("%s.work", s->options->journal);
    enum ww_err rc =
        path ? ww_work_folder_make(path, 0700, true, err) : WW_FAIL_MEMORY(err, "a path");

    if (rc == WW_E_EXISTS) {
        ww_error_context(err, "candidates of journal '%s'", s->options->journal);
    }
    if (rc) {
        ww_free(path);
        return rc;
    }
    s->work = path;
    return WW_OK;
}

/* What the result begins with, before what a method says. */
static void open_json(const struct ww_search *s, struct ww_jw *w)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "schema", WW_SEARCH_SCHEMA);
    ww_jw_khex(w, "space_sha256", s->space.digest, sizeof(s->space.digest));
    ww_jw_key(w, "evaluator");
    ww_jw_array(w);
    for (const char *const *arg = s->options->evaluator; *arg; arg++) {
        ww_jw_str(w, *arg);
    }
    ww_jw_close(w);
    ww_jw_ku64(w, "evaluations", s->budget);
    ww_jw_ku64(w, "seed", s->options->seed);
}

void ww_search_numbers_json(const struct ww_search *s, const char *key, const double *x,
                            struct ww_jw *w)
{
    ww_jw_key(w, key);
    ww_jw_object(w);
    for (uint32_t i = 0; i < s->space.n_variables; i++) {
        const struct ww_space_variable *v = &s->space.variable[i];
        ww_jw_key(w, v->name);
        if (v->values > 1) {
            ww_jw_array(w);
        }
        for (uint32_t j = 0; j < v->values; j++) {
            ww_jw_double(w, x[v->first + j]);
        }
        if (v->values > 1) {
            ww_jw_close(w);
        }
    }
    ww_jw_close(w);
}

enum ww_err ww_search_point_json(const struct ww_search *s, const double *x,
                                 struct ww_jw *w, struct ww_error *err)
{
    struct ww_buf text;
    ww_search_numbers_json(s, "variables", x, w);
    ww_buf_init(&text, MAX_RESULT);
    enum ww_err rc = ww_space_render(&s->space, x, &text, err);
    ww_jw_kstr(w, "recipe", ww_buf_cstr(&text));
    ww_buf_release(&text);
    return rc;
}

typedef enum ww_err (*method_fn)(struct ww_search *s, struct ww_jw *w,
                                 struct ww_search_report *report, struct ww_error *err);

static method_fn method_of(const struct ww_space *space)
{
    switch (space->method) {
    case WW_METHOD_CROSSOVER:
        return ww_search_cross;
    case WW_METHOD_SURROGATE:
        return ww_search_map;
    case WW_METHOD_USUAL:
        break;
    }
    return space->n_objectives > 0 ? ww_search_front : ww_search_single;
}

static enum ww_err run(struct ww_search *s, const char *out_path,
                       struct ww_search_report *report, struct ww_error *err)
{
    struct ww_buf text;
    struct ww_jw w;
    ww_buf_init(&text, MAX_RESULT);
    ww_jw_init(&w, &text, 2);
    open_json(s, &w);
    enum ww_err rc = method_of(&s->space)(s, &w, report, err);
    if (!rc) {
        report->trials = s->next;
        report->made = s->made;
        report->failed = ww_search_failed(s);
        ww_jw_ku64(&w, "trials", report->trials);
        ww_jw_ku64(&w, "failed", report->failed);
        ww_jw_close(&w);
        rc = ww_jw_end(&w, err);
    }
    if (!rc) {
        rc = ww_buf_add_str(&text, "\n", err);
    }
    if (!rc) {
        rc = ww_file_write(out_path, text.data, text.len, 0644, false, err);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err open_search(struct ww_search *s, const char *space_path,
                               struct ww_error *err)
{
    uint8_t digest[WW_SHA256_BYTES];
    enum ww_err rc = ww_space_read(space_path, &s->space, err);
    if (!rc) {
        s->evaluator = (struct ww_evaluator){
            .argv = s->options->evaluator,
            .objectives = (const char *const *)s->space.objectives,
            .n_objectives = s->space.n_objectives,
            .parallel = s->options->parallel ? s->options->parallel : 1,
            .retries = s->space.retries,
            .seconds = s->space.seconds,
            .progress = s->options->run.progress,
            .progress_payload = s->options->run.progress_payload};
        rc = run_digest(s, digest, err);
    }
    if (!rc) {
        rc = ww_journal_open(s->options->journal, digest, &s->journal, err);
    }
    return rc ? rc : make_work(s, err);
}

enum ww_err ww_search_run(const char *space_path, const char *out_path,
                          const struct ww_search_options *options,
                          struct ww_search_report *report, struct ww_error *err)
{
    struct ww_search s = {.options = options,
                          .budget =
                              options->evaluations ? options->evaluations : EVALUATIONS};
    *report = (struct ww_search_report){0};
    enum ww_err rc = check_options(&s, err);
    if (!rc) {
        rc = ww_path_check_new(out_path, err);
    }
    if (!rc) {
        rc = open_search(&s, space_path, err);
    }
    if (!rc) {
        rc = run(&s, out_path, report, err);
    }
    if (s.work) {
        enum ww_err cleared = ww_remove_tree(s.work, rc ? NULL : err);
        rc = rc ? rc : cleared;
    }
    ww_journal_close(s.journal);
    ww_space_release(&s.space);
    ww_free(s.work);
    if (rc) {
        ww_search_report_release(report);
    }
    return rc;
}
