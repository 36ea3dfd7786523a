/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a package says before its sections are decoded. The first byte chooses: the head,
 * the manifest, or the table of a member.
 */
#include "fuzz.h"

#include <string.h>

#include "rmm/manifest.h"
#include "rmm/table.h"

/* Of the manifest in the seeds. */
static const struct ww_pack_head at = {.version = WW_PACK_VERSION_2,
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
static void try_manifest(const uint8_t *bytes, size_t len)
{
    struct ww_pack_manifest m;
    struct ww_pack_manifest again;
    struct ww_error err = {0};
    struct ww_buf text;
    if (ww_pack_manifest_read(bytes, len, &at, "fuzz", &m, &err) != WW_OK) {
        FUZZ_CHECK(err.code != WW_OK);
        return;
    }
    ww_buf_init(&text, 1 << 20);
    FUZZ_CHECK(ww_pack_manifest_write(&m, &text, &err) == WW_OK);
    FUZZ_CHECK(ww_pack_manifest_read(text.data, text.len, &at, "fuzz", &again, &err) ==
               WW_OK);
    FUZZ_CHECK(again.n_members == m.n_members && again.version == m.version);
    ww_pack_manifest_release(&again);
    ww_pack_manifest_release(&m);
    ww_buf_release(&text);
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
    switch (bytes[0] % 3) {
    case 0:
        try_head(bytes + 1, len - 1);
        break;
    case 1:
        try_manifest(bytes + 1, len - 1);
        break;
    default:
        try_table(bytes + 1, len - 1);
        break;
    }
    return 0;
}
