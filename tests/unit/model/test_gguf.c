/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values: bit for bit those of the gguf package, kept in tests/vectors/gguf. Refusals:
 * one small file that is right, and every way of damage done to it.
 */
#include "model/gguf.h"

#include "model/f8.h"
#include "model/gguf_names.h"
#include "util/alloc.h"
#include "util/buf.h"
#include "util/fs.h"
#include "util/num.h"
#include "ww_test.h"

/* Headers by hand. */
struct built {
    struct ww_buf buf;
};

static void put_u32(struct built *b, uint32_t v)
{
    assert_int_equal(ww_buf_add_u32le(&b->buf, v, NULL), WW_OK);
}

static void put_u64(struct built *b, uint64_t v)
{
    assert_int_equal(ww_buf_add_u64le(&b->buf, v, NULL), WW_OK);
}

static void put_str(struct built *b, const char *s)
{
    put_u64(b, strlen(s));
    assert_int_equal(ww_buf_add(&b->buf, s, strlen(s), NULL), WW_OK);
}

static void start(struct built *b, uint32_t version, uint64_t tensors, uint64_t keys)
{
    ww_buf_init(&b->buf, 1 << 20);
    assert_int_equal(ww_buf_add(&b->buf, "GGUF", 4, NULL), WW_OK);
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, keys);
}

static void put_key_u32(struct built *b, const char *key, uint32_t v)
{
    put_str(b, key);
    put_u32(b, 4);
    put_u32(b, v);
}

static void put_tensor(struct built *b, const char *name, uint64_t wide, uint64_t rows,
                       uint32_t type, uint64_t offset)
{
    put_str(b, name);
    put_u32(b, 2);
    put_u64(b, wide);
    put_u64(b, rows);
    put_u32(b, type);
    put_u64(b, offset);
}

/* Zeros up to the alignment and n bytes behind it. */
static void put_data(struct built *b, uint64_t alignment, size_t n)
{
    const uint8_t zero = 0;
    const size_t end = (size_t)ww_round_up(b->buf.len, alignment) + n;

    while (b->buf.len < end) {
        assert_int_equal(ww_buf_add(&b->buf, &zero, 1, NULL), WW_OK);
    }
}

static enum ww_err parse(struct built *b, struct ww_error *err)
{
    struct ww_gguf_header header;
    enum ww_err rc =
        ww_gguf_parse(b->buf.data, b->buf.len, b->buf.len, "x.gguf", &header, err);

    if (!rc) {
        ww_gguf_header_release(&header);
    }
    ww_buf_release(&b->buf);
    return rc;
}

/* Refused, with these words in the text. */
static void refused(struct built *b, const char *words)
{
    struct ww_error err = {0};

    assert_int_equal(parse(b, &err), WW_E_GGUF);
    if (!strstr(err.text, words)) {
        fail_msg("'%s' does not say '%s'", err.text, words);
    }
}

static void blocks_are_those_of_the_package(void **state)
{
    struct ww_gguf_file file;
    struct ww_error err = {0};
    struct ww_buf want;
    float got[512];
    (void)state;

    ww_buf_init(&want, 1 << 20);
    OK(ww_file_read(WW_VECTORS "/gguf/blocks.f32", &want, &err));
    OK(ww_gguf_open(WW_VECTORS "/gguf/blocks.gguf", &file, &err));
    assert_int_equal(file.header.n_tensors, WW_GGUF_TYPE_COUNT);
    assert_int_equal(want.len, WW_GGUF_TYPE_COUNT * sizeof(got));
    for (uint32_t t = 0; t < file.header.n_tensors; t++) {
        const struct ww_gguf_tensor *tensor = &file.header.tensors[t];
        uint8_t *bytes = test_malloc((size_t)tensor->n_bytes);
        assert_string_equal(ww_gguf_type_name(tensor->type), tensor->name);
        assert_int_equal(tensor->shape[0], 2);
        assert_int_equal(tensor->shape[1], 256);
        OK(ww_pread_full(file.fd, bytes, (size_t)tensor->n_bytes, tensor->offset, "x",
                         &err));
        ww_gguf_to_float(tensor->type, bytes,
                         (size_t)tensor->n_bytes / ww_gguf_block_bytes(tensor->type),
                         got);
        assert_memory_equal(got, want.data + t * sizeof(got), sizeof(got));
        test_free(bytes);
    }
    ww_gguf_close(&file);
    ww_buf_release(&want);
}

