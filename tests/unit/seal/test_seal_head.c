/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a sealed file: what is written is read, all else is refused. */
#include "seal_fixture.h"

#include "crypto/aead.h"
#include "seal/seal_head.h"

static struct ww_seal_head example(void)
{
    struct ww_seal_head head = {.cipher = WW_AEAD_AES256_GCM,
                                .chunk_bytes = 64,
                                .plain_bytes = 210,
                                .clear_bytes = 10,
                                .name = "m.safetensors"};
    memset(head.seal_id, 0x21, sizeof(head.seal_id));
    return head;
}

/* Fields 1 to 12 with a clear part of 'c' and a tag of 't'. */
static size_t write_head(const struct ww_seal_head *head, uint8_t *out)
{
    struct ww_error err = {0};
    struct ww_buf begin;
    ww_buf_init(&begin, 2000);
    OK(ww_seal_head_begin(head, &begin, &err));
    size_t n = begin.len;
    memcpy(out, begin.data, n);
    memset(out + n, 'c', head->clear_bytes);
    n += head->clear_bytes;
    memset(out + n, 0, ww_seal_head_padding(head));
    n += ww_seal_head_padding(head);
    memset(out + n, 't', WW_SEAL_HEAD_TAG_BYTES);
    ww_buf_release(&begin);
    return n + WW_SEAL_HEAD_TAG_BYTES;
}

static void a_head_reads_back_and_sizes_follow(void **state)
{
    const struct ww_seal_head head = example();
    struct ww_seal_head back;
    struct ww_error err = {0};
    uint8_t bytes[512];
    uint64_t need = 0;
    (void)state;
    size_t len = write_head(&head, bytes);
    assert_int_equal(len, 64 + 13 + 10 + 1 + 32);
    assert_int_equal(ww_seal_chunks_offset(&head), len);
    assert_int_equal(ww_seal_n_chunks(&head), 4);
    assert_int_equal(ww_seal_last_bytes(&head), 8);
    assert_int_equal(ww_seal_file_bytes(&head), len + 200 + 4 * 16);
    const uint64_t file_bytes = ww_seal_file_bytes(&head);
    OK(ww_seal_head_parse(bytes, 0, file_bytes, &back, &need, &err));
    assert_int_equal(need, 64);
    OK(ww_seal_head_parse(bytes, 64, file_bytes, &back, &need, &err));
    assert_int_equal(need, len);
    OK(ww_seal_head_parse(bytes, len, file_bytes, &back, &need, &err));
    assert_int_equal(need, len);
    assert_memory_equal(&back, &head, sizeof(head));
}

static void whole_chunks_have_no_rest(void **state)
{
    struct ww_seal_head head = example();
    (void)state;
    head.plain_bytes = 10 + 128;
    assert_int_equal(ww_seal_n_chunks(&head), 2);
    assert_int_equal(ww_seal_last_bytes(&head), 64);
    head.plain_bytes = 10;
    assert_int_equal(ww_seal_n_chunks(&head), 0);
    assert_int_equal(ww_seal_last_bytes(&head), 0);
}

static void refused(void (*change)(struct ww_seal_head *), enum ww_err want)
{
    struct ww_seal_head head = example();
    struct ww_seal_head back;
    struct ww_error err = {0};
    uint8_t bytes[2048];
    uint64_t need = 0;
    change(&head);
    size_t len = write_head(&head, bytes);
    FAILS(ww_seal_head_parse(bytes, len, ww_seal_file_bytes(&head), &back, &need, &err),
          want);
}

static void no_cipher(struct ww_seal_head *head)
{
    head->cipher++;
}
static void odd_chunk(struct ww_seal_head *head)
{
    head->chunk_bytes = 96;
}
static void small_chunk(struct ww_seal_head *head)
{
    head->chunk_bytes = 32;
}
static void big_chunk(struct ww_seal_head *head)
{
    head->chunk_bytes = 8 << 20;
}
static void no_name(struct ww_seal_head *head)
{
    head->name[0] = '\0';
}
static void path_out(struct ww_seal_head *head)
{
    memcpy(head->name, "../x", 5);
}
static void absolute(struct ww_seal_head *head)
{
    memcpy(head->name, "/etc/x", 7);
}
static void line(struct ww_seal_head *head)
{
    memcpy(head->name, "a\nb", 4);
}
static void clear_beyond_plain(struct ww_seal_head *head)
{
    head->plain_bytes = 9;
}

static void impossible_heads_are_refused(void **state)
{
    (void)state;
    refused(no_cipher, WW_E_SEALED);
    refused(odd_chunk, WW_E_SEALED);
    refused(small_chunk, WW_E_SEALED);
    refused(big_chunk, WW_E_SEALED);
    refused(no_name, WW_E_SEALED);
    refused(path_out, WW_E_SEALED);
    refused(absolute, WW_E_SEALED);
    refused(line, WW_E_SEALED);
    refused(clear_beyond_plain, WW_E_SEALED);
}

static void lengths_and_padding_are_exact(void **state)
{
    const struct ww_seal_head head = example();
    struct ww_seal_head back;
    struct ww_error err = {0};
    uint8_t bytes[512];
    uint64_t need = 0;
    (void)state;
    size_t len = write_head(&head, bytes);
    const uint64_t full = ww_seal_file_bytes(&head);
    FAILS(ww_seal_head_parse(bytes, len, full - 1, &back, &need, &err), WW_E_SEALED);
    FAILS(ww_seal_head_parse(bytes, len, full + 1, &back, &need, &err), WW_E_SEALED);
    FAILS(ww_seal_head_parse(bytes, 0, 63, &back, &need, &err), WW_E_SEALED);
    bytes[64 + 13 + 10] = 1;
    FAILS(ww_seal_head_parse(bytes, len, full, &back, &need, &err), WW_E_SEALED);
    bytes[64 + 13 + 10] = 0;
    bytes[16] = 2;
    FAILS(ww_seal_head_parse(bytes, len, full, &back, &need, &err), WW_E_VERSION);
    bytes[16] = 1;
    memset(bytes + 32, 0xff, 8);
    FAILS(ww_seal_head_parse(bytes, len, full, &back, &need, &err), WW_E_SEALED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_reads_back_and_sizes_follow),
        cmocka_unit_test(whole_chunks_have_no_rest),
        cmocka_unit_test(impossible_heads_are_refused),
        cmocka_unit_test(lengths_and_padding_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
