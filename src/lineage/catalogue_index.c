/* SPDX-License-Identifier: Apache-2.0 */
#include "util/clock.h"
#include "weightward/catalogue.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lineage/catalogue_store.h"
#include "lineage/catalogue_stored.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

/* NAME=FOLDER, unless a folder has that very name. */
static const char *split(const char *given, size_t *name_len)
{
    const char *sign = strchr(given, '=');

    *name_len = 0;
    if (!sign || sign == given || access(given, F_OK) == 0) {
        return given;
    }
    *name_len = (size_t)(sign - given);
    return sign + 1;
}

static enum ww_err check_name(const char *name, struct ww_error *err)
{
    const size_t len = strlen(name);

    if (len == 0 || len > 255 || !ww_text_ok((const uint8_t *)name, len)) {
        return WW_FAIL(err, WW_E_USAGE,
                       "'%s' is no name of a model; 1 to 255 bytes of text", name);
    }
    return WW_OK;
}

static enum ww_err read_and_add(struct ww_db *db, struct ww_model *model,
                                const struct ww_store_model *who,
                                const struct ww_index_options *options,
                                struct ww_index_report *report,
                                struct ww_index_entry *entry, struct ww_error *err)
{
    const struct ww_print_options how = {
        .sample = options->sample, .fine = options->fine, .run = options->run};
    struct ww_print print;
    enum ww_err rc = ww_print_stored(model, &how, &print, &entry->note, err);

    if (rc) {
        return rc;
    }
    rc = ww_store_add(db, who, &print, &entry->known_as, err);
    entry->added = !rc && !entry->known_as;
    report->run.bytes_read += print.bytes_read;
    ww_print_release(&print);
    return rc;
}

static enum ww_err index_one(struct ww_db *db, const char *given,
                             const struct ww_index_options *options,
                             struct ww_index_report *report, struct ww_error *err)
{
    struct ww_index_entry *entry = &report->entries[report->n_entries];
    char place[PATH_MAX];
    size_t name_len = 0;
    const char *path = split(given, &name_len);
    struct ww_model *model = NULL;
    struct ww_store_model who = {.place = place, .root = options->root};
    enum ww_err rc = ww_model_open(path, &model, err);

    if (rc) {
        return rc;
    }
    report->n_entries++;
    entry->name = name_len ? ww_strndup(given, name_len) : ww_strdup(model->name);
    if (!entry->name) {
        rc = WW_FAIL_MEMORY(err, "a catalogue");
        goto out;
    }
    who.name = entry->name;
    rc = check_name(entry->name, err);
    if (!rc && !realpath(path, place)) {
        rc = WW_FAIL(err, WW_E_IO, "cannot resolve '%s'", path);
    }
    if (!rc) {
        rc = ww_store_stamp(model, place, who.stamp, err);
    }
    if (!rc) {
        rc = ww_store_known(db, "stamp", who.stamp, &entry->known_as, err);
    }
    if (!rc && !entry->known_as) {
        rc = read_and_add(db, model, &who, options, report, entry, err);
    }
out:
    ww_model_close(model);
    return rc;
}

enum ww_err ww_catalogue_index(const char *where, const char *const *models, size_t n,
                               const struct ww_index_options *options,
                               struct ww_index_report *report, struct ww_error *err)
{
    const double begun = ww_now();
    struct ww_db *db = NULL;
    bool sampled = options->sample;
    int64_t count = 0;
    enum ww_err rc = ww_store_open(where, WW_DB_WRITE, &sampled, &db, err);

    memset(report, 0, sizeof(*report));
    report->entries = ww_calloc(n, sizeof(*report->entries));
    if (!rc && !report->entries) {
        rc = WW_FAIL_MEMORY(err, "a catalogue");
    }
    for (size_t i = 0; i < n && !rc; i++) {
        rc = index_one(db, models[i], options, report, err);
    }
    if (!rc) {
        rc = ww_store_count(db, "SELECT count(*) FROM ww_models", NULL, 0, &count, err);
    }
    report->n_models = (uint64_t)count;
    report->run.seconds = ww_now() - begun;
    ww_db_close(db);
    return rc;
}

void ww_index_report_release(struct ww_index_report *report)
{
    for (size_t i = 0; i < report->n_entries; i++) {
        ww_free(report->entries[i].name);
        ww_free(report->entries[i].known_as);
        ww_free(report->entries[i].note);
    }
    ww_free(report->entries);
    memset(report, 0, sizeof(*report));
}
