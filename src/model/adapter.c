/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in an adapter file are module paths below "base_model.model." with the part at
 * the end. What is left over when known endings are taken off must be nothing: a tensor
 * that is not understood may not be dropped, since the adapter would then answer
 * differently without a word.
 */
#include "model/adapter.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "model/adapter_blocks.h"
#include "model/adapter_names.h"
#include "model/config.h"
#include "model/convert.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/str.h"

#define MAX_READ_BYTES (UINT64_C(1) << 30)
#define WRAPPED ".base_layer."

struct ending {
    const char *text;
    enum ww_adapter_part part;
};

/* The name of the adapter may stand between part and "weight" in files of old. */
static const struct ending endings[] = {
    {".lora_A.weight", WW_PART_A},
    {".lora_A.default.weight", WW_PART_A},
    {".lora_B.weight", WW_PART_B},
    {".lora_B.default.weight", WW_PART_B},
    {".lora_B.bias", WW_PART_B_BIAS},
    {".lora_B.default.bias", WW_PART_B_BIAS},
    {".lora_embedding_A", WW_PART_EMBEDDING_A},
    {".lora_embedding_A.default", WW_PART_EMBEDDING_A},
    {".lora_embedding_B", WW_PART_EMBEDDING_B},
    {".lora_embedding_B.default", WW_PART_EMBEDDING_B},
    {".lora_magnitude_vector", WW_PART_MAGNITUDE},
    {".lora_magnitude_vector.weight", WW_PART_MAGNITUDE},
    {".lora_magnitude_vector.default.weight", WW_PART_MAGNITUDE},
};

/* Settings under which the tensors mean something else. */
static const char *const not_understood[] = {
    "layer_replication",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "megatron_config",
    "use_qalora",      /* A acts on pooled inputs */
    "arrow_config",    /* a router chooses among adapters */
    WW_ADAPTER_BLOCKS, /* A or B in blocks along a diagonal, last */
};

/* Ways to begin that take a part of the base's weights away, on loading too: the model is
 * not its base and a product. */
static const char *const takes_from_base[] = {"pissa", "olora", "corda", "loftq",
                                              "lora_ga"};

static bool is_set(const struct ww_jnode *node)
{
    bool yes = true;

    if (!node || ww_jtype(node) == WW_J_NULL) {
        return false;
    }
    if (ww_jtype(node) == WW_J_ARRAY || ww_jtype(node) == WW_J_OBJECT) {
        return ww_jsize(node) > 0;
    }
    return !ww_jbool(node, &yes) || yes;
}

static bool flag(const struct ww_jnode *root, const char *key)
{
    bool yes = false;
    return ww_jbool(ww_jget(root, key), &yes) && yes;
}

static enum ww_err read_facts(struct ww_adapter *adapter, bool plain,
                              struct ww_error *err)
{
    const struct ww_jnode *root = ww_json_root(adapter->config);
    const char *type = NULL;

    if (!ww_jstr(ww_jget(root, "peft_type"), &type)) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "'" WW_ADAPTER_CONFIG
                       "' of '%s' has no peft_type, expected \"LORA\"",
                       adapter->path);
    }
    if (strcmp(type, "LORA") != 0) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "adapter '%s' is of type '%.40s', expected LORA; PEFT's "
                       "save_as_lora makes one of the types that it can convert",
                       adapter->path, type);
    }
    for (size_t i = 0; i < WW_LEN(not_understood) - plain; i++) {
        if (is_set(ww_jget(root, not_understood[i]))) {
            return WW_FAIL(err, WW_E_UNSUPPORTED,
                           "adapter '%s' uses '%s', which is not supported",
                           adapter->path, not_understood[i]);
        }
    }
    for (size_t i = 0; ww_jstr(ww_jget(root, "init_lora_weights"), &type) &&
                       i < WW_LEN(takes_from_base);
         i++) {
        if (ww_str_starts(type, takes_from_base[i])) {
            return WW_FAIL(
                err, WW_E_UNSUPPORTED,
                "adapter '%s' was begun by '%.40s', which changes its base, and "
                "is no sum with the base; save it converted to a plain LoRA",
                adapter->path, type);
        }
    }
    if (!ww_ju64(ww_jget(root, "r"), &adapter->rank) || adapter->rank == 0 ||
        !ww_jdouble(ww_jget(root, "lora_alpha"), &adapter->alpha)) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "'" WW_ADAPTER_CONFIG "' of '%s' has no usable r and lora_alpha",
                       adapter->path);
    }
    if (is_set(ww_jget(root, "target_parameters"))) {
        adapter->parameters = ww_jget(root, "target_parameters");
    }
    adapter->dora = flag(root, "use_dora");
    adapter->rslora = flag(root, "use_rslora");
    adapter->fan_in_fan_out = flag(root, "fan_in_fan_out");
    if (!ww_jstr(ww_jget(root, "base_model_name_or_path"), &adapter->base)) {
        adapter->base = NULL;
    }
    return WW_OK;
}

