/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lock manifests: as they are, and with what only the key's holder can write made right
 * under a key of 32 bytes of 1, so that what lies behind the MAC is read as well.
 */
#include "fuzz.h"

#include <string.h>

#include "crypto/secret.h"
#include "lock/draw.h"
#include "lock/manifest.h"
#include "util/str.h"

#define KEY_BYTES 32

struct keys {
    struct ww_secret *secret;
    struct ww_secret *prk;
};

static void ones(struct keys *out)
{
    struct ww_error err = {0};
    FUZZ_CHECK(ww_secret_new(KEY_BYTES, &out->secret, &err) == WW_OK);
    memset(ww_secret_open(out->secret), 1, KEY_BYTES);
    ww_secret_close(out->secret);
    FUZZ_CHECK(ww_draw_root(out->secret, &out->prk, &err) == WW_OK);
}

static void check_files(const struct ww_lock_file *files, size_t n)
{
    FUZZ_CHECK(n > 0);
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(files[i].path[0] && files[i].path[0] != '/');
        FUZZ_CHECK(i == 0 || strcmp(files[i - 1].path, files[i].path) < 0);
    }
}

static void read_manifest(const struct ww_jnode *node, const struct keys *keys)
{
    struct ww_manifest m;
    struct ww_error err = {0};
    const enum ww_err rc = ww_manifest_read(node, keys->secret, keys->prk, &m, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    if (!rc) {
        FUZZ_CHECK(m.descriptor && m.source_name);
        check_files(m.source, m.n_source);
        check_files(m.locked, m.n_locked);
    }
    ww_manifest_release(&m);
}

/* text ends with "}"; one more member stands before it. */
static void add_hex(struct ww_buf *text, const char *name, const uint8_t *bytes, size_t n)
{
    struct ww_error err = {0};
    char hex[WW_HEX_BYTES(WW_SHA256_BYTES)];

    ww_hex(hex, bytes, n);
    text->len--;
    FUZZ_CHECK(ww_buf_addf(text, &err, ",\"%s\":\"%s\"}", name, hex) == WW_OK);
}

static void read_text(const struct ww_buf *text, const struct keys *keys)
{
    struct ww_error err = {0};
    struct ww_json *json = NULL;

    if (ww_json_parse(text->data, text->len, &ww_json_limits_bundle, &json, &err) ==
        WW_OK) {
        read_manifest(ww_json_root(json), keys);
    }
    ww_json_free(json);
}

/* The input as the text that the MAC is taken over, less what depends on the key. */
static void read_as_written(struct ww_buf *text, const struct keys *keys)
{
    struct ww_error err = {0};
    uint8_t lock_id[WW_SHA256_BYTES] = {0};
    uint8_t check[WW_KEY_CHECK_BYTES];
    uint8_t commitment[WW_SHA256_BYTES];
    uint8_t mac[WW_SHA256_BYTES];
    struct ww_json *json = NULL;
    const char *hex = NULL;

    if (ww_json_parse(text->data, text->len, &ww_json_limits_bundle, &json, &err) !=
        WW_OK) {
        return;
    }
    if (ww_jstr(ww_jget(ww_json_root(json), "lock_id"), &hex) &&
        ww_unhex(lock_id, sizeof(lock_id), hex, strlen(hex))) {
        FUZZ_CHECK(ww_manifest_key_check(lock_id, keys->prk, check, &err) == WW_OK);
        FUZZ_CHECK(ww_manifest_commitment(lock_id, keys->secret, commitment, &err) ==
                   WW_OK);
        add_hex(text, "key_check", check, sizeof(check));
        add_hex(text, "commitment", commitment, sizeof(commitment));
        FUZZ_CHECK(ww_manifest_mac(text->data, text->len, keys->prk, mac, &err) == WW_OK);
        add_hex(text, "mac", mac, sizeof(mac));
        read_text(text, keys);
    }
    ww_json_free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct keys keys = {0};
    struct ww_buf text;

    ones(&keys);
    ww_buf_init(&text, size + 512);
    FUZZ_CHECK(ww_buf_add(&text, data, size, &err) == WW_OK);
    read_text(&text, &keys);
    if (size > 2 && data[size - 1] == '}') {
        read_as_written(&text, &keys);
    }
    ww_buf_release(&text);
    ww_secret_free(keys.prk);
    ww_secret_free(keys.secret);
    return 0;
}
