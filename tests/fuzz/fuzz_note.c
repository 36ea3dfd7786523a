/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint of a log's entry: a note about a tree of one leaf, whose root is that of
 * the seeds. What is accepted bears a signature of the log in its last lines. */
#include "fuzz.h"

#include <string.h>

#include "sign/tlog.h"
#include "util/alloc.h"

/* Ed25519, of the seed of 32 bytes 7. */
static const uint8_t key_der[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                                  0x03, 0x21, 0x00, 0xea, 0x4a, 0x6c, 0x63, 0xe2, 0x9c,
                                  0x52, 0x0a, 0xbe, 0xf5, 0x50, 0x7b, 0x13, 0x2e, 0xc5,
                                  0xf9, 0x95, 0x47, 0x76, 0xae, 0xbe, 0xbe, 0x7b, 0x92,
                                  0x42, 0x1e, 0xea, 0x69, 0x14, 0x46, 0xd2, 0x2c};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t leaf[] = {0, 'b', 'o', 'd', 'y'};
    struct ww_log log = {.id = "log", .end = INT64_MAX};
    struct ww_tlog_entry entry = {.log_id = "log", .tree_size = 1};
    struct ww_error err = {0};
    int64_t when = 0;
    char *note = ww_strndup((const char *)data, size);

    ww_buf_init(&entry.body, sizeof(leaf));
    FUZZ_CHECK(note &&
               ww_buf_add(&entry.body, leaf + 1, sizeof(leaf) - 1, &err) == WW_OK);
    ww_sha256_of(leaf, sizeof(leaf), entry.root);
    entry.checkpoint = note;
    FUZZ_CHECK(ww_logkey_from_der(key_der, sizeof(key_der), &log.key, &err) == WW_OK);
    const enum ww_err rc = ww_tlog_check(&entry, &log, 1, 1, &when, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0') && when == 0);
    FUZZ_CHECK(rc != WW_OK || strstr(note, "\n\n\xe2\x80\x94 "));
    ww_logkey_free(log.key);
    ww_buf_release(&entry.body);
    ww_free(note);
    return 0;
}
