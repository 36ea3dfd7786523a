/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 7512: "pkcs11:" attributes by ';', then '?' and query attributes by '&', values
 * percent-encoded. Unknown attributes are refused, not skipped: one that narrows the
 * choice would be lost. A pin-value is refused because command lines are public, a
 * pin-source that starts a program because nothing may run by way of a URI. The module
 * must be named: nothing is taken from a configuration or the environment.
 */
#include "crypto/p11_uri.h"

#include <stddef.h>
#include <string.h>

#include "util/fail.h"
#include "util/str.h"
#include "weightward/key.h"

#define SCHEME "pkcs11:"

static const struct attribute {
    const char *name;
    size_t offset;
    bool in_query;
    bool is_binary;
} attributes[] = {
    {"token", offsetof(struct ww_p11_uri, token), false, false},
    {"manufacturer", offsetof(struct ww_p11_uri, manufacturer), false, false},
    {"model", offsetof(struct ww_p11_uri, model), false, false},
    {"serial", offsetof(struct ww_p11_uri, serial), false, false},
    {"slot-id", offsetof(struct ww_p11_uri, slot_id), false, false},
    {"object", offsetof(struct ww_p11_uri, object), false, false},
    {"id", offsetof(struct ww_p11_uri, id), false, true},
    {"type", offsetof(struct ww_p11_uri, type), false, false},
    {"module-path", offsetof(struct ww_p11_uri, module_path), true, false},
    {"pin-source", offsetof(struct ww_p11_uri, pin_source), true, false},
};

bool ww_token_uri_is(const char *text)
{
    return ww_str_starts(text, SCHEME);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum ww_err decode(const char *value, size_t len, const struct attribute *at,
                          struct ww_p11_text *out, struct ww_error *err)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)value[i];
        if (byte == '%') {
            int high = i + 2 < len ? hex_digit(value[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(value[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return WW_FAIL(err, WW_E_USAGE,
                               "'%s' of the token URI has a '%%' without "
                               "two hexadecimal digits",
                               at->name);
            }
            byte = (uint8_t)(high * 16 + low);
            i += 2;
        }
        if (out->len + 1 == WW_P11_TEXT_BYTES) {
            return WW_FAIL(err, WW_E_USAGE,
                           "'%s' of the token URI is longer than %d "
                           "bytes",
                           at->name, WW_P11_TEXT_BYTES - 1);
        }
        out->text[out->len++] = (char)byte;
    }
    out->given = true;
    if (!at->is_binary && !ww_text_ok((const uint8_t *)out->text, out->len)) {
        return WW_FAIL(err, WW_E_USAGE, "'%s' of the token URI is no plain text",
                       at->name);
    }
    return WW_OK;
}

static enum ww_err read_attribute(const char *part, size_t len, bool in_query,
                                  struct ww_p11_uri *out, struct ww_error *err)
{
    const char *equals = memchr(part, '=', len);
    size_t name_len = equals ? (size_t)(equals - part) : len;
    struct ww_p11_text *text = NULL;

    if (name_len == strlen("pin-value") && memcmp(part, "pin-value", name_len) == 0) {
        return WW_FAIL(err, WW_E_USAGE,
                       "token URI has a 'pin-value', which everybody on the machine can "
                       "see; give the PIN by a file, a descriptor or the terminal");
    }
    for (size_t i = 0; equals && i < WW_LEN(attributes); i++) {
        const struct attribute *at = &attributes[i];
        if (at->in_query != in_query || strlen(at->name) != name_len ||
            memcmp(at->name, part, name_len) != 0) {
            continue;
        }
        text = (struct ww_p11_text *)(void *)((char *)out + at->offset);
        if (text->given) {
            return WW_FAIL(err, WW_E_USAGE, "token URI has '%s' twice", at->name);
        }
        return decode(equals + 1, len - name_len - 1, at, text, err);
    }
    return WW_FAIL(err, WW_E_USAGE, "token URI has '%.*s', which is not known here",
                   (int)(name_len > 40 ? 40 : name_len), part);
}

static enum ww_err read_attributes(const char *text, size_t len, bool in_query,
                                   struct ww_p11_uri *out, struct ww_error *err)
{
    const char separator = in_query ? '&' : ';';
    enum ww_err rc = WW_OK;

    while (len > 0 && !rc) {
        const char *end = memchr(text, separator, len);
        size_t part = end ? (size_t)(end - text) : len;
        rc = read_attribute(text, part, in_query, out, err);
        text += part + (end != NULL);
        len -= part + (end != NULL);
    }
    return rc;
}

static enum ww_err check(struct ww_p11_uri *uri, struct ww_error *err)
{
    struct ww_p11_text *source = &uri->pin_source;

    if (uri->type.given && !ww_str_eq(uri->type.text, "private")) {
        return WW_FAIL(err, WW_E_USAGE, "token URI is of type '%s', expected 'private'",
                       uri->type.text);
    }
    if (!uri->object.given && !uri->id.given) {
        return WW_FAIL(err, WW_E_USAGE,
                       "token URI names no key; add 'object=LABEL' or 'id=%%HH'");
    }
    if (uri->module_path.len == 0 || uri->module_path.text[0] != '/') {
        return WW_FAIL(
            err, WW_E_USAGE,
            "token URI has no absolute '?module-path=/...', the library of the "
            "token");
    }
    if (ww_str_starts(source->text, "file:")) {
        memmove(source->text, source->text + 5, source->len - 5 + 1);
        source->len -= 5;
    }
    if (source->given && source->text[0] != '/') {
        return WW_FAIL(err, WW_E_USAGE,
                       "'pin-source' of the token URI must be an absolute path");
    }
    return WW_OK;
}

enum ww_err ww_p11_uri_parse(const char *uri, struct ww_p11_uri *out,
                             struct ww_error *err)
{
    const char *query = NULL;
    const char *path = uri + strlen(SCHEME);
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    if (!ww_token_uri_is(uri)) {
        return WW_FAIL(err, WW_E_USAGE,
                       "'%s' is no token URI, it does not begin with '%s'", uri, SCHEME);
    }
    query = strchr(path, '?');
    rc = read_attributes(path, query ? (size_t)(query - path) : strlen(path), false, out,
                         err);
    if (!rc && query) {
        rc = read_attributes(query + 1, strlen(query + 1), true, out, err);
    }
    return rc ? rc : check(out, err);
}

bool ww_token_uri_has_pin(const char *uri)
{
    struct ww_p11_uri parsed;

    return ww_p11_uri_parse(uri, &parsed, NULL) == WW_OK && parsed.pin_source.given;
}
