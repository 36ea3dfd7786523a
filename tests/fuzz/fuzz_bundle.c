/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte says what the rest is: '0' a bundle as it lies on the disk, '1' a
 * statement, which is signed here with a key of this run so that the reader behind the
 * signature is reached, '2' a statement of release 0.2. What is accepted must be in
 * order.
 */
#include "fuzz.h"

#include <string.h>
#include <unistd.h>

#include "sign/bundle.h"
#include "sign/oms.h"
#include "sign/statement.h"
#include "util/alloc.h"
#include "util/fs.h"

static struct ww_signkey *key;
static struct ww_verifier verifier;

static void make_key(void)
{
    struct ww_error err = {0};
    char folder[] = "/tmp/fuzz-bundle-XXXXXX";
    FUZZ_CHECK(mkdtemp(folder));
    char *base = ww_path_join(folder, "key");
    char *private_path = ww_path_join(folder, "key.key");
    char *public_path = ww_path_join(folder, "key.pub");
    struct ww_verify_options options = {.public_key = public_path};
    FUZZ_CHECK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err) == WW_OK);
    FUZZ_CHECK(ww_signkey_load(private_path, NULL, &key, &err) == WW_OK);
    FUZZ_CHECK(ww_verifier_open(&options, &verifier, &err) == WW_OK);
    FUZZ_CHECK(unlink(private_path) == 0 && unlink(public_path) == 0);
    FUZZ_CHECK(rmdir(folder) == 0);
    ww_free(base);
    ww_free(private_path);
    ww_free(public_path);
}

static bool path_is_fine(const struct ww_oms *oms, const char *path)
{
    return ww_path_is_relative(path) || (oms->n_resources == 1 && strcmp(path, ".") == 0);
}

static bool read_statement(const uint8_t *payload, size_t len, bool is_v02)
{
    struct ww_error err = {0};
    struct ww_oms oms;
    enum ww_err rc = ww_oms_parse(payload, len, is_v02, &oms, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK((rc == WW_OK) == (oms.n_resources > 0));
    for (size_t i = 0; i < oms.n_resources; i++) {
        const struct ww_oms_resource *at = &oms.resources[i];
        FUZZ_CHECK(path_is_fine(&oms, at->path));
        FUZZ_CHECK((oms.shard_size > 0) == (at->end > 0) && at->end >= at->start);
        if (i > 0) {
            int order = strcmp(at[-1].path, at->path);
            FUZZ_CHECK(order < 0 || (order == 0 && at[-1].end == at->start && at->start));
        }
    }
    ww_oms_release(&oms);
    return rc == WW_OK;
}

static void read_bundle(const uint8_t *text, size_t len)
{
    struct ww_error err = {0};
    struct ww_bundle bundle;
    if (ww_bundle_parse(text, len, &bundle, &err) == WW_OK) {
        FUZZ_CHECK(bundle.payload.len > 0 && bundle.sig.len > 0);
        FUZZ_CHECK((bundle.hint != NULL) != (bundle.certs != NULL));
        FUZZ_CHECK(!bundle.is_keyless || bundle.leaf.len > 0);
        /* Nobody but this run has the key. */
        FUZZ_CHECK(ww_bundle_check(&bundle, &verifier, NULL, &err) != WW_OK);
    }
    ww_bundle_release(&bundle);
}

static void sign_and_read(const uint8_t *payload, size_t len)
{
    struct ww_error err = {0};
    struct ww_signer signer = {.key = key};
    struct ww_bundle bundle;
    struct ww_buf text;
    bool accepted = read_statement(payload, len, false);
    if (len == 0 || (!accepted && len % 16 != 0)) {
        return; /* signing costs a thousand times what a refusal does */
    }
    ww_buf_init(&text, WW_BUNDLE_MAX_BYTES);
    FUZZ_CHECK(ww_bundle_sign(&signer, payload, len, &text, &err) == WW_OK);
    FUZZ_CHECK(ww_bundle_parse(text.data, text.len, &bundle, &err) == WW_OK);
    FUZZ_CHECK(ww_bundle_check(&bundle, &verifier, NULL, &err) == WW_OK &&
               !bundle.is_v02);
    FUZZ_CHECK(bundle.payload.len == len &&
               memcmp(bundle.payload.data, payload, len) == 0);
    FUZZ_CHECK(read_statement(bundle.payload.data, bundle.payload.len, false) ==
               accepted);
    bundle.payload.data[len / 2] ^= 1;
    FUZZ_CHECK(ww_bundle_check(&bundle, &verifier, NULL, &err) == WW_E_SIGNATURE);
    ww_bundle_release(&bundle);
    ww_buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!key) {
        make_key();
    }
    if (size == 0) {
        return 0;
    }
    switch (data[0]) {
    case '1':
        sign_and_read(data + 1, size - 1);
        break;
    case '2':
        (void)read_statement(data + 1, size - 1, true);
        break;
    default:
        read_bundle(data + 1, size - 1);
        break;
    }
    return 0;
}