static bool is_uneven(enum ww_gguf_type type)
{
    return type == WW_GGUF_IQ4_NL || type == WW_GGUF_IQ4_XS || type == WW_GGUF_MXFP4;
}

/* Within a block all values lie a whole number of steps apart. */
static void steps_are_the_distances_of_values(void **state)
{
    struct ww_gguf_file file;
    struct ww_error err = {0};
    (void)state;

    OK(ww_gguf_open(WW_VECTORS "/gguf/blocks.gguf", &file, &err));
    for (uint32_t t = 0; t < file.header.n_tensors; t++) {
        const struct ww_gguf_tensor *tensor = &file.header.tensors[t];
        const size_t n_blocks =
            (size_t)tensor->n_bytes / ww_gguf_block_bytes(tensor->type);
        uint8_t *bytes = test_malloc((size_t)tensor->n_bytes);
        float v[512];
        double step[512];
        double low[512];
        double high[512];
        OK(ww_pread_full(file.fd, bytes, (size_t)tensor->n_bytes, tensor->offset, "x",
                         &err));
        ww_gguf_to_float(tensor->type, bytes, n_blocks, v);
        ww_gguf_steps(tensor->type, bytes, n_blocks, step);
        ww_gguf_cells(tensor->type, bytes, n_blocks, v, low, high);
        for (unsigned e = 0; e < 512; e++) {
            assert_true(low[e] <= (double)v[e] && (double)v[e] <= high[e]);
            if (isfinite(high[e] - low[e])) {
                NEAR(high[e] - low[e], step[e], 1e-12 * fabs((double)v[e]));
            } else {
                assert_true(step[e] > 0);
            }
        }
        for (unsigned e = 0; e < 512 && !is_uneven(tensor->type); e++) {
            const double apart = ((double)v[e] - (double)v[e / 16 * 16]);
            assert_true((step[e] == 0) == (ww_gguf_block_elements(tensor->type) == 1) ||
                        apart == 0);
            if (step[e] > 0 && step[e] < WW_STEP_LOST) {
                NEAR(apart / step[e], round(apart / step[e]), 1e-3);
            }
        }
        test_free(bytes);
    }
    ww_gguf_close(&file);
}

/* Two bytes of each block say which of its sixteen values an element has: all in turn. */
static void steps_of_uneven_values_are_those_around_them(void **state)
{
    /* A half of 1; eight scales of 33 - 32; an exponent of 128, for values doubled. */
    static const uint8_t heads[][8] = {
        {0, 0x3c}, {0, 0x3c, 0xaa, 0xaa, 0x11, 0x11, 0x11, 0x11}, {128}};
    static const struct {
        enum ww_gguf_type type;
        unsigned head;
        unsigned n;
    } cases[] = {
        {WW_GGUF_IQ4_NL, 2, 32}, {WW_GGUF_IQ4_XS, 8, 256}, {WW_GGUF_MXFP4, 1, 32}};
    (void)state;

    for (unsigned c = 0; c < 3; c++) {
        uint8_t block[136] = {0};
        float v[256];
        double step[256];
        double low[256];
        double high[256];
        memcpy(block, heads[c], cases[c].head);
        for (unsigned i = 0; i < cases[c].n / 2; i++) {
            block[cases[c].head + i] = (uint8_t)(i % 16 * 17);
        }
        ww_gguf_to_float(cases[c].type, block, 1, v);
        ww_gguf_steps(cases[c].type, block, 1, step);
        ww_gguf_cells(cases[c].type, block, 1, v, low, high);
        for (unsigned e = 0; e < cases[c].n; e++) {
            double above = HUGE_VAL;
            double below = -HUGE_VAL;
            for (unsigned i = 0; i < cases[c].n; i++) {
                above = v[i] > v[e] && (double)v[i] < above ? (double)v[i] : above;
                below = v[i] < v[e] && (double)v[i] > below ? (double)v[i] : below;
            }
            /* Half way to both, or without an end. */
            assert_true((below > -HUGE_VAL ? (below + (double)v[e]) / 2 : below) ==
                        low[e]);
            assert_true((above < HUGE_VAL ? (above + (double)v[e]) / 2 : above) ==
                        high[e]);
            above = above < HUGE_VAL ? above : 2 * (double)v[e] - below;
            below = below > -HUGE_VAL ? below : 2 * (double)v[e] - above;
            NEAR(step[e], (above - below) / 2, 0);
        }
        /* The last of the sixteen is where it should be. */
        NEAR(v[cases[c].n - 17], c == 2 ? -12 : 113, 0);
    }
}

