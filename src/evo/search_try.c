/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trials of a search. Numbers are given in the order in which the search asks, so that
 * the journal of an interrupted run answers the same questions when the run is repeated;
 * a digest of what was asked guards against answers to other ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "evo/search_int.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/guard.h"
#include "weightward/merge.h"

static const char *const part_names[WW_PARTS] = {"search", "again", "final"};

/* One batch: points that the journal does not know. */
struct batch {
    struct ww_search *s;
    struct ww_trial *trials;          /* [n] */
    uint32_t *number;                 /* [n] */
    uint8_t (*what)[WW_SHA256_BYTES]; /* [n] */
    struct ww_buf *text;              /* [n] recipes */
    size_t n;
};

/* SplitMix64's finish (Steele, Lea and Flood 2014); 32 bits, which any generator takes.
 */
uint64_t ww_search_items(const struct ww_search *s, enum ww_search_part part,
                         uint32_t round)
{
    uint64_t z = s->options->seed +
                 0x9e3779b97f4a7c15ULL *
                     ((uint64_t)(s->space.same_items ? 0 : round) * WW_PARTS + part + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) >> 32;
}

static double mean(const struct ww_journal_entry *entry)
{
    double sum = 0;
    for (uint32_t i = 0; i < entry->n; i++) {
        sum += entry->scores[i];
    }
    return entry->n ? sum / entry->n : (double)NAN;
}

double ww_search_value(const struct ww_search *s, uint32_t trial)
{
    double value = mean(ww_journal_find(s->journal, trial));
    return s->space.minimise ? -value : value;
}

double ww_search_objective(const struct ww_search *s, uint32_t trial, uint32_t objective)
{
    const struct ww_journal_entry *entry = ww_journal_find(s->journal, trial);
    if (entry->n == 0) {
        return (double)NAN;
    }
    double value = entry->scores[objective];
    return s->space.objective_minimise[objective] ? -value : value;
}

uint32_t ww_search_failed(const struct ww_search *s)
{
    uint32_t failed = 0;
    for (uint32_t i = 0; i < s->next; i++) {
        failed += ww_journal_find(s->journal, i)->n == 0;
    }
    return failed;
}

/* Hundreds of merges are not asked about one by one: what wants to be asked about is not
 * searched over. */
static enum ww_err check_nobody_asks(const char *recipe,
                                     const struct ww_merge_options *options,
                                     struct ww_error *err)
{
    const struct ww_guard_options no_root = {0};
    struct ww_verdict *verdict = NULL;
    struct ww_merge_ask models = {0};
    enum ww_err rc = ww_merge_ask(recipe, options, false, &models, err);

    if (!rc) {
        const struct ww_policy_ask ask = {
            .action = "merge", .sources = models.sources, .n_sources = models.n_sources};
        rc = ww_policy_guard(&ask, &no_root, &verdict, err);
    }
    ww_verdict_free(verdict);
    ww_merge_ask_release(&models);
    return rc;
}

static enum ww_err write_model(const struct batch *b, struct ww_trial *trial,
                               const char *folder, struct ww_error *err)
{
    struct ww_merge_options options = {.run = b->s->options->run,
                                       .no_source_trees = true};
    struct ww_merge_report report = {0};
    struct ww_error why = {0};
    options.run.progress = NULL;
    enum ww_err rc = check_nobody_asks(trial->path, &options, &why);
    rc = rc ? rc : ww_merge_folder(trial->path, folder, &options, &report, &why);
    ww_merge_report_release(&report);
    enum ww_err_class class = ww_err_class_of(rc);
    if (class == WW_CLASS_MALFORMED || class == WW_CLASS_UNSUPPORTED) {
        snprintf(trial->why, sizeof(trial->why), "%s", why.text); /* this candidate's */
        return WW_OK;
    }
    return rc ? WW_FAIL(err, rc, "%s", why.text) : WW_OK;
}

/* Not flushed to the disk: it is gone before anything relies on it. */
static enum ww_err write_recipe(const char *path, const struct ww_buf *text,
                                struct ww_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot make file '%s'", path);
    }
    enum ww_err rc = ww_pwrite_full(fd, text->data, text->len, 0, path, err);
    close(fd);
    return rc;
}

static enum ww_err before(void *payload, size_t i, struct ww_error *err)
{
    struct batch *b = payload;
    struct ww_trial *trial = &b->trials[i];
    char *folder = NULL;
    trial->path = ww_asprintf("%s/%06u.yml", b->s->work, b->number[i]);
    if (!trial->path) {
        return WW_FAIL_MEMORY(err, "a trial");
    }
    enum ww_err rc = write_recipe(trial->path, &b->text[i], err);
    if (rc || !b->s->space.deliver_model) {
        return rc;
    }
    folder = ww_asprintf("%s/%06u", b->s->work, b->number[i]);
    rc = folder ? write_model(b, trial, folder, err) : WW_FAIL_MEMORY(err, "a trial");
    if (!rc && folder) {
        ww_free(trial->path);
        trial->path = folder;
        folder = NULL;
    }
    ww_free(folder);
    return rc;
}

