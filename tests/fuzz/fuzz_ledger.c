/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte says what the rest is: 'e' the statement of one entry, which is read
 * and, when it is one, written and read again; otherwise the text of a whole ledger.
 */
#include "fuzz.h"

#include <string.h>

#include "trace/ledger_check.h"

static void compare(const struct ww_ledger_entry *a, const struct ww_ledger_entry *b)
{
    FUZZ_CHECK(a->kind == b->kind && a->seq == b->seq);
    FUZZ_CHECK(strcmp(a->name, b->name) == 0 && strcmp(a->date, b->date) == 0);
    FUZZ_CHECK(memcmp(a->previous, b->previous, WW_SHA256_BYTES) == 0);
    FUZZ_CHECK(memcmp(a->root, b->root, WW_SHA256_BYTES) == 0);
    if (a->kind == WW_LEDGER_HEAD) {
        FUZZ_CHECK(strcmp(a->public_key, b->public_key) == 0);
    } else if (a->kind == WW_LEDGER_MODEL) {
        FUZZ_CHECK(a->model.n_files == b->model.n_files);
        FUZZ_CHECK(a->model.n_tensors == b->model.n_tensors);
        FUZZ_CHECK(a->model.n_coords == b->model.n_coords);
        FUZZ_CHECK(a->model.samples == b->model.samples);
        FUZZ_CHECK(memcmp(a->model.values, b->model.values,
                          (size_t)(a->model.n_coords * a->model.samples)) == 0);
    } else {
        FUZZ_CHECK(strcmp(a->copy.recipient, b->copy.recipient) == 0);
        FUZZ_CHECK(memcmp(a->copy.nonce, b->copy.nonce, WW_HANDOUT_NONCE_BYTES) == 0);
        FUZZ_CHECK(a->copy.model < a->seq);
    }
}

static void read_entry(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_ledger_entry entry;
    struct ww_ledger_entry again;
    struct ww_buf text;
    enum ww_err rc = ww_ledger_entry_read(data, size, &entry, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (rc) {
        return;
    }
    ww_buf_init(&text, 64 << 20);
    FUZZ_CHECK(ww_ledger_entry_write(&entry, &text, &err) == WW_OK);
    FUZZ_CHECK(ww_ledger_entry_read(text.data, text.len, &again, &err) == WW_OK);
    compare(&entry, &again);
    ww_ledger_entry_release(&again);
    ww_ledger_entry_release(&entry);
    ww_buf_release(&text);
}

static void read_ledger(const uint8_t *data, size_t size)
{
    char path[] = "ledger";
    struct ww_error err = {0};
    struct ww_ledger ledger = {.path = path, .fd = -1};
    enum ww_err rc = ww_ledger_check(&ledger, data, size, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (rc == WW_OK) {
        FUZZ_CHECK(ledger.size_bytes + ledger.torn_bytes == size);
        FUZZ_CHECK(ledger.n == 0 || ledger.entries[0].kind == WW_LEDGER_HEAD);
    }
    for (size_t i = 0; i < ledger.n; i++) {
        FUZZ_CHECK(ledger.entries[i].seq == i);
    }
    ledger.path = NULL;
    ww_ledger_close(&ledger);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'e') {
        read_entry(data + 1, size - 1);
    } else if (size > 0) {
        read_ledger(data + 1, size - 1);
    }
    return 0;
}
