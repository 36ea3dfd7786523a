/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Residuals of a dense lock: the frame of the file, and sections as they are after
 * decryption. The first byte chooses: 0 the frame, else the type of the numbers.
 */
#include "fuzz.h"

#include <string.h>

#include "lock/residual.h"
#include "lock/residual_file.h"
#include "util/alloc.h"

#define LINES 3
#define LINE 40

struct file {
    const uint8_t *bytes;
    size_t len;
};

static enum ww_err read_at(const void *payload, uint64_t offset, void *out, size_t len,
                           struct ww_error *err)
{
    const struct file *file = payload;
    (void)err;
    FUZZ_CHECK(offset <= file->len && len <= file->len - offset);
    memcpy(out, file->bytes + offset, len);
    return WW_OK;
}

static void try_frame(const uint8_t *bytes, size_t len)
{
    const struct file file = {bytes, len};
    struct ww_error err = {0};
    uint64_t *offsets = NULL;
    uint32_t n = 0;
    enum ww_err rc = ww_residual_index(read_at, &file, len, &offsets, &n, &err);
    FUZZ_CHECK((rc == WW_OK) == (offsets != NULL));
    for (uint32_t i = 0; rc == WW_OK && i < n; i++) {
        FUZZ_CHECK(offsets[i] < offsets[i + 1] && offsets[i + 1] <= len);
    }
    ww_free(offsets);
}

static void try_section(enum ww_dtype dtype, const uint8_t *bytes, size_t len)
{
    const struct ww_residual_shape shape = {dtype, LINES, LINE};
    struct ww_error err = {0};
    struct ww_residual_reader *reader = NULL;
    uint8_t *copy = ww_calloc(1, len);
    int16_t levels[LINE];
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, bytes, len);
    if (ww_residual_reader_new(&shape, copy, len, &reader, &err) != WW_OK) {
        FUZZ_CHECK(reader == NULL && err.code != WW_OK);
        ww_free(copy);
        return;
    }
    for (unsigned i = 0; i < LINE; i++) {
        levels[i] = (int16_t)(i % 7 ? (int)i - 20 : INT16_MIN);
    }
    for (uint64_t l = 0; l < LINES; l++) {
        uint8_t numbers[LINE * 8];
        memset(numbers, (int)(0x3c + l), sizeof(numbers));
        (void)!ww_residual_restore(reader, l, numbers, levels);
    }
    ww_residual_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const enum ww_dtype dtypes[] = {WW_DTYPE_BF16, WW_DTYPE_F16, WW_DTYPE_F32,
                                           WW_DTYPE_F64};
    if (len == 0) {
        return 0;
    }
    if (bytes[0] == 0) {
        try_frame(bytes + 1, len - 1);
    } else {
        try_section(dtypes[bytes[0] % 4], bytes + 1, len - 1);
    }
    return 0;
}
