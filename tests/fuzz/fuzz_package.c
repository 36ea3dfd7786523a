/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a package says before its sections are decoded. The first byte chooses: the head,
 * the manifest as text or as it is stored, the table of a member, or any text that is
 * coded.
 */
#include "fuzz.h"

#include <string.h>

#include "rmm/manifest.h"
#include "rmm/chunk_adaptive.h"
#include "rmm/table.h"
#include "util/alloc.h"

/* Of the manifest in the seeds. */
static const struct ww_pack_head seeds_head = {.version = WW_PACK_VERSION_2,
                                               .manifest_offset = 8192};

static void try_head(const uint8_t *bytes, size_t len)
{
    struct ww_pack_head head;
    struct ww_error err = {0};
    uint8_t again[WW_PACK_HEAD_BYTES];
    if (ww_pack_head_parse(bytes, len, 10000, "fuzz", &head, &err) == WW_OK) {
        ww_pack_head_write(&head, again);
        FUZZ_CHECK(memcmp(again, bytes, sizeof(again)) == 0);
    }
}

/* What was read is written as text that reads the same. */
static void try_manifest(const struct ww_pack_head *at, const uint8_t *bytes, size_t len)
{
    struct ww_pack_manifest m;
    struct ww_pack_manifest again;
    struct ww_error err = {0};
    struct ww_buf text;
    if (ww_pack_manifest_read(bytes, len, at, "fuzz", &m, &err) != WW_OK) {
        FUZZ_CHECK(err.code != WW_OK);
        return;
    }
    ww_buf_init(&text, 1 << 20);
    FUZZ_CHECK(ww_pack_manifest_write(&m, &text, &err) == WW_OK);
    FUZZ_CHECK(ww_pack_manifest_read(text.data, text.len, at, "fuzz", &again, &err) ==
               WW_OK);
    FUZZ_CHECK(again.n_members == m.n_members && again.version == m.version);
    ww_pack_manifest_release(&again);
    ww_pack_manifest_release(&m);
    ww_buf_release(&text);
}

/* Of version 3: where it lies in 16 bytes, then text, or coded. */
static void try_stored(const uint8_t *bytes, size_t len)
{
    struct ww_pack_head head = {.version = WW_PACK_VERSION};
    struct ww_error err = {0};
    uint8_t *text = NULL;
    size_t n = 0;
    if (len < 2) {
        return;
    }
    head.manifest_offset = (uint64_t)16 * (bytes[0] + 256U * bytes[1]);
    if (!ww_pack_text_is_coded(bytes + 2, len - 2)) {
        try_manifest(&head, bytes + 2, len - 2);
        return;
    }
    FUZZ_CHECK(ww_pack_text_open(bytes + 2, len - 2, &text, &n, &err) == WW_OK);
    FUZZ_CHECK(!text || (n > 0 && n <= WW_ADAPTIVE_MOST));
    if (text) {
        try_manifest(&head, text, n);
    }
    ww_free(text);
}

/* Any text comes back, from as many bytes as itself or fewer. */
static void try_text(const uint8_t *bytes, size_t len)
{
    struct ww_error err = {0};
    struct ww_buf text;
    struct ww_buf coded;
    uint8_t *back = NULL;
    size_t n = 0;
    ww_buf_init(&text, 1 << 20);
    ww_buf_init(&coded, 1 << 20);
    FUZZ_CHECK(ww_buf_add(&text, bytes, len, &err) == WW_OK);
    FUZZ_CHECK(ww_pack_text_code(&text, &coded, &err) == WW_OK);
    FUZZ_CHECK(coded.len <= len);
    if (ww_pack_text_is_coded(coded.data, coded.len) && coded.len < len) {
        FUZZ_CHECK(ww_pack_text_open(coded.data, coded.len, &back, &n, &err) == WW_OK);
        FUZZ_CHECK(back && n == len && memcmp(back, bytes, n) == 0);
    } else {
        FUZZ_CHECK(coded.len == len && memcmp(coded.data, bytes, len) == 0);
    }
    ww_free(back);
    ww_buf_release(&text);
    ww_buf_release(&coded);
}

/* As text, or coded. What is written of it, coded too, is the same table. */
static void try_table(const uint8_t *bytes, size_t len)
{
    struct ww_pack_table t;
    struct ww_pack_table again;
    struct ww_error err = {0};
    struct ww_buf text;
    struct ww_buf coded;
    uint64_t total = 0;
    if (ww_pack_table_open(bytes, len, 100, "fuzz", &t, &err) != WW_OK) {
        FUZZ_CHECK(err.code != WW_OK);
        return;
    }
    for (uint64_t c = 0; c < t.n_chunks; c++) {
        FUZZ_CHECK(t.chunks[c].at == total);
        total += t.chunks[c].len;
    }
    FUZZ_CHECK(total == 100);
    ww_buf_init(&text, 1 << 20);
    ww_buf_init(&coded, 1 << 20);
    FUZZ_CHECK(ww_pack_table_write(&t, &text, &err) == WW_OK);
    FUZZ_CHECK(ww_pack_text_code(&text, &coded, &err) == WW_OK);
    FUZZ_CHECK(ww_pack_table_open(coded.data, coded.len, 100, "fuzz", &again, &err) ==
               WW_OK);
    FUZZ_CHECK(again.n_files == t.n_files && again.n_parts == t.n_parts &&
               again.n_chunks == t.n_chunks);
    ww_buf_release(&text);
    ww_buf_release(&coded);
    ww_pack_table_release(&again);
    ww_pack_table_release(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len == 0) {
        return 0;
    }
    switch (bytes[0] % 5) {
    case 0:
        try_head(bytes + 1, len - 1);
        break;
    case 1:
        try_manifest(&seeds_head, bytes + 1, len - 1);
        break;
    case 2:
        try_table(bytes + 1, len - 1);
        break;
    case 3:
        try_stored(bytes + 1, len - 1);
        break;
    default:
        try_text(bytes + 1, len - 1);
        break;
    }
    return 0;
}
