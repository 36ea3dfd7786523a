/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What makes a ledger evidence: every line bears a signature of one key, states its
 * place, and holds the hash of the line before it. So a changed line fails by its
 * signature, a moved or removed one by its place, an exchanged one by the hash. Lines cut
 * off at the end cannot be told from lines that were never written; whoever fears that
 * keeps the hash of the last line elsewhere.
 */
#include "trace/ledger_check.h"

#include <string.h>

#include "sign/bundle.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/str.h"

struct line {
    const uint8_t *text;
    size_t len;
};

static bool next_line(const uint8_t *text, size_t len, size_t *at, struct line *out)
{
    const uint8_t *end = *at < len ? memchr(text + *at, '\n', len - *at) : NULL;

    if (!end) {
        return false;
    }
    *out = (struct line){text + *at, (size_t)(end - (text + *at))};
    *at += out->len + 1;
    return true;
}

/* Findings of the modules below are about one line of this ledger. */
static enum ww_err in_line(const struct ww_ledger *ledger, uint64_t number,
                           const struct ww_error *why, struct ww_error *err)
{
    const enum ww_err_class cls = ww_err_class_of(why->code);
    const enum ww_err code = cls == WW_CLASS_MALFORMED ? WW_E_LEDGER : why->code;

    return WW_FAIL(err, code, "ledger '%s': line %llu: %s", ledger->path,
                   (unsigned long long)number + 1, why->text);
}

static enum ww_err take_key(struct ww_ledger *ledger, const struct ww_ledger_entry *head,
                            struct ww_error *err)
{
    if (head->kind != WW_LEDGER_HEAD) {
        return WW_FAIL(err, WW_E_LEDGER,
                       "it is no head, so the file does not start "
                       "where the ledger did");
    }
    if (ledger->key) {
        return WW_OK;
    }
    return ww_pubkey_from_pem((const uint8_t *)head->public_key, strlen(head->public_key),
                              &ledger->key, err);
}

static enum ww_err check_signature(const struct ww_ledger *ledger,
                                   struct ww_bundle *bundle, struct ww_error *err)
{
    struct ww_verifier verifier;
    struct ww_error why = {0};
    enum ww_err rc = ww_verifier_of_key(ledger->key, &verifier, err);

    if (rc) {
        return rc;
    }
    rc = ww_bundle_check(bundle, &verifier, NULL, &why);
    if (rc == WW_E_SIGNATURE) {
        return WW_FAIL(
            err, WW_E_TAMPERED,
            "it was changed after it was signed: its signature does not verify");
    }
    return rc ? WW_FAIL(err, rc, "%s", why.text) : WW_OK;
}

static enum ww_err open_line(struct ww_ledger *ledger, const struct line *line,
                             bool first, struct ww_ledger_entry *entry,
                             struct ww_error *err)
{
    struct ww_bundle bundle;
    enum ww_err rc = ww_bundle_parse(line->text, line->len, &bundle, err);

    if (rc) {
        return rc;
    }
    if (first && !ledger->key) {
        /* Read before its signature is checked, since the key is in it. */
        rc = ww_ledger_entry_read(bundle.payload.data, bundle.payload.len, entry, err);
        if (!rc) {
            rc = take_key(ledger, entry, err);
        }
        ww_ledger_entry_release(entry);
    }
    if (!rc) {
        rc = check_signature(ledger, &bundle, err);
    }
    if (!rc) {
        rc = ww_ledger_entry_read(bundle.payload.data, bundle.payload.len, entry, err);
    }
    if (!rc && first) {
        rc = take_key(ledger, entry, err);
    }
    ww_bundle_release(&bundle);
    return rc;
}

/* Does a later line hold that entry? Only for the words of a refusal. */
static bool stands_later(const uint8_t *text, size_t len, size_t at, uint64_t seq)
{
    struct line line;
    bool found = false;

    while (!found && next_line(text, len, &at, &line)) {
        struct ww_bundle bundle;
        struct ww_ledger_entry entry;
        if (ww_bundle_parse(line.text, line.len, &bundle, NULL)) {
            continue;
        }
        if (!ww_ledger_entry_read(bundle.payload.data, bundle.payload.len, &entry,
                                  NULL)) {
            found = entry.seq == seq;
            ww_ledger_entry_release(&entry);
        }
        ww_bundle_release(&bundle);
    }
    return found;
}

