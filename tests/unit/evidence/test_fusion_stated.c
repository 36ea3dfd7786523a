/* SPDX-License-Identifier: Apache-2.0 */
/* A statement about a fusion recipe that says something else than the recipe. */
#include "ww_test.h"

#include <stdlib.h>
#include <unistd.h>

#include "evidence/fusion_stated.h"
#include "sign/envelope.h"
#include "util/fs.h"

static char path[] = "/tmp/ww-recipe-XXXXXX";

static void put(enum ww_signed_kind kind, const char *payload)
{
    struct ww_envelope_signature one = {.sig = {.max = 64}};
    struct ww_envelope envelope;
    struct ww_error err = {0};
    struct ww_buf text;
    ww_buf_init(&text, WW_ENVELOPE_MAX_BYTES);
    OK(ww_envelope_make(kind, (const uint8_t *)payload, strlen(payload), &envelope,
                        &err));
    memset(one.keyid, 'a', sizeof(one.keyid) - 1);
    OK(ww_buf_add(&one.sig, "signature", 9, &err)); /* whose is not asked here */
    envelope.signatures = &one;
    envelope.n_signatures = 1;
    OK(ww_envelope_write(&envelope, &text, &err));
    envelope.signatures = NULL;
    envelope.n_signatures = 0;
    ww_buf_release(&one.sig);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text.data, 1, text.len, f), text.len);
    assert_int_equal(fclose(f), 0);
    ww_envelope_release(&envelope);
    ww_buf_release(&text);
}

static enum ww_err agrees(const char *external, struct ww_error *err)
{
    char text[512];
    struct ww_provenance_view view = {0};
    (void)snprintf(text, sizeof(text),
                   "{\"predicate\":{\"buildDefinition\":{\"externalParameters\":{%s}}}}",
                   external);
    assert_int_equal(ww_json_parse((const uint8_t *)text, strlen(text),
                                   &ww_json_limits_small, &view.json, err),
                     WW_OK);
    const enum ww_err rc = ww_recipe_agrees(path, &view, err);
    ww_json_free(view.json);
    return rc;
}

#define TOKENS "{\"rule\":{\"name\":\"linear\"},\"top\":20,\"vocabulary\":100,\"seed\":7}"
#define OPTIONS                                                                          \
    "{\"rule\":{\"name\":\"linear\"},\"level\":\"options\",\"per_byte\":true,\"top\":"   \
    "20,"                                                                                \
    "\"vocabulary\":100,\"seed\":7}"
#define REST "\"top\":20,\"vocabulary\":100,\"seed\":\"7\""

static void every_member_is_compared(void **state)
{
    (void)state;
    static const struct {
        const char *payload, *external, *says; /* NULL: it agrees */
    } cases[] = {
        {TOKENS, "\"rule\":\"linear\"," REST, NULL},
        {TOKENS, "\"rule\":\"linear\",\"level\":\"tokens\"," REST, NULL},
        {OPTIONS, "\"rule\":\"linear\",\"level\":\"options\",\"per_byte\":true," REST,
         NULL},
        {TOKENS, "\"rule\":\"uniform\"," REST, "'rule'"},
        {TOKENS, "\"rule\":\"linear\",\"level\":\"bytes\"," REST, "'level'"},
        {OPTIONS, "\"rule\":\"linear\",\"per_byte\":true," REST, "'level'"},
        {OPTIONS, "\"rule\":\"linear\",\"level\":\"options\"," REST, "'per_byte'"},
        {TOKENS, "\"rule\":\"linear\",\"per_byte\":1," REST, "'per_byte'"},
        {TOKENS, "\"rule\":\"linear\",\"top\":5,\"vocabulary\":100,\"seed\":\"7\"",
         "'top'"},
        {TOKENS, "\"rule\":\"linear\",\"top\":20,\"seed\":\"7\"", "'vocabulary'"},
        {TOKENS, "\"rule\":\"linear\",\"top\":20,\"vocabulary\":100,\"seed\":\"8\"",
         "'seed'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_error err = {0};
        put(WW_SIGNED_FUSION, cases[i].payload);
        const enum ww_err rc = agrees(cases[i].external, &err);
        assert_int_equal(rc, cases[i].says ? WW_E_WRONG_MODEL : WW_OK);
        if (cases[i].says && !strstr(err.text, cases[i].says)) {
            fail_msg("case %zu: '%s' does not say %s", i, err.text, cases[i].says);
        }
    }
}

static void another_document_is_no_recipe(void **state)
{
    (void)state;
    struct ww_error err = {0};
    put(WW_SIGNED_POLICY, TOKENS);
    FAILS(agrees("\"rule\":\"linear\"," REST, &err), WW_E_WRONG_MODEL);
    assert_non_null(strstr(err.text, "signed policy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_member_is_compared),
        cmocka_unit_test(another_document_is_no_recipe),
    };
    const int fd = mkstemp(path);
    if (fd < 0 || close(fd) != 0) {
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return unlink(path) != 0 || failed;
}
