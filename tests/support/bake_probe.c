/* SPDX-License-Identifier: Apache-2.0 */
/* bake_probe BASE ADAPTER: the changed weights as NAME COUNT lines and, behind an empty
 * line, their float32 bytes in that order. The interop test compares them with peft. */
#include <stdio.h>

#include "merge/bake.h"
#include "util/num.h"

/* An odd block, so that ranges begin inside of elements and of rows. */
static enum ww_err show(const struct ww_bake *bake, struct ww_error *err)
{
    static char block[65521];
    const struct ww_reader *reader = ww_bake_reader(bake);
    uint32_t n = 0;
    const struct ww_tensor *tensors = ww_bake_tensors(bake, &n);
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < n; i++) {
        printf("%s %llu\n", tensors[i].name, (unsigned long long)tensors[i].n_elements);
    }
    printf("\n");
    for (uint64_t at = 0; at < ww_bake_bytes(bake) && !rc;) {
        const size_t len = (size_t)ww_min_u64(sizeof(block), ww_bake_bytes(bake) - at);
        rc = reader->read(reader->payload, at, block, len, err);
        if (!rc && fwrite(block, 1, len, stdout) != len) {
            return WW_E_IO;
        }
        at += len;
    }
    return rc;
}

int main(int argc, char **argv)
{
    struct ww_adapter *adapter = NULL;
    struct ww_model *base = NULL;
    struct ww_bake *bake = NULL;
    struct ww_error err = {0};

    if (argc != 3) {
        return 2;
    }
    enum ww_err rc = ww_model_open(argv[1], &base, &err);
    if (!rc) {
        rc = ww_adapter_open(argv[2], &adapter, &err);
    }
    if (!rc) {
        rc = ww_bake_open(base, NULL, adapter, &bake, &err);
    }
    if (!rc) {
        rc = show(bake, &err);
    }
    if (rc) {
        fprintf(stderr, "%s\n", err.text);
    }
    ww_bake_close(bake);
    ww_adapter_close(adapter);
    ww_model_close(base);
    return rc ? ww_err_exit_status(rc) : 0;
}
