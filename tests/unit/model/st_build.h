/* SPDX-License-Identifier: Apache-2.0 */
/* Small model folders for tests: files by content, safetensors files by header text. */
#ifndef WW_ST_BUILD_H
#define WW_ST_BUILD_H

#include <fcntl.h>
#include <sys/stat.h>

#include "util/num.h"
#include "ww_test.h"

static inline void put_bytes(const char *folder, const char *name, const void *bytes,
                             size_t len)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static inline void put_text(const char *folder, const char *name, const char *text)
{
    put_bytes(folder, name, text, strlen(text));
}

static inline void put_folder(const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

/* Length word, header text, then data_bytes bytes that count up from 0. */
static inline void put_st(const char *folder, const char *name, const char *json,
                          size_t data_bytes)
{
    size_t n = strlen(json);
    uint8_t *all = test_calloc(8 + n + data_bytes + 1, 1);
    ww_put_u64le(all, n);
    memcpy(all + 8, json, n);
    for (size_t i = 0; i < data_bytes; i++) {
        all[8 + n + i] = (uint8_t)i;
    }
    put_bytes(folder, name, all, 8 + n + data_bytes);
    test_free(all);
}

/* One F32[2] tensor of that name. */
static inline void put_one(const char *folder, const char *name, const char *tensor)
{
    char json[512];
    snprintf(json, sizeof(json),
             "{\"%s\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", tensor);
    put_st(folder, name, json, 8);
}

static inline int open_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

#endif
