/* SPDX-License-Identifier: Apache-2.0 */
/* The worked example of docs/formats/signature.md, and small folders to sign. */
#ifndef WW_TEST_SIGN_FIXTURE_H
#define WW_TEST_SIGN_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/buf.h"
#include "util/fs.h"
#include "weightward/sign.h"
#include "ww_test.h"

#define DEMO_ROOT "c21623981395433ec219ba1f0b8fda9bbc5d7ae2cc0ecef162667566c8d9e5cb"
#define DEMO_CONFIG_SHA "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
#define DEMO_WEIGHTS_SHA                                                                 \
    "d7e1133cd341e7d3cc71b7b59792f107c0584c2c03448dd4eb743acb5fd85371"
#define DEMO_HINT "83901cb6f94823d1d796b4de60c6337431bc51b0e7313f07d50487a10a4e8289"
#define DEMO_RESOURCES                                                                   \
    "[{\"name\":\"config.json\",\"digest\":\"" DEMO_CONFIG_SHA                           \
    "\",\"algorithm\":\"sha256\"},{\"name\":\"model.safetensors\",\"digest\":"           \
    "\"" DEMO_WEIGHTS_SHA "\",\"algorithm\":\"sha256\"}]"
#define DEMO_IGNORE                                                                      \
    "[\".git\",\".gitattributes\",\".github\",\".gitignore\",\"attestations\",\"model."  \
    "sig\"]"
#define DEMO_SERIALIZATION                                                               \
    "{\"method\":\"files\",\"hash_type\":\"sha256\",\"allow_symlinks\":false,"           \
    "\"ignore_paths\":" DEMO_IGNORE "}"
#define DEMO_SUBJECT "[{\"name\":\"demo\",\"digest\":{\"sha256\":\"" DEMO_ROOT "\"}}]"
#define STATEMENT(subject, type, predicate_type, predicate)                              \
    "{\"subject\":" subject ",\"_type\":\"" type                                         \
    "\",\"predicateType\":\"" predicate_type "\",\"predicate\":" predicate "}"
#define PREDICATE(resources, serialization)                                              \
    "{\"resources\":" resources ",\"serialization\":" serialization "}"
#define IN_TOTO "https://in-toto.io/Statement/v1"
#define OMS_V1 "https://model_signing/signature/v1.0"
#define OMS(resources, serialization)                                                    \
    STATEMENT(DEMO_SUBJECT, IN_TOTO, OMS_V1, PREDICATE(resources, serialization))
#define DEMO_STATEMENT OMS(DEMO_RESOURCES, DEMO_SERIALIZATION)

static inline char *path_in(const char *folder, const char *name)
{
    char *path = ww_path_join(folder, name);
    assert_non_null(path);
    return path;
}

static inline void write_bytes(const char *folder, const char *name, const void *bytes,
                               size_t len)
{
    struct ww_error err = {0};
    int fd = -1;
    OK(ww_dir_open(folder, &fd, &err));
    if (strchr(name, '/')) {
        char *parent = ww_strndup(name, (size_t)(strrchr(name, '/') - name));
        OK(ww_mkdirs_at(fd, parent, &err));
        ww_free(parent);
    }
    OK(ww_file_write_at(fd, name, bytes, len, 0644, true, &err));
    close(fd);
}

static inline void write_text(const char *folder, const char *name, const char *text)
{
    write_bytes(folder, name, text, strlen(text));
}

static inline void remove_file(const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    assert_int_equal(unlink(path), 0);
    ww_free(path);
}

static inline bool exists_in(const char *folder, const char *name)
{
    struct stat st;
    char *path = path_in(folder, name);
    bool found = lstat(path, &st) == 0;
    ww_free(path);
    return found;
}

/* The two files of the worked example, in FOLDER/demo; the path is the caller's. */
static inline char *make_demo(const char *folder)
{
    static const char header[] =
        "8\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
    uint8_t weights[68];
    char *demo = path_in(folder, "demo");

    assert_int_equal(mkdir(demo, 0755), 0);
    memset(weights, ' ', sizeof(weights));
    memcpy(weights, header, sizeof(header) - 1);
    memcpy(weights + 64, "\0\0\x80\x3f", 4);
    write_text(demo, "config.json", "{}");
    write_bytes(demo, "model.safetensors", weights, sizeof(weights));
    return demo;
}

static inline char *read_text(const char *path)
{
    struct ww_error err = {0};
    struct ww_buf buf;
    size_t len = 0;
    ww_buf_init(&buf, 64u << 20);
    OK(ww_file_read(path, &buf, &err));
    return (char *)ww_buf_take(&buf, &len);
}

static inline bool any_has(char **items, size_t n, const char *part)
{
    for (size_t i = 0; i < n; i++) {
        if (strstr(items[i], part)) {
            return true;
        }
    }
    return false;
}

#endif
