/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of answers: whatever lies between two good records, both are found. More may be
 * good, since a fuzzer sees what a checksum is compared with.
 */
#include "fuzz.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "evo/answer_cache_int.h"
#include "util/alloc.h"
#include "util/num.h"

static void put(int fd, const void *bytes, size_t len)
{
    FUZZ_CHECK(write(fd, bytes, len) == (ssize_t)len);
}

static void put_record(int fd, uint8_t key)
{
    uint8_t head[WW_RECORD_HEAD] = {0};
    uint8_t check[WW_RECORD_CHECK];
    memcpy(head, ww_answer_cache_magic, sizeof(ww_answer_cache_magic));
    ww_put_u32le(head + 4, 1);
    memset(head + 8, key, WW_CACHE_KEY_BYTES);
    ww_answer_cache_check(head, &key, 1, check);
    put(fd, head, sizeof(head));
    put(fd, &key, 1);
    put(fd, check, sizeof(check));
}

static bool is_there(const struct ww_answer_cache *cache, uint8_t key)
{
    uint8_t bytes[WW_CACHE_KEY_BYTES];
    memset(bytes, key, sizeof(bytes));
    return ww_answer_cache_find(cache, bytes)->offset != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t begin[WW_CACHE_HEAD] = {0};
    struct ww_answer_cache cache = {.fd = memfd_create("answers", MFD_CLOEXEC)};
    struct ww_error err = {0};
    FUZZ_CHECK(cache.fd >= 0);
    put(cache.fd, begin, sizeof(begin));
    put_record(cache.fd, 1);
    put(cache.fd, data, size);
    put_record(cache.fd, 2);
    cache.path = ww_strdup("answers");
    const off_t end = lseek(cache.fd, 0, SEEK_END);
    FUZZ_CHECK(ww_answer_cache_scan(&cache, (uint64_t)end, &err) == WW_OK);
    FUZZ_CHECK(is_there(&cache, 1) && is_there(&cache, 2));
    FUZZ_CHECK(cache.n >= 2 && cache.end == (uint64_t)end && cache.damaged <= size);
    ww_free(cache.slot);
    ww_free(cache.path);
    close(cache.fd);
    return 0;
}
