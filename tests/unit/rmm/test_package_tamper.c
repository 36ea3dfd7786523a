/* SPDX-License-Identifier: Apache-2.0 */
/* Every part of a package: cut, flipped, exchanged, and put back together by someone who
 * can make digests but no signature. */
#include "rmm_fixture.h"

#include "rmm/pack_file.h"
#include "rmm/unpack_kernel.h"

struct parts {
    struct ww_buf bytes;
    struct ww_pack_head head;
    uint64_t section[2];
    uint64_t end[2];
    uint64_t bundle;
    uint64_t keys;
};

static void look(const struct fx *f, struct parts *p)
{
    struct ww_error err = {0};
    struct ww_pack_file file;
    fx_read(f->pkg, &p->bytes);
    OK(ww_pack_open(f->pkg, &file, &err));
    p->head = file.head;
    for (unsigned i = 0; i < 2; i++) {
        p->section[i] = file.manifest.members[i].offset;
        p->end[i] = p->section[i] + file.manifest.members[i].bytes;
    }
    p->bundle = file.head.manifest_offset + file.head.manifest_bytes;
    p->keys = p->bundle + file.head.bundle_bytes;
    ww_pack_close(&file);
}

static void flip(const struct fx *f, const struct parts *p, uint64_t at)
{
    FILE *file = fopen(f->pkg, "r+b");
    const uint8_t byte = (uint8_t)(p->bytes.data[at] ^ 0x10);
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(&byte, 1, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static void restore(const struct fx *f, const struct parts *p)
{
    fx_write(f->dir, "models.pkg", p->bytes.data, p->bytes.len);
}

/* Put one byte back. */
static void unflip(const struct fx *f, const struct parts *p, uint64_t at)
{
    FILE *file = fopen(f->pkg, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)at, SEEK_SET), 0);
    assert_int_equal(fwrite(p->bytes.data + at, 1, 1, file), 1);
    assert_int_equal(fclose(file), 0);
}

static void flipped_bits_are_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct parts p;
    (void)state;
    fx_pack(f, f->pkg, true, true, 2);
    look(f, &p);
    const struct {
        uint64_t from;
        uint64_t to;
        uint64_t step;
    } ranges[] = {{0, WW_PACK_HEAD_BYTES, 1},
                  {p.section[0], p.end[0], (p.end[0] - p.section[0]) / 20},
                  {p.end[0], p.section[1], 1},
                  {p.section[1], p.end[1], (p.end[1] - p.section[1]) / 20},
                  {p.end[1], p.head.manifest_offset, 1},
                  {p.head.manifest_offset, p.bundle, 31},
                  {p.bundle, p.keys, 101},
                  {p.keys, p.bytes.len, 7}};
    for (size_t r = 0; r < WW_LEN(ranges); r++) {
        for (uint64_t at = ranges[r].from; at < ranges[r].to; at += ranges[r].step) {
            flip(f, &p, at);
            if (!fx_verify(f, f->key, &err)) {
                fail_msg("byte %llu flipped, and verified", (unsigned long long)at);
            }
            ww_error_clear(&err);
            unflip(f, &p, at);
        }
        flip(f, &p, ranges[r].to - 1);
        assert_true(fx_verify(f, f->key, &err) != WW_OK);
        ww_error_clear(&err);
        unflip(f, &p, ranges[r].to - 1);
    }
    OK(fx_verify(f, f->key, &err));
    ww_buf_release(&p.bytes);
    fx_free(f);
}

/* Unpacking refuses what it used, whether anyone verified before or not. */
static void flipped_sections_do_not_unpack(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct parts p;
    (void)state;
    fx_pack(f, f->pkg, true, false, 2);
    look(f, &p);
    for (unsigned m = 0; m < 2; m++) {
        const uint64_t step = (p.end[m] - p.section[m]) / 9;
        for (uint64_t at = p.section[m]; at < p.end[m]; at += step) {
            flip(f, &p, at);
            const enum ww_err rc = fx_unpack(f, m ? "two" : "one", f->base, f->ann, &err);
            assert_int_equal(rc, m ? WW_E_SEALED : rc);
            assert_true(rc != WW_OK);
            fx_nothing(f);
            ww_error_clear(&err);
            unflip(f, &p, at);
        }
    }
    ww_buf_release(&p.bytes);
    fx_free(f);
}

