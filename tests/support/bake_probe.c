/* SPDX-License-Identifier: Apache-2.0 */
/* bake_probe BASE ADAPTER: the changed weights as NAME COUNT lines and, behind an empty
 * line, their float32 bytes in that order. The interop test compares them with peft. */
#include <stdio.h>
#include <unistd.h>

#include "merge/bake.h"
#include "util/fs.h"

static int show(const struct ww_baked *baked)
{
    static char block[1 << 16];
    uint64_t at = 0;

    for (uint32_t i = 0; i < baked->n_tensors; i++) {
        printf("%s %llu\n", baked->tensors[i].name,
               (unsigned long long)baked->tensors[i].n_elements);
    }
    printf("\n");
    while (at < baked->size_bytes) {
        ssize_t n = pread(baked->fd, block, sizeof(block), (off_t)at);
        if (n <= 0 || fwrite(block, 1, (size_t)n, stdout) != (size_t)n) {
            return 4;
        }
        at += (uint64_t)n;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct ww_adapter *adapter = NULL;
    struct ww_model *base = NULL;
    struct ww_baked baked = {.fd = -1};
    struct ww_error err = {0};
    int dirfd = -1;
    int status = 0;

    if (argc != 3) {
        return 2;
    }
    enum ww_err rc = ww_dir_open(argv[2], &dirfd, &err);
    if (!rc) {
        rc = ww_model_open(argv[1], &base, &err);
    }
    if (!rc) {
        rc = ww_adapter_open(argv[2], &adapter, &err);
    }
    if (!rc) {
        rc = ww_bake(base, adapter, dirfd, &baked, &err);
    }
    if (rc) {
        fprintf(stderr, "%s\n", err.text);
    }
    status = rc ? ww_err_exit_status(rc) : show(&baked);
    ww_baked_release(&baked);
    ww_adapter_close(adapter);
    ww_model_close(base);
    if (dirfd >= 0) {
        close(dirfd);
    }
    return status;
}