/* Weights of such a block are all one value, however far from it they were. */
static void blocks_of_scale_zero_have_lost_their_weights(void **state)
{
    uint8_t block[84] = {0}; /* Q2_K */
    double step[256];
    double low[256];
    double high[256];
    float v[256];
    (void)state;

    block[1] = 3;     /* the scale of the second sixteen */
    block[81] = 0x3c; /* a half of 1 */
    ww_gguf_to_float(WW_GGUF_Q2_K, block, 1, v);
    ww_gguf_steps(WW_GGUF_Q2_K, block, 1, step);
    ww_gguf_cells(WW_GGUF_Q2_K, block, 1, v, low, high);
    for (unsigned e = 0; e < 256; e++) {
        NEAR(step[e], e / 16 == 1 ? 3 : WW_STEP_LOST, 0);
        assert_true(e / 16 == 1 || (isinf(low[e]) && isinf(high[e])));
    }
    NEAR(high[16], 1.5, 0);
}

static void types_of_other_programs_are_refused_by_name(void **state)
{
    static const struct {
        uint32_t number;
        const char *words;
    } cases[] = {{16, "type 16 (IQ2_XXS), which is not read"},
                 {21, "type 21 (IQ3_S)"},
                 {29, "type 29 (IQ1_M)"},
                 {40, "type 40 (NVFP4)"},
                 {28, "type 28 (F64)"},
                 {99, "type 99, which is not read; those that are: F32 F16 Q4_0"}};
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct built b;
        start(&b, 3, 1, 0);
        put_tensor(&b, "t", 256, 1, cases[i].number, 0);
        put_data(&b, 32, 64);
        refused(&b, cases[i].words);
    }
}