static enum ww_err check_place(const struct ww_ledger *ledger,
                               const struct ww_ledger_entry *entry, const uint8_t *text,
                               size_t len, size_t at, struct ww_error *err)
{
    if (entry->seq == ledger->n) {
        if (memcmp(entry->previous, ledger->last, WW_SHA256_BYTES) != 0) {
            return WW_FAIL(err, WW_E_TAMPERED,
                           "it does not follow the line before it, which was exchanged");
        }
        return WW_OK;
    }
    if (entry->seq > ledger->n && !stands_later(text, len, at, ledger->n)) {
        return WW_FAIL(
            err, WW_E_TAMPERED,
            "it holds entry %llu where entry %llu is missing: lines were cut out",
            (unsigned long long)entry->seq, (unsigned long long)ledger->n);
    }
    return WW_FAIL(err, WW_E_TAMPERED,
                   "it holds entry %llu where entry %llu belongs: lines were moved or "
                   "repeated",
                   (unsigned long long)entry->seq, (unsigned long long)ledger->n);
}

static enum ww_err check_meaning(const struct ww_ledger *ledger,
                                 const struct ww_ledger_entry *entry,
                                 struct ww_error *err)
{
    const struct ww_ledger_entry *twin = NULL;

    if (entry->kind == WW_LEDGER_HEAD && entry->seq > 0) {
        return WW_FAIL(err, WW_E_LEDGER, "a second head: two ledgers were joined");
    }
    if (entry->kind != WW_LEDGER_COPY) {
        return WW_OK;
    }
    twin = ww_ledger_find(ledger, entry->copy.recipient);
    if (twin) {
        return WW_FAIL(err, WW_E_LEDGER, "recipient '%s' has entry %llu already",
                       entry->copy.recipient, (unsigned long long)twin->seq);
    }
    if (ledger->entries[entry->copy.model].kind != WW_LEDGER_MODEL) {
        return WW_FAIL(err, WW_E_LEDGER, "the copy names entry %llu, which is no model",
                       (unsigned long long)entry->copy.model);
    }
    return WW_OK;
}

static enum ww_err keep(struct ww_ledger *ledger, const struct ww_ledger_entry *entry,
                        struct ww_error *err)
{
    if (ledger->n == ledger->capacity) {
        const size_t capacity = ledger->capacity ? 2 * ledger->capacity : 64;
        struct ww_ledger_entry *more =
            ww_realloc_array(ledger->entries, capacity, sizeof(*more));
        if (!more) {
            return WW_FAIL_MEMORY(err, "a ledger");
        }
        ledger->entries = more;
        ledger->capacity = capacity;
    }
    ledger->entries[ledger->n++] = *entry;
    return WW_OK;
}

enum ww_err ww_ledger_check(struct ww_ledger *ledger, const uint8_t *text, size_t len,
                            struct ww_error *err)
{
    struct line line;
    size_t at = 0;

    while (next_line(text, len, &at, &line)) {
        struct ww_ledger_entry entry = {0};
        struct ww_error why = {0};
        const uint64_t number = ledger->n;
        enum ww_err rc = open_line(ledger, &line, number == 0, &entry, &why);
        if (!rc) {
            rc = check_place(ledger, &entry, text, len, at, &why);
        }
        if (!rc) {
            rc = check_meaning(ledger, &entry, &why);
        }
        if (!rc) {
            rc = keep(ledger, &entry, &why);
        }
        if (rc) {
            ww_ledger_entry_release(&entry);
            return in_line(ledger, number, &why, err);
        }
        ww_sha256_of(line.text, line.len, ledger->last);
        ledger->size_bytes = at;
        ledger->next = ledger->n;
    }
    ledger->torn_bytes = len - ledger->size_bytes;
    return WW_OK;
}