static enum ww_err parse_config(struct ww_adapter *adapter, const uint8_t *text,
                                size_t len, bool plain, struct ww_error *err)
{
    enum ww_err rc =
        ww_json_parse(text, len, &ww_json_limits_config, &adapter->config, err);

    return rc ? rc : read_facts(adapter, plain, err);
}

static enum ww_err read_config(struct ww_adapter *adapter, bool plain,
                               struct ww_error *err)
{
    struct ww_error local = {0};
    struct ww_buf text;
    enum ww_err rc = WW_OK;

    ww_buf_init(&text, ww_json_limits_config.max_bytes);
    rc = ww_file_read_at(adapter->dirfd, WW_ADAPTER_CONFIG, WW_LINKS_HUB, &text, &local);
    if (rc == WW_E_NOTFOUND) {
        rc = WW_FAIL(err, rc,
                     "folder '%s' is no LoRA adapter: it has no '" WW_ADAPTER_CONFIG "'",
                     adapter->path);
    } else if (rc) {
        rc = WW_FAIL(err, rc, "%s", local.text);
    } else {
        rc = parse_config(adapter, text.data, text.len, plain, err);
    }
    ww_buf_release(&text);
    return rc;
}

static enum ww_err read_entry(struct ww_adapter *adapter, uint32_t i,
                              struct ww_error *err)
{
    const struct ww_tensor *tensor = &adapter->tensors[i];
    struct ww_adapter_entry *entry = &adapter->entries[i];
    const char *name = tensor->name;
    size_t len = 0;

    if (!ww_str_starts(name, WW_ADAPTER_PREFIX)) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "tensor '%.160s' of '%s': expected a name that begins "
                       "with " WW_ADAPTER_PREFIX,
                       name, adapter->path);
    }
    name += strlen(WW_ADAPTER_PREFIX);
    len = strlen(name);
    *entry = (struct ww_adapter_entry){.tensor = tensor, .part = WW_PART_FULL};
    for (size_t e = 0; e < WW_LEN(endings); e++) {
        if (ww_str_ends(name, endings[e].text)) {
            entry->part = endings[e].part;
            len -= strlen(endings[e].text);
            break;
        }
    }
    if (entry->part == WW_PART_FULL && strstr(name, "lora_")) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tensor '%.160s' of '%s' is a part of LoRA that is not supported",
                       tensor->name, adapter->path);
    }
    /* A weight that is saved beside its own LoRA is called after the wrapped layer. */
    const char *wrapped = entry->part == WW_PART_FULL ? strstr(name, WRAPPED) : NULL;
    adapter->modules[i] = wrapped ? ww_asprintf("%.*s%s", (int)(wrapped - name), name,
                                                wrapped + strlen(WRAPPED) - 1)
                                  : ww_strndup(name, len);
    entry->module = adapter->modules[i];
    if (!entry->module) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    return WW_OK;
}

static enum ww_err read_tensors(struct ww_adapter *adapter, struct ww_error *err)
{
    const struct ww_st_header *parsed = &adapter->file.parsed;
    const uint32_t n = parsed->n_tensors;
    enum ww_err rc = WW_OK;

    adapter->tensors = ww_calloc(n, sizeof(*adapter->tensors));
    adapter->entries = ww_calloc(n, sizeof(*adapter->entries));
    adapter->modules = ww_calloc(n, sizeof(*adapter->modules));
    if (!adapter->tensors || !adapter->entries || !adapter->modules) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    adapter->n_tensors = n;
    if (n == 0) {
        return WW_FAIL(err, WW_E_ADAPTER_FILE,
                       "adapter '%s' has no tensors; was it saved with its weights?",
                       adapter->path);
    }
    for (uint32_t i = 0; i < n && !rc; i++) {
        ww_st_tensor_fill(&adapter->tensors[i], &parsed->tensors[i],
                          adapter->file.header_bytes, 0);
        rc = read_entry(adapter, i, err);
    }
    return rc;
}