static void keys_of_every_type_are_read_over(void **state)
{
    struct ww_gguf_header header;
    struct ww_error err = {0};
    struct built b;
    uint64_t v = 0;
    static const uint8_t bytes_of[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    (void)state;

    start(&b, 2, 0, 14);
    for (uint32_t type = 0; type < 13; type++) {
        char name[8];
        snprintf(name, sizeof(name), "k%u", type);
        put_str(&b, name);
        put_u32(&b, type);
        if (type == 8) {
            put_str(&b, "text");
        } else if (type == 9) {
            put_u32(&b, 9); /* an array of one array of two strings */
            put_u64(&b, 1);
            put_u32(&b, 8);
            put_u64(&b, 2);
            put_str(&b, "a");
            put_str(&b, "");
        }
        for (unsigned i = 0; i < bytes_of[type]; i++) {
            const uint8_t byte = i == 0;
            OK(ww_buf_add(&b.buf, &byte, 1, &err));
        }
    }
    put_str(&b, "negative");
    put_u32(&b, 5);
    put_u32(&b, UINT32_MAX);
    OK(ww_gguf_parse(b.buf.data, b.buf.len, b.buf.len, "x.gguf", &header, &err));
    for (unsigned type = 0; type < 13; type++) {
        char name[8];
        snprintf(name, sizeof(name), "k%u", type);
        const bool whole = type < 6 || type == 10 || type == 11;
        assert_int_equal(ww_gguf_get_u64(&header, name, &v), whole);
        assert_true(!whole || v == 1);
    }
    assert_false(ww_gguf_get_u64(&header, "negative", &v));
    assert_true(ww_gguf_is(&header, "k8", "text"));
    assert_false(ww_gguf_is(&header, "k8", "tex"));
    ww_gguf_header_release(&header);
    ww_buf_release(&b.buf);
}

static void damaged_beginnings_are_refused(void **state)
{
    struct built b;
    (void)state;

    start(&b, 1, 0, 0);
    refused(&b, "version 1");
    start(&b, 3u << 24, 0, 0);
    refused(&b, "big-endian");
    start(&b, 3, 0, 0);
    b.buf.data[0] = 'X';
    refused(&b, "does not begin");
    start(&b, 3, UINT64_MAX, 0);
    refused(&b, "more than the file holds");
    start(&b, 3, 0, UINT64_C(1) << 61);
    refused(&b, "more than the file holds");
    start(&b, 3, 0, 1);
    put_u64(&b, 5);
    refused(&b, "more than the file holds");
}

static void damaged_keys_are_refused(void **state)
{
    struct built b;
    (void)state;

    start(&b, 3, 0, 1);
    put_u64(&b, UINT64_MAX); /* a length to which one cannot be added */
    put_u64(&b, 0);
    refused(&b, "name of a key");
    start(&b, 3, 0, 1);
    put_str(&b, "");
    put_u64(&b, 0);
    refused(&b, "name of a key");
    start(&b, 3, 0, 1);
    put_str(&b, "a\nb");
    put_u64(&b, 0);
    refused(&b, "no clean UTF-8");
    start(&b, 3, 0, 1);
    put_str(&b, "key");
    put_u32(&b, 13);
    refused(&b, "type 13");
    start(&b, 3, 0, 1);
    put_str(&b, "key");
    put_u32(&b, 8);
    put_u64(&b, UINT64_MAX - 3);
    refused(&b, "text of");
    start(&b, 3, 0, 2);
    put_key_u32(&b, "key", 1);
    put_key_u32(&b, "key", 2);
    refused(&b, "there twice");
    start(&b, 3, 0, 1);
    put_str(&b, "key");
    put_u32(&b, 7);
    put_u32(&b, 2);
    refused(&b, "neither true nor false");
}

static void damaged_arrays_are_refused(void **state)
{
    struct built b;
    (void)state;

    start(&b, 3, 0, 1);
    put_str(&b, "key");
    put_u32(&b, 9);
    put_u32(&b, 12);
    put_u64(&b, UINT64_C(1) << 61); /* times eight wraps to zero */
    refused(&b, "array of");
    start(&b, 3, 0, 1);
    put_str(&b, "key");
    put_u32(&b, 9);
    put_u32(&b, 8);
    put_u64(&b, UINT64_C(1) << 60);
    refused(&b, "array of");
    start(&b, 3, 0, 1);
    put_str(&b, "key");
    put_u32(&b, 9);
    for (unsigned i = 0; i < WW_GGUF_MAX_NESTING + 1; i++) {
        put_u32(&b, 9);
        put_u64(&b, 1);
    }
    refused(&b, "nests arrays");
}

static void alignments_that_are_no_power_of_two_are_refused(void **state)
{
    static const uint32_t bad[] = {0, 3, 48, UINT32_C(1) << 31};
    struct ww_error err = {0};
    struct built b;
    (void)state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        start(&b, 3, 0, 1);
        put_key_u32(&b, "general.alignment", bad[i]);
        refused(&b, "general.alignment");
    }
    start(&b, 3, 0, 1);
    put_str(&b, "general.alignment");
    put_u32(&b, 10);
    put_u64(&b, 32);
    refused(&b, "of type u32");
    start(&b, 3, 1, 1);
    put_key_u32(&b, "general.alignment", 128);
    put_tensor(&b, "t", 4, 2, 0, 0);
    put_data(&b, 128, 32);
    OK(parse(&b, &err));
}

