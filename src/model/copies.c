/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same weights often lie twice in one folder: as shards and as consolidated file, as
 * pickle, GGUF or ONNX. A lock that moves one copy and leaves the other in the clear
 * protects nothing, so every known form is named here, by a table of name patterns (first
 * match wins). Where the name does not tell, a safetensors file in a subfolder is opened
 * and compared by the names of its tensors.
 */
#include <string.h>

#include "model/st_file.h"
#include "model/weights.h"
#include "util/fail.h"
#include "util/fs.h"

#define BIN_BYTES (1024 * 1024)

enum kind {
    KIND_NONE,
    KIND_REMARK,
    KIND_ADAPTER,
    KIND_PICKLE,
    KIND_GGUF,
    KIND_OTHER,
    KIND_COUNT
};

struct kind_row {
    enum ww_err code;    /* what a lock refuses the file with */
    enum ww_err alone;   /* what a folder with nothing else is refused with */
    const char *beside;  /* finding, with the path as %s */
    const char *below;   /* the same in a subfolder; NULL: as beside */
    const char *instead; /* error, with the path as %s */
};

static const struct kind_row kinds[KIND_COUNT] = {
    [KIND_REMARK] =
        {WW_OK, WW_OK,
         "pickle file '%s' can run code when it is loaded; remove it if it is "
         "not needed",
         NULL, NULL},
    [KIND_ADAPTER] =
        {WW_E_ADAPTER, WW_E_ADAPTER,
         "adapter '%s' beside the weights fits the unlocked model only; move "
         "it to a folder of its own",
         NULL,
         "adapter '%s' without its base model; give the folder of the base, "
         "or merge the adapter into it first"},
    [KIND_PICKLE] =
        {WW_E_DUPLICATE, WW_E_PICKLE,
         "pickle file '%s' is a second copy of the weights, and one that can "
         "run code when it is loaded; remove it",
         "pickle file '%s' may be a second copy of the weights or, where modules.json "
         "names its folder, a part of the model, and it can run code when it is loaded; "
         "remove it, or convert it to safetensors",
         "weights are a pickle file, '%s', which runs code when it is loaded; "
         "convert them to safetensors: load the model with transformers and "
         "save_pretrained(..., safe_serialization=True), or use the hub's "
         "conversion"},
    [KIND_GGUF] =
        {WW_E_DUPLICATE, WW_E_GGUF,
         "GGUF file '%s' is a second copy of the weights; remove it and convert "
         "again afterwards",
         NULL,
         "weights are a GGUF file, '%s'; use the safetensors model that it was "
         "converted from, and convert again afterwards"},
    [KIND_OTHER] = {WW_E_DUPLICATE, WW_E_UNSUPPORTED,
                    "file '%s' is a second copy of the weights in another format; remove "
                    "it and export again afterwards",
                    "file '%s' may be a second copy of the weights in another format or, "
                    "where modules.json names its folder, a part of the model; remove "
                    "it, or convert it to safetensors",
                    "weights are in a format that is not read, '%s'; use the safetensors "
                    "form of the model"},
};

struct pattern {
    const char *glob;   /* against the last component of the path */
    uint64_t min_bytes; /* smaller files do not match */
    enum kind kind;
};

static const struct pattern patterns[] = {
    {"training_args.bin", 0, KIND_REMARK},
    {"rng_state*.pth", 0, KIND_REMARK},
    {"scheduler.pt", 0, KIND_REMARK},
    {"adapter_model*", 0, KIND_ADAPTER},
    {"adapters.safetensors", 0, KIND_ADAPTER},
    {"openvino_model*.bin", 0, KIND_OTHER},
    {"*pytorch_model*.bin", 0, KIND_PICKLE},
    {"model*.bin", 0, KIND_PICKLE},
    {"*.bin", BIN_BYTES, KIND_PICKLE},
    {"*.pt", 0, KIND_PICKLE},
    {"*.pth", 0, KIND_PICKLE},
    {"*.ckpt", 0, KIND_PICKLE},
    {"*.pkl", 0, KIND_PICKLE},
    {"*.pickle", 0, KIND_PICKLE},
    {"*.gguf", 0, KIND_GGUF},
    {"*.ggml", 0, KIND_GGUF},
    {"*.h5", 0, KIND_OTHER},
    {"*.msgpack", 0, KIND_OTHER},
    {"*.onnx", 0, KIND_OTHER},
    {"*.onnx_data*", 0, KIND_OTHER},
    {"*.onnx.data", 0, KIND_OTHER},
    {"*.tflite", 0, KIND_OTHER},
    {"*.mlmodel", 0, KIND_OTHER},
    {"*.nemo", 0, KIND_OTHER},
    {"*.npz", 0, KIND_OTHER},
    {"*.ot", 0, KIND_OTHER},
};

static enum kind kind_of(const struct ww_entry *entry)
{
    const char *name = ww_path_base(entry->path);
    for (size_t i = 0; i < WW_LEN(patterns); i++) {
        if (entry->size_bytes >= patterns[i].min_bytes &&
            ww_str_glob(patterns[i].glob, name)) {
            return patterns[i].kind;
        }
    }
    return KIND_NONE;
}

bool ww_copies_is_adapter(const struct ww_entry *entry)
{
    return kind_of(entry) == KIND_ADAPTER;
}

