/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PEM (RFC 7468) of the strict form: header line, base64 lines, footer line. Text outside
 * of blocks is skipped, as files of trust anchors carry remarks there. Only framing is
 * done here; whether the bytes are a certificate is for the crypto module to say.
 */
#include "sign/pem.h"

#include <string.h>

#include "crypto/base64.h"
#include "util/fail.h"

static const char begin_line[] = "-----BEGIN CERTIFICATE-----";
static const char end_line[] = "-----END CERTIFICATE-----";

static enum ww_err add_without_line_ends(struct ww_buf *out, const char *text, size_t len,
                                         struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < len && !rc;) {
        size_t run = 0;
        while (i + run < len && text[i + run] != '\n' && text[i + run] != '\r') {
            run++;
        }
        rc = ww_buf_add(out, text + i, run, err);
        i += run ? run : 1;
    }
    return rc;
}

enum ww_err ww_pem_next_certificate(const char **cursor, struct ww_buf *der,
                                    struct ww_error *err)
{
    const char *begin = strstr(*cursor, begin_line);
    const char *end = NULL;
    struct ww_buf base64;
    enum ww_err rc = WW_OK;

    ww_buf_clear(der);
    ww_buf_init(&base64, 2 * der->max);
    if (!begin) {
        *cursor = NULL;
        goto out;
    }
    begin += strlen(begin_line);
    end = strstr(begin, end_line);
    if (!end) {
        rc = WW_FAIL(err, WW_E_KEYFILE, "PEM block without its end line '%s'", end_line);
        goto out;
    }
    rc = add_without_line_ends(&base64, begin, (size_t)(end - begin), err);
    if (rc) {
        goto out;
    }
    rc = ww_base64_decode(der, ww_buf_cstr(&base64), base64.len, err);
    if (rc) {
        goto out;
    }
    *cursor = end + strlen(end_line);
out:
    ww_buf_release(&base64);
    return rc;
}
