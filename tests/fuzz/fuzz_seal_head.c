/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads of sealed files. The file is taken to be as long as the input, and as long as the
 * head asks for, so that both the refusals and what lies behind them are reached.
 */
#include "fuzz.h"

#include <string.h>

#include "crypto/aead.h"
#include "seal/seal_head.h"

static void check_head(const struct ww_seal_head *head, const uint8_t *data,
                       uint64_t need)
{
    const uint64_t n = ww_seal_n_chunks(head);
    const uint64_t body = head->plain_bytes - head->clear_bytes;
    struct ww_error err = {0};
    struct ww_buf begin;
    FUZZ_CHECK(ww_aead_name(head->cipher) != NULL);
    FUZZ_CHECK(head->clear_bytes <= head->plain_bytes);
    FUZZ_CHECK(ww_seal_chunks_offset(head) == need);
    FUZZ_CHECK((n == 0) == (body == 0));
    FUZZ_CHECK(n == 0 || (n - 1) * head->chunk_bytes + ww_seal_last_bytes(head) == body);
    /* What is parsed is what would be written. */
    ww_buf_init(&begin, WW_SEAL_FIXED_BYTES + WW_SEAL_MAX_NAME);
    FUZZ_CHECK(ww_seal_head_begin(head, &begin, &err) == WW_OK);
    FUZZ_CHECK(memcmp(begin.data, data, begin.len) == 0);
    ww_buf_release(&begin);
}

static void try_head(const uint8_t *data, size_t size, uint64_t file_bytes)
{
    struct ww_seal_head head = {.plain_bytes = 1, .clear_bytes = 2};
    struct ww_error err = {0};
    uint64_t need = 0;
    enum ww_err rc = ww_seal_head_parse(data, size, file_bytes, &head, &need, &err);
    FUZZ_CHECK(rc == WW_OK || rc == WW_E_SEALED || rc == WW_E_VERSION);
    FUZZ_CHECK((rc == WW_OK) == (err.code == WW_OK));
    if (rc == WW_OK && need <= size) {
        FUZZ_CHECK(ww_seal_file_bytes(&head) == file_bytes);
        check_head(&head, data, need);
    }
}

/* The length of the file that the fixed part asks for, or 0. */
static uint64_t wanted_bytes(const uint8_t *data, size_t size)
{
    uint64_t plain = 0;
    uint64_t clear = 0;
    uint32_t chunk = 0;
    uint32_t name = 0;
    if (size < WW_SEAL_FIXED_BYTES) {
        return 0;
    }
    memcpy(&chunk, data + 24, 4);
    memcpy(&name, data + 28, 4);
    memcpy(&plain, data + 32, 8);
    memcpy(&clear, data + 40, 8);
    if (!chunk || clear > plain || plain >> 60 || clear >> 30 || name >> 20) {
        return 0;
    }
    return ((64 + name + clear + 7) / 8) * 8 + 32 + plain - clear +
           (plain - clear + chunk - 1) / chunk * 16;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_head(data, size, size);
    try_head(data, size, wanted_bytes(data, size));
    return 0;
}
