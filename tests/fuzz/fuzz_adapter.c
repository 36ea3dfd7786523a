/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adapters as packages hold them: the length of the configuration in two bytes, the
 * configuration, then the first bytes of the weights, of which the data are so many as
 * they state.
 */
#include "fuzz.h"

#include "model/adapter.h"
#include "util/num.h"

#define DATA_BYTES ((uint64_t)1 << 20)

static void check(const struct ww_adapter *adapter)
{
    for (uint32_t i = 0; i < adapter->n_tensors; i++) {
        const struct ww_adapter_entry *e = &adapter->entries[i];
        double scaling = 0;
        FUZZ_CHECK(e->tensor && e->module && e->part <= WW_PART_FULL);
        (void)!ww_adapter_scaling(adapter, e->module, adapter->rank, &scaling, NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_adapter *adapter = NULL;
    if (size < 2) {
        return 0;
    }
    const size_t want = (size_t)data[0] | (size_t)data[1] << 8;
    const size_t n = want < size - 2 ? want : size - 2;
    struct ww_buf config;
    struct ww_buf header;
    ww_buf_init(&config, size);
    ww_buf_init(&header, size);
    if (ww_buf_add(&config, data + 2, n, &err) ||
        ww_buf_add(&header, data + 2 + n, size - 2 - n, &err)) {
        goto out;
    }
    const enum ww_err rc =
        ww_adapter_of("adapter", &config, &header, DATA_BYTES, &adapter, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK((rc == WW_OK) == (adapter != NULL));
    if (adapter) {
        check(adapter);
    }
    ww_adapter_close(adapter);
out:
    ww_buf_release(&config);
    ww_buf_release(&header);
    return 0;
}