static void one_tensor(struct built *b, uint64_t wide, uint64_t rows, uint32_t type,
                       uint64_t offset, size_t data)
{
    start(b, 3, 1, 0);
    put_tensor(b, "t", wide, rows, type, offset);
    put_data(b, 32, data);
}

static void damaged_tensors_are_refused(void **state)
{
    struct ww_error err = {0};
    struct built b;
    (void)state;

    one_tensor(&b, 32, 2, 8, 0, 68);
    OK(parse(&b, &err));
    one_tensor(&b, 32, 2, 99, 0, 68);
    refused(&b, "type 99");
    one_tensor(&b, 32, 2, UINT32_MAX, 0, 68);
    refused(&b, "is not read");
    one_tensor(&b, 33, 2, 8, 0, 68);
    refused(&b, "whole blocks of Q8_0");
    one_tensor(&b, 32, 0, 8, 0, 68);
    refused(&b, "zero, too large");
    one_tensor(&b, UINT64_C(1) << 33, UINT64_C(1) << 33, 0, 0, 64);
    refused(&b, "too large");
    one_tensor(&b, UINT64_C(1) << 62, 4, 8, 0, 64);
    refused(&b, "too large");
    one_tensor(&b, 32, 2, 8, 32, 100);
    refused(&b, "expected 0");
    one_tensor(&b, 32, 2, 8, UINT64_MAX - 31, 68);
    refused(&b, "expected 0");
    one_tensor(&b, 32, 2, 8, 0, 67);
    refused(&b, "cut off");
    one_tensor(&b, 32, 2, 8, 0, 97);
    refused(&b, "behind the last tensor");
    start(&b, 3, 1, 0);
    put_str(&b, "t");
    put_u32(&b, 5);
    put_u64(&b, 0);
    put_u64(&b, 0);
    refused(&b, "5 dimensions");
}

static void tensors_that_share_a_name_or_bytes_are_refused(void **state)
{
    struct ww_error err = {0};
    struct built b;
    (void)state;

    start(&b, 3, 2, 0);
    put_tensor(&b, "a", 8, 1, 0, 0);
    put_tensor(&b, "a", 8, 1, 0, 32);
    put_data(&b, 32, 64);
    refused(&b, "there twice");
    start(&b, 3, 2, 0);
    put_tensor(&b, "a", 8, 1, 0, 0);
    put_tensor(&b, "b", 8, 1, 0, 0);
    put_data(&b, 32, 64);
    refused(&b, "expected 32");
    start(&b, 3, 2, 0);
    put_tensor(&b, "a", 8, 1, 0, 0);
    put_tensor(&b, "b", 8, 1, 0, 32);
    put_data(&b, 32, 64);
    OK(parse(&b, &err));
}

static void headers_that_end_early_are_refused(void **state)
{
    struct ww_error err = {0};
    struct ww_buf all;
    struct ww_gguf_header header;
    (void)state;

    ww_buf_init(&all, 1 << 20);
    OK(ww_file_read(WW_VECTORS "/gguf/blocks.gguf", &all, &err));
    for (size_t n = 0; n < 900; n++) {
        FAILS(ww_gguf_parse(all.data, n, n, "x", &header, &err), WW_E_GGUF);
        assert_false(header.truncated);
        ww_error_clear(&err);
        if (ww_gguf_parse(all.data, n, all.len, "x", &header, &err) == WW_OK) {
            ww_gguf_header_release(&header);
        } else {
            assert_true(header.truncated);
        }
    }
    ww_buf_release(&all);
}