static enum ww_err new_adapter(const char *path, struct ww_adapter **out,
                               struct ww_error *err)
{
    struct ww_adapter *adapter = ww_calloc(1, sizeof(*adapter));

    *out = adapter;
    if (adapter) {
        adapter->dirfd = -1;
        adapter->file.fd = -1;
        adapter->path = ww_strdup(path);
    }
    if (!adapter || !adapter->path) {
        return WW_FAIL_MEMORY(err, "an adapter");
    }
    return WW_OK;
}

static enum ww_err finish(struct ww_adapter *adapter, enum ww_err rc,
                          struct ww_adapter **out)
{
    *out = rc ? NULL : adapter;
    if (rc) {
        ww_adapter_close(adapter);
    }
    return rc;
}

static enum ww_err open_folder(const char *path, bool plain, struct ww_adapter **out,
                               struct ww_error *err)
{
    struct ww_adapter *adapter = NULL;
    enum ww_err rc = new_adapter(path, &adapter, err);

    if (!rc) {
        rc = ww_dir_open(path, &adapter->dirfd, err);
    }
    if (!rc) {
        rc = ww_folder_scan(adapter->dirfd, &adapter->folder, err);
    }
    if (!rc) {
        rc = read_config(adapter, plain, err);
    }
    if (!rc) {
        rc = ww_st_file_open(adapter->dirfd, WW_ADAPTER_WEIGHTS, &adapter->file, err);
    }
    if (!rc) {
        rc = read_tensors(adapter, err);
    }
    if (!rc && plain) {
        rc = ww_adapter_spread(adapter, err);
    }
    return finish(adapter, rc, out);
}

enum ww_err ww_adapter_open(const char *path, struct ww_adapter **out,
                            struct ww_error *err)
{
    return open_folder(path, false, out, err);
}

enum ww_err ww_adapter_open_plain(const char *path, struct ww_adapter **out,
                                  struct ww_error *err)
{
    return open_folder(path, true, out, err);
}

enum ww_err ww_adapter_of(const char *name, const struct ww_buf *config,
                          const struct ww_buf *header, uint64_t data_bytes,
                          struct ww_adapter **out, struct ww_error *err)
{
    struct ww_adapter *adapter = NULL;
    enum ww_err rc = new_adapter(name, &adapter, err);

    if (!rc) {
        rc = parse_config(adapter, config->data, config->len, false, err);
    }
    if (!rc && header->len < 8) {
        rc = WW_FAIL(err, WW_E_SAFETENSORS,
                     "'" WW_ADAPTER_WEIGHTS "' has no header: it ends after %zu bytes",
                     header->len);
    }
    if (!rc) {
        rc = ww_st_parse(header->data + 8, header->len - 8, data_bytes,
                         WW_ADAPTER_WEIGHTS, &adapter->file.parsed, err);
    }
    if (!rc) {
        adapter->file.header_bytes = header->len;
        rc = read_tensors(adapter, err);
    }
    return finish(adapter, rc, out);
}

void ww_adapter_close(struct ww_adapter *adapter)
{
    if (!adapter) {
        return;
    }
    for (uint32_t i = 0; adapter->modules && i < adapter->n_tensors; i++) {
        ww_free(adapter->modules[i]);
    }
    ww_free(adapter->modules);
    ww_free(adapter->times);
    ww_free(adapter->entries);
    ww_free(adapter->tensors);
    ww_st_file_close(&adapter->file);
    ww_json_free(adapter->config);
    ww_folder_release(&adapter->folder);
    if (adapter->dirfd >= 0) {
        close(adapter->dirfd);
    }
    ww_free(adapter->path);
    ww_free(adapter);
}

bool ww_adapter_is_folder(const char *path)
{
    const int folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const bool is = folder >= 0 && faccessat(folder, WW_ADAPTER_CONFIG, F_OK, 0) == 0 &&
                    faccessat(folder, "config.json", F_OK, 0) != 0;

    if (folder >= 0) {
        close(folder);
    }
    return is;
}

static bool ends_at_dot(const char *s, const char *end)
{
    const size_t n = strlen(s);
    const size_t m = strlen(end);

    return n > m && s[n - m - 1] == '.' && strcmp(s + n - m, end) == 0;
}

