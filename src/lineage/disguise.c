/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/disguise.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/adapter.h"
#include "model/config.h"
#include "model/packed.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

void ww_disguise_leave(struct ww_disguise *disguise)
{
    if (disguise->free) {
        disguise->free(disguise->payload);
    }
    ww_depths_release(&disguise->depths);
    ww_free(disguise->undone);
    *disguise = (struct ww_disguise){.model = disguise->model};
}

void ww_disguise_release(struct ww_disguise *disguise)
{
    ww_disguise_leave(disguise);
    ww_model_close(disguise->model);
    disguise->model = NULL;
}

enum ww_err ww_disguise_unchanged(const struct ww_disguise *disguise,
                                  struct ww_error *err)
{
    enum ww_err rc = ww_model_unchanged(disguise->model, err);

    if (!rc && disguise->unchanged) {
        rc = disguise->unchanged(disguise->payload, err);
    }
    return rc;
}

enum ww_err ww_disguise_values(const struct ww_disguise *disguise, uint32_t tensor,
                               uint64_t first, size_t n, double *values, double *steps,
                               struct ww_error *err)
{
    const struct ww_disguise_pair out = {.first = values, .second = steps};

    return disguise->read(disguise->payload, tensor, first, n, &out, err);
}

enum ww_err ww_disguise_cells(const struct ww_disguise *disguise, uint32_t tensor,
                              uint64_t first, size_t n, double *low, double *high,
                              struct ww_error *err)
{
    const struct ww_disguise_pair out = {.cells = true, .first = low, .second = high};

    return disguise->read(disguise->payload, tensor, first, n, &out, err);
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

struct search {
    char *found;
    unsigned n;
};

static enum ww_err look_at(void *payload, const struct ww_walk_entry *entry, bool *skip,
                           struct ww_error *err)
{
    struct search *s = payload;

    *skip = entry->type == S_IFDIR;
    if (entry->type != S_IFDIR && ww_str_ends(entry->path, ".gguf") && s->n++ == 0) {
        s->found = ww_strdup(entry->path);
        if (!s->found) {
            return WW_FAIL_MEMORY(err, "a name");
        }
    }
    return WW_OK;
}

/* The only GGUF file of a folder, NULL when it has none. */
static enum ww_err find_gguf(const char *folder, char **out, struct ww_error *err)
{
    struct search s = {0};
    int fd = -1;
    enum ww_err rc = ww_dir_open(folder, &fd, err);

    *out = NULL;
    if (!rc) {
        rc = ww_walk(fd, look_at, &s, err);
    }
    if (!rc && s.n > 1) {
        rc = WW_FAIL(err, WW_E_GGUF,
                     "'%s' holds %u GGUF files, name one of them; a model split into "
                     "several is not read",
                     folder, s.n);
    }
    if (!rc && s.n == 1) {
        *out = ww_path_join(folder, s.found);
        rc = *out ? WW_OK : WW_FAIL_MEMORY(err, "a name");
    }
    ww_free(s.found);
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static enum ww_err open_gguf_folder(const char *path, struct ww_error *why,
                                    struct ww_disguise *out, struct ww_strlist *notes,
                                    struct ww_error *err)
{
    char *file = NULL;
    enum ww_err rc = find_gguf(path, &file, err);

    if (!rc && !file) {
        rc = WW_FAIL(err, why->code, "%s", why->text);
    }
    if (!rc) {
        rc = ww_disguise_gguf(file, out, notes, err);
    }
    ww_free(file);
    return rc;
}

enum ww_err ww_disguise_decoded(const char *path, struct ww_disguise *out,
                                struct ww_strlist *notes, struct ww_error *err)
{
    struct ww_model *model = NULL;
    struct ww_error why = {0};
    bool took = false;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (ww_str_ends(path, ".gguf") && !is_folder(path)) {
        rc = ww_disguise_gguf(path, out, notes, err);
    } else {
        rc = ww_model_open(path, &model, &why);
        if (!rc) {
            rc = ww_disguise_quantised(model, out, &took, notes, err);
            out->model = took ? out->model : model;
        } else if (rc == WW_E_GGUF) {
            rc = open_gguf_folder(path, &why, out, notes, err);
        } else {
            rc = WW_FAIL(err, rc, "%s", why.text);
        }
    }
    if (rc) {
        ww_disguise_release(out);
    }
    return rc;
}

/* Packed weights are not decoded: layouts are many, and the methods behind some of them
 * move weights apart from rounding (rows are scaled by their inputs, what rounding left
 * is spread over the columns that follow). Left alone they would be skipped as no floats,
 * and an answer from norms and embeddings would look like one from the model. */
enum ww_err ww_disguise_unpacked(const struct ww_model *model, struct ww_error *err)
{
    const char *method = model->config ? model->config->quant_method : NULL;
    struct ww_packed packed;
    enum ww_err rc = ww_model_packed(model, &packed, err);

    if (rc || packed.tensor == WW_NONE) {
        return rc;
    }
    return WW_FAIL(err, WW_E_QUANTISED,
                   "'%s' holds packed weights ('%.160s': %s%s%.40s), which are not "
                   "decoded; save its weights as floats with the program that packed "
                   "them",
                   model->path, model->tensors[packed.tensor].name, packed.what,
                   method ? ", by config " : "", method ? method : "");
}

enum ww_err ww_disguise_open(const char *path, const struct ww_model *base,
                             const struct ww_run_options *run, struct ww_disguise *out,
                             struct ww_strlist *notes, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    if (ww_adapter_is_folder(path)) {
        memset(out, 0, sizeof(*out));
        rc = ww_disguise_adapter(path, base, out, err);
    } else {
        rc = ww_disguise_decoded(path, out, notes, err);
        rc = rc ? rc : ww_disguise_unpacked(out->model, err);
        if (!rc && out->model->config) {
            out->model->config->quant_method = NULL; /* of the weights as they are read */
        }
        rc = rc ? rc : ww_disguise_renamed(out->model, base, notes, err);
        if (!rc) {
            rc = out->read ? ww_disguise_under(base, run, out, err)
                           : ww_disguise_moved(base, run, out, err);
        }
        if (!rc && out->read && out->depths.n > 0) {
            rc =
                ww_strlist_add(notes,
                               "layers of the suspect lie elsewhere in the base, and are "
                               "compared with those they came from",
                               err);
        }
    }
    if (rc) {
        ww_disguise_release(out);
    }
    return rc;
}
