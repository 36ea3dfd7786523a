/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: u64 LE, the bytes of tensor data behind the header; then the header text. What
 * is accepted must tile that data exactly, and must be JSON for the strict reader too
 * (which only refuses integers beyond 2^53 that a header may hold).
 */
#include "fuzz.h"

#include <string.h>

#include "json/json.h"
#include "model/safetensors.h"
#include "util/num.h"

#define EXACT_LIMIT ((uint64_t)1 << 53)

static const struct ww_json_limits limits = {1U << 20, 8, 1000000, false};

static bool small_numbers(const struct ww_st_header *h)
{
    bool small = h->data_bytes < EXACT_LIMIT;
    for (uint32_t i = 0; i < h->n_tensors; i++) {
        for (unsigned d = 0; d < h->tensors[i].rank; d++) {
            small = small && h->tensors[i].shape[d] < EXACT_LIMIT;
        }
    }
    return small;
}

static void check_tiling(const struct ww_st_header *h, uint64_t data_bytes)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < h->n_tensors; i++) {
        const struct ww_st_tensor *t = &h->tensors[i];
        uint64_t n = 1;
        for (unsigned d = 0; d < t->rank; d++) {
            FUZZ_CHECK(ww_mul_u64(n, t->shape[d], &n));
        }
        FUZZ_CHECK(t->begin == at);
        FUZZ_CHECK(t->n_elements == n);
        FUZZ_CHECK((t->end - t->begin) * 8 == n * ww_dtype_bits(t->dtype));
        FUZZ_CHECK(strlen(t->name) == t->name_len);
        FUZZ_CHECK(t->rank <= WW_MAX_RANK);
        at = t->end;
    }
    FUZZ_CHECK(at == data_bytes && h->data_bytes == data_bytes);
}

/* Every tensor is a member of the strict reader's object, and nothing else is. */
static void check_members(const struct ww_st_header *h, const uint8_t *text, size_t len)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;
    FUZZ_CHECK(ww_json_parse(text, len, &limits, &json, &err) == WW_OK);
    const struct ww_jnode *root = ww_json_root(json);
    size_t others = ww_jget(root, "__metadata__") ? 1 : 0;
    FUZZ_CHECK(ww_jsize(root) == h->n_tensors + others);
    for (uint32_t i = 0; i < h->n_tensors && i < 64; i++) {
        uint64_t begin = 0;
        const struct ww_jnode *t = ww_jget(root, h->tensors[i].name);
        FUZZ_CHECK(ww_ju64(ww_jat(ww_jget(t, "data_offsets"), 0), &begin));
        FUZZ_CHECK(begin == h->tensors[i].begin);
    }
    ww_json_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_st_header header;
    if (size < 8) {
        return 0;
    }
    uint64_t data_bytes = ww_get_u64le(data);
    enum ww_err rc = ww_st_parse(data + 8, size - 8, data_bytes, "f", &header, &err);
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (rc == WW_OK) {
        check_tiling(&header, data_bytes);
        if (small_numbers(&header)) {
            check_members(&header, data + 8, size - 8);
        }
    }
    ww_st_release(&header);
    return 0;
}