bool ww_adapter_ends(const char *s, const char *end)
{
    return strcmp(s, end) == 0 || ends_at_dot(s, end);
}

enum ww_err ww_adapter_read(const struct ww_adapter *adapter, const struct ww_tensor *t,
                            double **out, struct ww_error *err)
{
    uint8_t *bytes = NULL;
    enum ww_err rc = WW_OK;

    *out = NULL;
    if (!ww_dtype_is_plain_float(t->dtype)) {
        return WW_FAIL(err, WW_E_QUANTISED,
                       "tensor '%.160s' of adapter '%s' is stored as %s, expected BF16, "
                       "F16, F32 or F64",
                       t->name, adapter->path, ww_dtype_name(t->dtype));
    }
    if (t->n_elements > MAX_READ_BYTES / sizeof(double)) {
        return WW_FAIL(err, WW_E_LIMIT,
                       "tensor '%.160s' of adapter '%s' has %llu elements", t->name,
                       adapter->path, (unsigned long long)t->n_elements);
    }
    bytes = ww_calloc(1, t->n_bytes + 1);
    *out = ww_calloc(t->n_elements + 1, sizeof(**out));
    if (!bytes || !*out) {
        rc = WW_FAIL_MEMORY(err, "an adapter");
        goto out;
    }
    rc = ww_adapter_bytes(adapter, t, 0, t->n_elements, bytes, err);
    if (!rc && ww_count_nonfinite(t->dtype, bytes, t->n_elements) > 0) {
        rc = WW_FAIL(err, WW_E_NONFINITE,
                     "tensor '%.160s' of adapter '%s' holds NaN or infinity; repair the "
                     "weights first",
                     t->name, adapter->path);
    }
    if (!rc) {
        ww_to_double(t->dtype, bytes, *out, t->n_elements);
    }
out:
    ww_free(bytes);
    if (rc) {
        ww_free(*out);
        *out = NULL;
    }
    return rc;
}

uint32_t ww_adapter_find(const struct ww_model *base, const char *name, bool *twice)
{
    uint32_t found = ww_model_find(base, name);

    *twice = false;
    for (uint32_t t = 0; found == WW_NONE && t < base->n_tensors; t++) {
        if (ends_at_dot(name, base->tensors[t].name) ||
            ends_at_dot(base->tensors[t].name, name)) {
            found = t;
            for (uint32_t u = t + 1; u < base->n_tensors && !*twice; u++) {
                *twice = ends_at_dot(name, base->tensors[u].name) ||
                         ends_at_dot(base->tensors[u].name, name);
            }
        }
    }
    return found;
}

/* A head behind a transform has its bias twice, as X.bias and X.decoder.bias, and files
 * keep the first. NULL: no such name, or no memory. */
static char *twin_of_bias(const char *name)
{
    static const char bias[] = ".decoder.bias";

    return ww_str_ends(name, bias)
               ? ww_asprintf("%.*s.bias", (int)(strlen(name) - (sizeof(bias) - 1)), name)
               : NULL;
}

enum ww_err ww_adapter_target(const struct ww_adapter_entry *entry,
                              const struct ww_model *base, uint32_t *tensor,
                              struct ww_error *err)
{
    const bool full = entry->part == WW_PART_FULL;
    char *name = ww_asprintf("%s%s", entry->module, full ? "" : ".weight");
    char *stored = NULL;
    bool twice = false;
    enum ww_err rc = WW_OK;

    if (!name) {
        return WW_FAIL_MEMORY(err, "a name");
    }
    *tensor = ww_adapter_find(base, name, &twice);
    if (*tensor == WW_NONE) {
        const char *type = base->config ? base->config->root_model_type : NULL;
        rc = ww_adapter_stored_name(type, name, &stored, err);
        stored = rc || stored ? stored : twin_of_bias(name);
        if (stored) {
            *tensor = ww_adapter_find(base, stored, &twice);
        }
    }
    if (!rc && (*tensor == WW_NONE || twice)) {
        rc =
            WW_FAIL(err, WW_E_TENSOR,
                    "tensor '%.160s' of the adapter belongs to '%.160s', which the model "
                    "'%s' %s; is it the adapter's base?",
                    entry->tensor->name, name, base->path,
                    twice ? "has more than once" : "does not have");
    }
    ww_free(stored);
    ww_free(name);
    return rc;
}