static void cut_packages_are_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct parts p;
    (void)state;
    fx_pack(f, f->pkg, true, true, 2);
    look(f, &p);
    const uint64_t lengths[] = {
        0,        1,        WW_PACK_HEAD_BYTES - 1, WW_PACK_HEAD_BYTES,
        p.end[0], p.end[1], p.head.manifest_offset, p.bundle - 1,
        p.bundle, p.keys,   p.bytes.len - 1};
    for (size_t i = 0; i < WW_LEN(lengths); i++) {
        assert_int_equal(truncate(f->pkg, (off_t)lengths[i]), 0);
        FAILS(ww_pack_list(f->pkg, &report, &err), WW_E_MALFORMED);
        restore(f, &p);
    }
    assert_int_equal(truncate(f->pkg, (off_t)p.bytes.len + 1), 0);
    FAILS(ww_pack_list(f->pkg, &report, &err), WW_E_MALFORMED);
    ww_buf_release(&p.bytes);
    fx_free(f);
}

/* The head's digests are made anew, as anyone can: the signature must tell. */
/* The package with another manifest, as it is stored, and a head that fits. */
static void put_manifest(const struct fx *f, const struct parts *p, const uint8_t *stored,
                         size_t len)
{
    struct ww_error err = {0};
    struct parts forged = *p;
    uint8_t head[WW_PACK_HEAD_BYTES];
    forged.head.manifest_bytes = len;
    ww_sha256_of(stored, len, forged.head.manifest_sha256);
    ww_pack_head_write(&forged.head, head);
    ww_buf_init(&forged.bytes, 1U << 24);
    OK(ww_buf_add(&forged.bytes, p->bytes.data, (size_t)p->head.manifest_offset, &err));
    OK(ww_buf_add(&forged.bytes, stored, len, &err));
    OK(ww_buf_add(&forged.bytes, p->bytes.data + p->bundle,
                  p->bytes.len - (size_t)p->bundle, &err));
    memcpy(forged.bytes.data, head, sizeof(head));
    restore(f, &forged);
    ww_buf_release(&forged.bytes);
}

static void a_forged_manifest_is_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct parts p;
    struct ww_buf text;
    (void)state;
    fx_pack(f, f->pkg, true, true, 2);
    look(f, &p);
    fx_manifest(p.bytes.data + p.head.manifest_offset, (size_t)p.head.manifest_bytes,
                &text);
    uint8_t *name = memmem(text.data, text.len, "\"name\":\"one\"", 12);
    assert_non_null(name);
    name[8] = 'u';
    put_manifest(f, &p, text.data, text.len);
    OK(fx_verify(f, NULL, &err));
    FAILS(fx_verify(f, f->key, &err), WW_E_TAMPERED);
    name[8] = 'o';
    uint8_t *shape = memmem(text.data, text.len, "\"shape\":[", 9);
    bool known = false;
    assert_non_null(shape);
    OK(ww_pack_check_base(f->pkg, f->base, &known, &err));
    shape[9]++; /* of a tensor of the base, whose root stays */
    put_manifest(f, &p, text.data, text.len);
    FAILS(ww_pack_check_base(f->pkg, f->base, &known, &err), WW_E_UNRELATED);
    ww_buf_release(&text);
    ww_buf_release(&p.bytes);
    fx_free(f);
}

/* One after the other. */
static void join(struct ww_buf *out, const struct ww_buf *a, const struct ww_buf *b)
{
    struct ww_error err = {0};
    ww_buf_clear(out);
    OK(ww_buf_add(out, a->data, a->len, &err));
    OK(ww_buf_add(out, b->data, b->len, &err));
}

static void refused(struct fx *f, const struct parts *p, const struct ww_buf *stored,
                    enum ww_err code)
{
    struct ww_error err = {0};
    put_manifest(f, p, stored->data, stored->len);
    FAILS(fx_verify(f, NULL, &err), code);
}

static void a_manifest_is_coded_as_an_encoder_would(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct parts p;
    struct ww_buf text;
    struct ww_buf coded;
    struct ww_buf made;
    (void)state;
    fx_pack(f, f->pkg, true, true, 2);
    look(f, &p);
    fx_manifest(p.bytes.data + p.head.manifest_offset, (size_t)p.head.manifest_bytes,
                &text);
    ww_buf_init(&coded, 1U << 20);
    ww_buf_init(&made, 1U << 20);
    OK(ww_pack_text_code(&text, &coded, &err));
    put_manifest(f, &p, coded.data, coded.len);
    OK(fx_verify(f, NULL, &err));
    join(&made, &coded, &text);
    refused(f, &p, &made, WW_E_MALFORMED);
    join(&made, &text, &coded);
    refused(f, &p, &made, WW_E_JSON);
    for (size_t at = 1; at < 8; at++) { /* length, form and mode */
        coded.data[at] ^= 2;
        put_manifest(f, &p, coded.data, coded.len);
        const enum ww_err rc = fx_verify(f, NULL, &err);
        /* Of two characters less a coder may leave the same bytes: the text is cut then.
         */
        assert_true(rc == WW_E_MALFORMED || (at < 5 && rc == WW_E_JSON));
        coded.data[at] ^= 2;
    }
    memset(text.data, '[', text.len);
    ww_buf_clear(&coded);
    OK(ww_pack_text_code(&text, &coded, &err));
    refused(f, &p, &coded, WW_E_LIMIT);
    ww_buf_release(&made);
    ww_buf_release(&coded);
    ww_buf_release(&text);
    ww_buf_release(&p.bytes);
    fx_free(f);
}