static void place_is_from(struct ww_gguf_header *header, const char *from, const char *to,
                          uint32_t heads)
{
    const struct ww_gguf_tensor t = {.name = from, .rank = 2, .shape = {16, 4}};
    struct ww_gguf_place place;
    struct ww_error err = {0};

    OK(ww_gguf_place_of(header, &t, "x.gguf", &place, &err));
    assert_int_equal(place.heads, heads);
    if (to) {
        assert_string_equal(place.name, to);
    } else {
        assert_null(place.name);
    }
    ww_free(place.name);
}

static void place_is(struct ww_gguf_header *header, const char *from, const char *to,
                     uint32_t heads)
{
    struct ww_error err = {0};

    place_is_from(header, from, to, heads);
    /* And back; a bias has the rows of its weight, but no adapter has factors of one. */
    if (to && ww_str_ends(to, ".weight")) {
        struct ww_gguf_place back;
        char *name = NULL;
        OK(ww_gguf_name_of("llama", to, 16, 4, 2, &name, &back, &err));
        assert_string_equal(name, from);
        assert_int_equal(back.heads, heads);
        ww_free(name);
        OK(ww_gguf_name_of("qwen2", to, 16, 4, 2, &name, &back, &err));
        assert_int_equal(back.heads, 0);
        ww_free(name);
    }
}

static void names_without_a_place_are_refused(void **state)
{
    static const char *const names[] = {"",
                                        "weight",
                                        "model.layers.0.weight",
                                        "model.layers.",
                                        "model.layers.1",
                                        "model.layers.x.mlp.down_proj.weight",
                                        "model.layers.0.mlp.router.weight",
                                        "model.layers.0.mlp.down_proj",
                                        "lm_heads.weight"};
    struct ww_gguf_place place;
    struct ww_error err = {0};
    char *name = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        FAILS(ww_gguf_name_of("llama", names[i], 16, 4, 2, &name, &place, &err),
              WW_E_UNSUPPORTED);
        assert_null(name);
    }
    FAILS(ww_gguf_name_of("llama", "model.layers.0.self_attn.q_proj.weight", 18, 4, 2,
                          &name, &place, &err),
          WW_E_SHAPE);
    assert_null(name);
    assert_string_equal(ww_gguf_architecture("mistral"), "llama");
    assert_string_equal(ww_gguf_architecture("qwen3"), "qwen3");
    assert_null(ww_gguf_architecture("gpt2"));
    assert_null(ww_gguf_architecture(NULL));
}