/* Candidates are not kept: a journal and a recipe make them again. */
static enum ww_err remove_files(const struct batch *b, size_t i, struct ww_error *err)
{
    int dir = -1;
    enum ww_err rc = ww_dir_open(b->s->work, &dir, err);
    for (size_t f = 0; !rc && f < 2; f++) {
        char name[32];
        snprintf(name, sizeof(name), f == 0 ? "%06u.yml" : "%06u", b->number[i]);
        rc = ww_remove_tree_at(dir, name, err);
    }
    if (dir >= 0) {
        close(dir);
    }
    return rc;
}

static enum ww_err after(void *payload, size_t i, struct ww_error *err)
{
    struct batch *b = payload;
    const struct ww_trial *trial = &b->trials[i];
    struct ww_journal_entry entry = {
        .attempts = trial->attempts, .n = trial->n, .scores = trial->scores, .why = NULL};
    memcpy(entry.what, b->what[i], sizeof(entry.what));
    if (trial->n == 0) {
        entry.why = (char *)(uintptr_t)trial->why;
    }
    enum ww_err rc = ww_journal_add(b->s->journal, b->number[i], &entry, err);
    b->s->made++;
    return rc ? rc : remove_files(b, i, err);
}

static enum ww_err digest_of(const struct ww_buf *text, const char *part, uint64_t items,
                             uint8_t out[WW_SHA256_BYTES], struct ww_error *err)
{
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);
    if (!rc) {
        ww_sha256_update(h, text->data, text->len);
        ww_sha256_update(h, "", 1);
        ww_sha256_update(h, part, strlen(part) + 1);
        ww_sha256_u64le(h, items);
        ww_sha256_final(h, out);
    }
    ww_sha256_free(h);
    return rc;
}

/* Add a point to the batch unless the journal knows it. */
static enum ww_err add_point(struct batch *b, const double *x, enum ww_search_part part,
                             uint64_t items, struct ww_error *err)
{
    const uint32_t number = b->s->next++;
    const size_t i = b->n;
    const struct ww_journal_entry *known = ww_journal_find(b->s->journal, number);
    ww_buf_init(&b->text[i], (size_t)4 << 20);
    enum ww_err rc = ww_space_render(&b->s->space, x, &b->text[i], err);
    if (!rc) {
        rc = digest_of(&b->text[i], part_names[part], items, b->what[i], err);
    }
    if (!rc && known && memcmp(known->what, b->what[i], WW_SHA256_BYTES) != 0) {
        rc = WW_FAIL(err, WW_E_DIFFERS,
                     "trial %u is another one in the journal; it was written by another "
                     "version, begin a new one",
                     number);
    }
    if (rc || known) {
        ww_buf_release(&b->text[i]);
        return rc;
    }
    b->trials[i] = (struct ww_trial){.part = part_names[part], .seed = items};
    b->number[i] = number;
    b->n++;
    return WW_OK;
}

static void batch_release(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        ww_trial_release(&b->trials[i]);
        ww_buf_release(&b->text[i]);
    }
    ww_free(b->trials);
    ww_free(b->number);
    ww_free(b->what);
    ww_free(b->text);
}

enum ww_err ww_search_try(struct ww_search *s, const double *x, size_t n,
                          enum ww_search_part part, uint64_t items, uint32_t *first,
                          struct ww_error *err)
{
    struct batch b = {.s = s,
                      .trials = ww_calloc(n, sizeof(*b.trials)),
                      .number = ww_calloc(n, sizeof(*b.number)),
                      .what = ww_calloc(n, sizeof(*b.what)),
                      .text = ww_calloc(n, sizeof(*b.text))};
    enum ww_err rc = WW_OK;
    *first = s->next;
    if (!b.trials || !b.number || !b.what || !b.text) {
        rc = WW_FAIL_MEMORY(err, "trials");
    }
    for (size_t i = 0; !rc && i < n; i++) {
        rc = add_point(&b, x + i * s->space.d, part, items, err);
    }
    if (!rc && b.n > 0) {
        s->evaluator.before = before;
        s->evaluator.after = after;
        s->evaluator.payload = &b;
        s->evaluator.done = *first + n - b.n;
        s->evaluator.total = s->budget;
        rc = ww_evaluate(&s->evaluator, b.trials, b.n, err);
    }
    batch_release(&b);
    return rc;
}