/* The table of a member with another digest of a chunk, where it lies in the package;
 * false when it would not have the same length there. */
static bool forge_table(const struct ww_pack_view *view, struct ww_pack_table_chunk *c,
                        const uint8_t digest[WW_SHA256_BYTES], struct ww_buf *package)
{
    const uint64_t end = view->member->offset + view->member->bytes - 8;
    struct ww_error err = {0};
    struct ww_buf text;
    struct ww_buf coded;
    uint64_t len = 0;
    memcpy(&len, package->data + end, sizeof(len));
    ww_buf_init(&text, 1 << 20);
    ww_buf_init(&coded, 1 << 20);
    memcpy(c->sha256, digest, WW_SHA256_BYTES);
    OK(ww_pack_table_write(&view->table, &text, &err));
    OK(ww_pack_text_code(&text, &coded, &err));
    const bool fits = coded.len == len;
    if (fits) {
        memcpy(package->data + end - len, coded.data, coded.len);
    }
    ww_buf_release(&text);
    ww_buf_release(&coded);
    return fits;
}

/* Change a byte in a chunk of member 0's large tensor, and make the table's digest of it
 * anew. */
static void forge_chunk(const struct fx *f)
{
    struct ww_error err = {0};
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_buf bytes;
    struct ww_pack_table_chunk *c = NULL;
    bool forged = false;
    fx_read(f->pkg, &bytes);
    OK(ww_pack_open(f->pkg, &file, &err));
    OK(ww_pack_view_open(&file, 0, NULL, &view, &err));
    for (uint32_t p = 0; p < view.table.n_parts; p++) {
        const struct ww_pack_table_part *part = &view.table.parts[p];
        if (part->tensor && strcmp(part->tensor, "large") == 0) {
            c = &view.table.chunks[part->first_chunk];
        }
    }
    assert_non_null(c);
    uint8_t *at = bytes.data + file.manifest.members[0].offset + c->at;
    for (unsigned other = 1; other < 256 && !forged; other++) {
        uint8_t digest[WW_SHA256_BYTES];
        at[c->len - 1] ^= (uint8_t)other;
        ww_sha256_of(at, c->len, digest);
        forged = forge_table(&view, c, digest, &bytes);
        at[c->len - 1] ^= forged ? 0 : (uint8_t)other;
    }
    assert_true(forged);
    ww_pack_view_close(&view);
    ww_pack_close(&file);
    fx_write(f->dir, "models.pkg", bytes.data, bytes.len);
    ww_buf_release(&bytes);
}

/* A reader that knows version 2 alone refuses them, so nobody may take them for that. */
static void texts_of_version_3_are_not_read_in_version_2(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_file file;
    struct ww_pack_view view;
    struct ww_unpack_rooms rooms;
    struct ww_unpack_room *room = NULL;
    unsigned refused = 0;
    (void)state;
    OK(ww_pack_open(WW_VECTORS "/packages/v2.pkg", &file, &err));
    assert_true(file.manifest.members[0].old && file.manifest.members[1].old);
    ww_pack_close(&file);
    fx_pack(f, f->pkg, false, false, 1);
    OK(ww_pack_open(f->pkg, &file, &err));
    struct ww_pack_manifest_member *m = &file.manifest.members[0];
    assert_false(m->old);
    m->old = true;
    FAILS(ww_pack_view_open(&file, 0, NULL, &view, &err), WW_E_MALFORMED);
    assert_non_null(strstr(err.text, "table is coded as in no package of version 2"));
    m->old = false;
    OK(ww_pack_view_open(&file, 0, NULL, &view, &err));
    m->old = true;
    ww_unpack_rooms_init(&rooms);
    OK(ww_unpack_rooms_take(&rooms, &room, &err));
    uint8_t *out = malloc(WW_CHUNK_BYTES);
    for (uint32_t p = 0; p < view.table.n_parts; p++) {
        const struct ww_pack_table_part *part = &view.table.parts[p];
        struct ww_error why = {0};
        if (part->predicted || part->n_chunks != 1 || part->bytes > WW_CHUNK_BYTES) {
            continue;
        }
        const enum ww_err rc = ww_unpack_chunk(&view, part, 0, NULL, room, out, &why);
        refused += rc == WW_E_MALFORMED && strstr(why.text, "a text that is coded as in");
    }
    assert_true(refused > 0);
    free(out);
    ww_unpack_rooms_give(&rooms, room);
    ww_unpack_rooms_release(&rooms);
    ww_pack_view_close(&view);
    ww_pack_close(&file);
    fx_free(f);
}

