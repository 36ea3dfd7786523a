/* SPDX-License-Identifier: Apache-2.0 */
/* A folder with a space, and a search in it by the evaluator of the tests. */
#ifndef SEARCH_PLACE_H
#define SEARCH_PLACE_H

#include "ww_test.h"

#include "util/alloc.h"
#include "util/fs.h"
#include "weightward/search.h"

#define VARIABLES                                                                        \
    "recipe: |\n  x: ${x}\nvariables:\n  x: {low: -2, high: 2, start: 0, values: 2}\n"

struct place {
    char *folder, *space, *out, *journal;
};

static struct ww_error err;

static inline struct place make(const char *space)
{
    struct place p = {.folder = ww_test_mkdir()};
    p.space = ww_path_join(p.folder, "space.yml");
    p.out = ww_path_join(p.folder, "out.json");
    p.journal = ww_path_join(p.folder, "journal");
    OK(ww_file_write(p.space, space, strlen(space), 0600, true, &err));
    return p;
}

static inline void done(struct place *p)
{
    ww_free(p->space);
    ww_free(p->out);
    ww_free(p->journal);
    ww_test_rmdir(p->folder);
}

static inline enum ww_err search(const struct place *p, const char *mode,
                                 uint32_t evaluations, uint32_t parallel,
                                 ww_progress_fn progress, void *payload,
                                 struct ww_search_report *report, struct ww_error *e)
{
    const char *argv[] = {WW_FAKE_EVALUATOR, mode, NULL};
    const struct ww_search_options o = {
        .evaluator = argv,
        .journal = p->journal,
        .evaluations = evaluations,
        .parallel = parallel,
        .seed = 11,
        .run = {.progress = progress, .progress_payload = payload}};
    return ww_search_run(p->space, p->out, &o, report, e);
}

static inline struct ww_buf contents(const char *path)
{
    struct ww_buf b;
    ww_buf_init(&b, 1 << 24);
    OK(ww_file_read(path, &b, &err));
    return b;
}

#endif