static void names_and_rows_are_those_before_the_conversion(void **state)
{
    struct ww_gguf_header header;
    struct ww_error err = {0};
    struct built b;
    (void)state;

    start(&b, 3, 0, 3);
    put_str(&b, "general.architecture");
    put_u32(&b, 8);
    put_str(&b, "llama");
    put_key_u32(&b, "llama.attention.head_count", 4);
    put_key_u32(&b, "llama.attention.head_count_kv", 2);
    OK(ww_gguf_parse(b.buf.data, b.buf.len, b.buf.len, "x.gguf", &header, &err));
    place_is(&header, "token_embd.weight", "model.embed_tokens.weight", 0);
    place_is(&header, "output.weight", "lm_head.weight", 0);
    place_is(&header, "output_norm.weight", "model.norm.weight", 0);
    place_is(&header, "blk.12.attn_q.weight", "model.layers.12.self_attn.q_proj.weight",
             4);
    place_is(&header, "blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias", 2);
    place_is(&header, "blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight", 0);
    place_is(&header, "blk.1.ffn_down.weight", "model.layers.1.mlp.down_proj.weight", 0);
    place_is(&header, "rope_freqs.weight", NULL, 0);
    place_is(&header, "blk.x.attn_q.weight", NULL, 0);
    place_is(&header, "blk.0.attn_q.scale", NULL, 0);
    ww_gguf_header_release(&header);
    ww_buf_release(&b.buf);

    /* Architectures derived from it are converted alike, others are not; the gains of
     * some have 1 added. */
    static const char *const others[] = {"granite", "qwen2", "gemma2", "who"};
    for (unsigned i = 0; i < 4; i++) {
        char key[64];
        start(&b, 3, 0, 2);
        put_str(&b, "general.architecture");
        put_u32(&b, 8);
        put_str(&b, others[i]);
        snprintf(key, sizeof(key), "%s.attention.head_count", others[i]);
        put_key_u32(&b, key, 4);
        OK(ww_gguf_parse(b.buf.data, b.buf.len, b.buf.len, "x.gguf", &header, &err));
        place_is_from(&header, "blk.0.attn_k.weight",
                      i < 3 ? "model.layers.0.self_attn.k_proj.weight" : NULL,
                      i == 0 ? 4 : 0);
        place_is_from(&header, "output_norm.bias", i < 2 ? "model.norm.bias" : NULL, 0);
        ww_gguf_header_release(&header);
        ww_buf_release(&b.buf);
    }

    /* One head of six rows: (half, pair) became (pair, half). */
    const struct ww_gguf_place place = {.heads = 2};
    static const uint64_t want[12] = {0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11};
    for (uint64_t r = 0; r < 12; r++) {
        assert_int_equal(ww_gguf_row(&place, 12, r), want[r]);
    }
}

static void heads_that_do_not_fit_are_refused(void **state)
{
    const struct ww_gguf_tensor t = {
        .name = "blk.0.attn_q.weight", .rank = 2, .shape = {18, 4}};
    struct ww_gguf_place place;
    struct ww_gguf_header header;
    struct ww_error err = {0};
    struct built b;
    (void)state;

    start(&b, 3, 0, 2);
    put_str(&b, "general.architecture");
    put_u32(&b, 8);
    put_str(&b, "llama");
    put_key_u32(&b, "llama.attention.head_count", 4);
    OK(ww_gguf_parse(b.buf.data, b.buf.len, b.buf.len, "x.gguf", &header, &err));
    FAILS(ww_gguf_place_of(&header, &t, "x.gguf", &place, &err), WW_E_GGUF);
    assert_null(place.name);
    ww_gguf_header_release(&header);
    ww_buf_release(&b.buf);
    start(&b, 3, 0, 1);
    put_str(&b, "general.architecture");
    put_u32(&b, 8);
    put_str(&b, "llama");
    OK(ww_gguf_parse(b.buf.data, b.buf.len, b.buf.len, "x.gguf", &header, &err));
    FAILS(ww_gguf_place_of(&header, &t, "x.gguf", &place, &err), WW_E_GGUF);
    ww_gguf_header_release(&header);
    ww_buf_release(&b.buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_those_of_the_package),
        cmocka_unit_test(steps_are_the_distances_of_values),
        cmocka_unit_test(steps_of_uneven_values_are_those_around_them),
        cmocka_unit_test(blocks_of_scale_zero_have_lost_their_weights),
        cmocka_unit_test(types_of_other_programs_are_refused_by_name),
        cmocka_unit_test(keys_of_every_type_are_read_over),
        cmocka_unit_test(damaged_beginnings_are_refused),
        cmocka_unit_test(damaged_keys_are_refused),
        cmocka_unit_test(damaged_arrays_are_refused),
        cmocka_unit_test(alignments_that_are_no_power_of_two_are_refused),
        cmocka_unit_test(damaged_tensors_are_refused),
        cmocka_unit_test(tensors_that_share_a_name_or_bytes_are_refused),
        cmocka_unit_test(headers_that_end_early_are_refused),
        cmocka_unit_test(names_and_rows_are_those_before_the_conversion),
        cmocka_unit_test(names_without_a_place_are_refused),
        cmocka_unit_test(heads_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
