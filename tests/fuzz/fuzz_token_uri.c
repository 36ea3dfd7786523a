/* SPDX-License-Identifier: Apache-2.0 */
/*
 * References to keys that lie elsewhere: PKCS #11 URIs, and the form that names a
 * program. What is accepted lies within its arrays and names what it must. No library is
 * loaded and no program started.
 */
#include "fuzz.h"

#include <string.h>

#include "crypto/p11_uri.h"
#include "crypto/signdevice.h"
#include "weightward/key.h"

static void check(const struct ww_p11_text *text)
{
    FUZZ_CHECK(text->len < WW_P11_TEXT_BYTES);
    FUZZ_CHECK(text->text[text->len] == '\0');
    FUZZ_CHECK(text->given || text->len == 0);
}

static void try_token(const char *uri)
{
    struct ww_error err = {0};
    struct ww_p11_uri parsed;
    const enum ww_err rc = ww_p11_uri_parse(uri, &parsed, &err);

    FUZZ_CHECK(rc == WW_OK || err.text[0]);
    FUZZ_CHECK(ww_token_uri_has_pin(uri) == (rc == WW_OK && parsed.pin_source.given));
    if (rc) {
        return;
    }
    check(&parsed.token);
    check(&parsed.manufacturer);
    check(&parsed.model);
    check(&parsed.serial);
    check(&parsed.slot_id);
    check(&parsed.object);
    check(&parsed.id);
    check(&parsed.type);
    check(&parsed.module_path);
    check(&parsed.pin_source);
    FUZZ_CHECK(ww_token_uri_is(uri));
    FUZZ_CHECK(parsed.object.given || parsed.id.given);
    FUZZ_CHECK(parsed.module_path.text[0] == '/');
    FUZZ_CHECK(!parsed.pin_source.given || parsed.pin_source.text[0] == '/');
}

static void try_program(const char *reference)
{
    struct ww_error err = {0};
    struct ww_signprogram parsed;
    const enum ww_err rc = ww_signprogram_parse(reference, &parsed, &err);

    FUZZ_CHECK(rc == WW_OK || err.text[0]);
    FUZZ_CHECK(rc == WW_OK || rc == WW_E_USAGE);
    if (!rc) {
        FUZZ_CHECK(ww_program_uri_is(reference));
        FUZZ_CHECK(strlen(parsed.program) < sizeof(parsed.program));
        FUZZ_CHECK(strchr(parsed.program, '/') != NULL);
        FUZZ_CHECK(parsed.public_key[0]);
        FUZZ_CHECK(strstr(reference, parsed.public_key) != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[4096];

    if (size >= sizeof(text)) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    try_token(text);
    try_program(text);
    return 0;
}