/* A safetensors file that is no weight file of the model. */
enum twin { TWIN_NO, TWIN_LAYOUT, TWIN_TENSORS, TWIN_UNREADABLE };

static const char *const twin_texts[] = {
    [TWIN_NO] =
        "safetensors file '%s' in a subfolder is no part of the model's weights: "
        "a lock leaves it as it is, a merge leaves it out unless modules.json names "
        "its folder",
    [TWIN_LAYOUT] =
        "safetensors file '%s' beside the weights is no part of the model and "
        "may be a second copy, which a merge leaves out; move it out of the folder",
    [TWIN_TENSORS] = "safetensors file '%s' holds tensors of the model once more; move "
                     "it out of the folder",
    [TWIN_UNREADABLE] =
        "safetensors file '%s' cannot be read, so it may be a second copy "
        "of the weights; move it out of the folder",
};

/* Same name and same shape: one such tensor is enough. */
static bool shares_tensor(const struct ww_st_header *header, const struct ww_model *model,
                          const struct ww_names *by_name)
{
    for (uint32_t i = 0; i < header->n_tensors; i++) {
        const struct ww_st_tensor *theirs = &header->tensors[i];
        uint32_t found = ww_names_find(by_name, theirs->name);
        if (found == WW_NONE) {
            continue;
        }
        const struct ww_tensor *ours = &model->tensors[found];
        if (ours->rank == theirs->rank &&
            memcmp(ours->shape, theirs->shape, sizeof(ours->shape)) == 0) {
            return true;
        }
    }
    return false;
}

static enum twin twin_of(const struct ww_entry *entry, const struct ww_model *model,
                         const struct ww_names *by_name)
{
    struct ww_st_file file;
    if (ww_entry_is_top(entry) || ww_str_starts(entry->path, "original/") ||
        ww_str_starts(ww_path_base(entry->path), "consolidated")) {
        return TWIN_LAYOUT;
    }
    if (ww_st_file_open(model->dirfd, entry->path, &file, NULL)) {
        return TWIN_UNREADABLE;
    }
    bool shares = shares_tensor(&file.parsed, model, by_name);
    ww_st_file_close(&file);
    return shares ? TWIN_TENSORS : TWIN_NO;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* both tables are above */
static enum ww_err add_kind(struct ww_findings *findings, enum kind kind,
                            const char *path, struct ww_error *err)
{
    const struct kind_row *row = &kinds[kind];
    const bool below = row->below && strchr(path, '/');

    return ww_findings_add(findings, row->code, err, below ? row->below : row->beside,
                           path);
}

static enum ww_err add_twin(struct ww_findings *findings, enum twin twin,
                            const char *path, struct ww_error *err)
{
    return ww_findings_add(findings, twin == TWIN_NO ? WW_OK : WW_E_DUPLICATE, err,
                           twin_texts[twin], path);
}

static enum ww_err fail_alone(enum kind kind, const char *path, struct ww_error *err)
{
    return WW_FAIL(err, kinds[kind].alone, kinds[kind].instead, path);
}
#pragma GCC diagnostic pop

enum ww_err ww_copies_find(const struct ww_folder *folder, const struct ww_model *model,
                           const struct ww_names *by_name, struct ww_findings *findings,
                           struct ww_error *err)
{
    enum ww_err rc = WW_OK;
    for (size_t i = 0; i < folder->n && !rc; i++) {
        const struct ww_entry *entry = &folder->items[i];
        enum kind kind = kind_of(entry);
        if (!entry->is_regular) {
            rc = ww_findings_add(findings, WW_OK, err,
                                 "'%s' is no regular file and is left out", entry->path);
        } else if (entry->is_weights) {
            continue;
        } else if (kind != KIND_NONE) {
            rc = add_kind(findings, kind, entry->path, err);
        } else if (ww_str_ends(entry->path, ".safetensors")) {
            rc = add_twin(findings, twin_of(entry, model, by_name), entry->path, err);
        }
    }
    return rc;
}

enum ww_err ww_weights_missing(const struct ww_folder *folder, struct ww_error *err)
{
    const struct ww_entry *first[KIND_COUNT] = {0};
    const struct ww_entry *below = NULL;
    for (size_t i = 0; i < folder->n; i++) {
        const struct ww_entry *entry = &folder->items[i];
        enum kind kind = kind_of(entry);
        first[kind] = first[kind] ? first[kind] : entry;
        if (ww_str_ends(entry->path, ".safetensors.sealed")) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "the model is sealed ('%s'): only its recipients can read the "
                           "weights, after 'weightward unlock'",
                           entry->path);
        }
        if (kind == KIND_NONE && !below && ww_str_ends(entry->path, ".safetensors")) {
            below = entry;
        }
    }
    for (enum kind kind = KIND_ADAPTER; kind < KIND_COUNT; kind++) {
        if (first[kind]) {
            return fail_alone(kind, first[kind]->path, err);
        }
    }
    if (below) {
        return WW_FAIL(err, WW_E_NOTFOUND,
                       "no .safetensors file at the top of the folder, only '%s' below; "
                       "give that folder",
                       below->path);
    }
    return WW_FAIL(err, WW_E_NOTFOUND,
                   "no weights in the folder; expected model.safetensors, or shards with "
                   "an index");
}
