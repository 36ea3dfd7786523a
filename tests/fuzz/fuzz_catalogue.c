/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns of a catalogue, as a foreign hand may have left them. The first byte is the
 * type of the column and what is expected of it, the second the number that should be
 * there.
 */
#include "fuzz.h"

#include <math.h>
#include <string.h>

#include "lineage/catalogue_rows.h"
#include "lineage/catalogue_store.h"

static void read_floats(const struct ww_db_value *column, size_t n)
{
    struct ww_error err = {0};
    float out[256];
    const enum ww_err rc = ww_store_floats(column, out, n, "a sketch", &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK(rc != WW_OK || column->len == 4 * n);
    for (size_t i = 0; !rc && i < n; i++) {
        FUZZ_CHECK(isfinite(out[i]));
    }
}

static void read_rows(const struct ww_db_value *column, size_t n)
{
    struct ww_error err = {0};
    uint64_t hashes[256];
    const struct ww_print_tensor tensor = {.row_hashes = hashes, .n_row_hashes = n};
    uint64_t shared = 0;
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < n; i++) {
        hashes[i] = i;
    }
    rc = ww_rows_shared(&tensor, column, &shared, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK(shared <= n);
    FUZZ_CHECK(rc != WW_OK || column->len % 8 == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum ww_db_type types[] = {WW_DB_NULL, WW_DB_INT, WW_DB_TEXT,
                                            WW_DB_BLOB};

    if (size >= 2) {
        const struct ww_db_value column = {
            .type = types[data[0] % 4], .bytes = data + 2, .len = size - 2};
        if (data[0] & 4) {
            read_floats(&column, data[1]);
        } else {
            read_rows(&column, data[1]);
        }
    }
    return 0;
}