/* Tables are under the signature by the sections' digests alone. */
static void a_tensor_that_must_be_signed_is_read_from_a_section_that_is(void **state)
{
    static const char *const after[] = {NULL, "one"};
    static const char *const names[] = {"one", "again"};
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_signkey *key = NULL;
    struct ww_pack_report report;
    (void)state;
    OK(ww_signkey_load(fx_name(f->key, ".key"), NULL, &key, &err));
    const struct ww_signer signer = {.key = key};
    const struct ww_pack_member members[] = {{"one", f->one, NULL, 0},
                                             {"again", f->one, NULL, 0}};
    const struct ww_pack_options how = {
        .base = f->base, .after = after, .signer = &signer};
    OK(ww_pack_create(f->pkg, members, 2, &how, &report, &err));
    ww_pack_report_release(&report);
    const struct ww_unpack_options anyone = {.base = f->base};
    const struct ww_unpack_options signed_by = {.base = f->base,
                                                .public_key = fx_name(f->key, ".pub")};
    for (size_t i = 0; i < WW_LEN(names); i++) {
        OK(ww_unpack_tensor(f->pkg, names[i], "large", &signed_by, fx_ignore, NULL,
                            &err));
    }
    forge_chunk(f);
    for (size_t i = 0; i < WW_LEN(names); i++) {
        ww_error_clear(&err);
        assert_int_not_equal(
            ww_unpack_tensor(f->pkg, names[i], "large", &anyone, fx_ignore, NULL, &err),
            WW_E_TAMPERED);
        ww_error_clear(&err);
        FAILS(ww_unpack_tensor(f->pkg, names[i], "large", &signed_by, fx_ignore, NULL,
                               &err),
              WW_E_TAMPERED);
        assert_non_null(strstr(err.text, "the section of member 'one'"));
    }
    ww_signkey_free(key);
    fx_free(f);
}

static void another_signer_is_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    char *other = fx_join(f->dir, "other");
    (void)state;
    OK(ww_signkey_create(other, WW_CURVE_P256, NULL, &err));
    fx_pack(f, f->pkg, false, true, 2);
    FAILS(fx_verify(f, other, &err), WW_E_UNTRUSTED);
    OK(fx_verify(f, f->key, &err));
    free(other);
    fx_free(f);
}

/* Keys of another package, with the same recipients. */
static void exchanged_keys_are_refused(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct parts a;
    struct parts b;
    uint8_t head[WW_PACK_HEAD_BYTES];
    struct ww_sha256 *sha = NULL;
    struct ww_pack_report report;
    (void)state;
    fx_pack(f, f->pkg, true, false, 2);
    look(f, &a);
    assert_int_equal(unlink(f->pkg), 0);
    fx_pack(f, f->pkg, true, false, 2);
    look(f, &b);
    assert_int_equal(a.head.keys_bytes, b.head.keys_bytes);
    memcpy(b.bytes.data + b.keys, a.bytes.data + a.keys, (size_t)a.head.keys_bytes);
    OK(ww_sha256_new(&sha, &err));
    ww_sha256_update(sha, b.bytes.data + b.bundle, b.bytes.len - (size_t)b.bundle);
    ww_sha256_final(sha, b.head.tail_sha256);
    ww_sha256_free(sha);
    ww_pack_head_write(&b.head, head);
    memcpy(b.bytes.data, head, sizeof(head));
    restore(f, &b);
    FAILS(ww_pack_list(f->pkg, &report, &err), WW_E_MALFORMED);
    ww_buf_release(&a.bytes);
    ww_buf_release(&b.bytes);
    fx_free(f);
}

static void a_newer_version_is_refused_by_name(void **state)
{
    struct fx *f = fx_new();
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct parts p;
    (void)state;
    fx_pack(f, f->pkg, false, false, 1);
    look(f, &p);
    p.bytes.data[16]++;
    restore(f, &p);
    FAILS(ww_pack_list(f->pkg, &report, &err), WW_E_VERSION);
    ww_buf_release(&p.bytes);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_bits_are_refused),
        cmocka_unit_test(flipped_sections_do_not_unpack),
        cmocka_unit_test(cut_packages_are_refused),
        cmocka_unit_test(a_forged_manifest_is_refused),
        cmocka_unit_test(a_manifest_is_coded_as_an_encoder_would),
        cmocka_unit_test(texts_of_version_3_are_not_read_in_version_2),
        cmocka_unit_test(a_tensor_that_must_be_signed_is_read_from_a_section_that_is),
        cmocka_unit_test(another_signer_is_refused),
        cmocka_unit_test(exchanged_keys_are_refused),
        cmocka_unit_test(a_newer_version_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
