/* SPDX-License-Identifier: Apache-2.0 */
/* Interleaved messages come back, by vectors of both lengths and by plain C the same, and
 * end where an encoder ended them. */
#include "ww_test.h"

#include "codec/rans_lanes.h"
#include "crypto/sha_blocks.h"
#include "util/fail.h"
#include "ww_random.h"

#define MOST 20000
#define CONTEXTS WW_LANES_CONTEXTS

struct fx {
    struct ww_rans_table tables[CONTEXTS];
    struct ww_lanes_slots slots[CONTEXTS];
    struct ww_rans_push push[CONTEXTS][WW_LANES_SYMBOLS];
    struct ww_lanes_lead leads[WW_LANES_SYMBOLS];
    struct ww_lanes_spread spreads[2]; /* of vectors of 256 and of 512 bits */
    uint32_t numbers[MOST];
    uint32_t back[MOST];
    uint8_t symbols[MOST];
    uint8_t contexts[MOST];
    uint8_t room[16 * MOST];
    struct ww_buf coded;
    bool holes;
    struct ww_sha_rest *beside;
};

/* As form order has them: 16 to 63 have up to 13 raw bits; or up to 29. */
static void set_leads(struct fx *f)
{
    for (unsigned s = 0; s < WW_LANES_SYMBOLS; s++) {
        f->leads[s] =
            s < 16 ? (struct ww_lanes_lead){(uint8_t)s, 0}
                   : (struct ww_lanes_lead){(uint8_t)(4 | (s & 3)), (uint8_t)(s / 4 - 2)};
    }
}

static int set_up(void **state)
{
    struct fx *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    ww_buf_init(&f->coded, sizeof(f->room));
    ww_lanes_spread_make(&f->spreads[0]);
    ww_lanes_spread_make(&f->spreads[1]);
    f->spreads[0].wide = false;
    set_leads(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fx *f = *state;
    ww_buf_release(&f->coded);
    free(f);
    return 0;
}

/* n numbers whose symbols are below n_symbols, small ones more often; their tables. */
static void make(struct fx *f, uint64_t seed, size_t n, unsigned n_symbols)
{
    uint64_t counts[CONTEXTS][WW_LANES_SYMBOLS] = {{0}};
    for (size_t i = 0; i < n; i++) {
        const unsigned c = (unsigned)(fx_random(&seed) % CONTEXTS);
        const unsigned limit = 1 + (unsigned)(fx_random(&seed) % n_symbols);
        const unsigned s = (unsigned)(fx_random(&seed) % limit);
        const unsigned n_raw = f->leads[s].n_raw;
        f->contexts[i] = (uint8_t)c;
        f->symbols[i] = (uint8_t)s;
        f->numbers[i] = (uint32_t)f->leads[s].bits << n_raw |
                        ((uint32_t)fx_random(&seed) & ((1u << n_raw) - 1));
        counts[c][s]++;
    }
    for (unsigned c = 0; c < CONTEXTS; c++) {
        counts[c][0]++;
        ww_rans_table_make(&f->tables[c], counts[c], WW_RANS_MAX_SYMBOLS);
        ww_lanes_slots_fill(&f->tables[c], &f->slots[c]);
        for (unsigned s = 0; s < f->tables[c].n; s++) {
            if (f->tables[c].freq[s] > 0) {
                f->push[c][s] = ww_rans_push_of(ww_rans_step_of(&f->tables[c], s));
            }
        }
    }
}

/* Vectors of 512 bits are those of 256 where a machine has no others. */
enum way { PLAIN_C, VECTORS_256, VECTORS_512, WAYS };

static const struct ww_lanes_spread *spread_of(const struct fx *f, enum way way)
{
    return way == PLAIN_C ? NULL : &f->spreads[way - VECTORS_256];
}

static void encode(struct fx *f, size_t n, enum ww_lanes_kind kind, enum way way)
{
    const struct ww_lanes_text text = {
        spread_of(f, way), kind, f->numbers, f->symbols, f->contexts, f->leads, f->push};
    struct ww_error err = {0};
    ww_buf_clear(&f->coded);
    OK(ww_lanes_encode(&text, n, f->room, sizeof(f->room), &f->coded, &err));
}

/* In blocks, since that is how a chunk is decoded. */
static bool decode(struct fx *f, size_t n, size_t len, enum ww_lanes_kind kind,
                   enum way way)
{
    const struct ww_lanes_code code = {.slots = f->slots,
                                       .leads = f->leads,
                                       .spread = spread_of(f, way),
                                       .holes = f->holes,
                                       .kind = kind,
                                       .beside = f->beside};
    struct ww_lanes_in in;
    memset(f->back, 0xa5, sizeof(f->back));
    ww_lanes_begin(&in, ww_lanes_for(n), f->coded.data, len);
    for (size_t at = 0; at < n; at += 1024) {
        const size_t some = n - at < 1024 ? n - at : 1024;
        ww_lanes_decode(&in, &code, f->contexts + at, f->back + at, some);
    }
    return ww_lanes_done(&in);
}

static const struct {
    unsigned n_symbols;
    enum ww_lanes_kind kind;
} kinds[] = {{1, WW_LANES_SHORT}, {12, WW_LANES_SHORT}, {64, WW_LANES_SHORT},
             {64, WW_LANES_ANY},  {128, WW_LANES_ANY},  {16, WW_LANES_PLAIN}};

static void messages_come_back_all_ways(void **state)
{
    static const size_t sizes[] = {0, 1, 3, 4, 5, 4095, 4096, 4097, 4128, 10000, MOST};
    struct fx *f = *state;
    for (size_t k = 0; k < WW_LEN(kinds); k++) {
        for (size_t s = 0; s < WW_LEN(sizes); s++) {
            const size_t n = sizes[s];
            make(f, s + 1, n, kinds[k].n_symbols);
            for (unsigned i = 0; i < WAYS * WAYS; i++) { /* all are one */
                encode(f, n, kinds[k].kind, i % WAYS);
                assert_true(decode(f, n, f->coded.len, kinds[k].kind, i / WAYS));
                assert_memory_equal(f->back, f->numbers, n * sizeof(*f->back));
            }
        }
    }
}

static void all_ways_write_the_same_bytes(void **state)
{
    static uint8_t plain[16 * MOST];
    struct fx *f = *state;
    for (size_t k = 0; k < WW_LEN(kinds); k++) {
        make(f, 40 + k, MOST, kinds[k].n_symbols);
        encode(f, MOST, kinds[k].kind, PLAIN_C);
        const size_t len = f->coded.len;
        memcpy(plain, f->coded.data, len);
        for (unsigned way = VECTORS_256; way < WAYS; way++) {
            encode(f, MOST, kinds[k].kind, way);
            assert_int_equal(f->coded.len, len);
            assert_memory_equal(f->coded.data, plain, len);
        }
    }
}

/* A digest of what a rest has been to its end. */
static void check_digest(struct ww_sha_rest *rest, const uint8_t *bytes, size_t n)
{
    uint8_t got[WW_SHA256_BYTES];
    uint8_t want[WW_SHA256_BYTES];

    assert_ptr_equal(rest->p + rest->n, bytes + n);
    ww_sha_update(rest->sha, rest->p, rest->n);
    ww_sha_final(rest->sha, got);
    ww_sha256_of(bytes, n, want);
    assert_memory_equal(got, want, sizeof(got));
}

/* Longer and shorter than a block for each group, from any place in a block. */
static void what_is_hashed_beside_changes_nothing(void **state)
{
    static const size_t sizes[] = {0, 63, 64, 70, 64 * 40 + 1, 2 * MOST, 3 * MOST};
    static uint8_t bytes[3 * MOST];
    const bool can = ww_sha_fast() && __builtin_cpu_supports("avx2");
    struct ww_error err = {0};
    struct fx *f = *state;
    struct ww_sha sha;
    uint64_t seed = 77;

    fx_fill(&seed, bytes, sizeof(bytes));
    OK(ww_sha_init(&sha, ww_sha_fast(), &err));
    for (size_t j = 0; j < 2 * WW_LEN(kinds) * WW_LEN(sizes); j++) {
        const size_t i = j / 2;
        const enum way way = j % 2 ? VECTORS_512 : VECTORS_256;
        const enum ww_lanes_kind kind = kinds[i / WW_LEN(sizes)].kind;
        const bool has_words = kinds[i / WW_LEN(sizes)].n_symbols > 1;
        const size_t n = sizes[i % WW_LEN(sizes)];
        const size_t begun = n < 100 ? 0 : i;
        struct ww_sha_rest rest = {&sha, bytes + begun, n - begun};
        make(f, i, MOST, kinds[i / WW_LEN(sizes)].n_symbols);
        encode(f, MOST, kind, way);
        ww_sha_reset(&sha);
        ww_sha_update(&sha, bytes, begun);
        f->beside = &rest;
        assert_true(decode(f, MOST, f->coded.len, kind, way));
        f->beside = NULL;
        assert_memory_equal(f->back, f->numbers, sizeof(f->numbers));
        assert_true(!can || !has_words || kind == WW_LANES_ANY || n < 128 ||
                    rest.n < (n > 2 * MOST ? MOST + 2048 : 2048));
        check_digest(&rest, bytes, n);
    }
    ww_sha_release(&sha);
}

static void cut_and_changed_messages_end_the_same_all_ways(void **state)
{
    static uint32_t plain[MOST];
    static const uint8_t bytes[2 * MOST];
    struct ww_error err = {0};
    struct fx *f = *state;
    const size_t n = 5000;
    struct ww_sha sha;
    unsigned refused = 0;
    unsigned tried = 0;
    OK(ww_sha_init(&sha, ww_sha_fast(), &err));
    make(f, 9, n, 64);
    encode(f, n, WW_LANES_SHORT, VECTORS_512);
    for (size_t len = 0; len < f->coded.len; len += 1 + len / 16) {
        for (unsigned way = 0; way < WAYS; way++) {
            assert_false(decode(f, n, len, WW_LANES_SHORT, way));
        }
    }
    for (size_t at = 0; at < f->coded.len; at += 37) {
        f->coded.data[at] ^= 4;
        const bool done = decode(f, n, f->coded.len, WW_LANES_SHORT, PLAIN_C);
        memcpy(plain, f->back, sizeof(plain));
        for (unsigned way = VECTORS_256; way < WAYS; way++) {
            struct ww_sha_rest rest = {&sha, bytes, sizeof(bytes)};
            assert_true(decode(f, n, f->coded.len, WW_LANES_SHORT, way) == done);
            assert_memory_equal(plain, f->back, sizeof(plain));
            ww_sha_reset(&sha);
            f->beside = &rest;
            assert_true(decode(f, n, f->coded.len, WW_LANES_SHORT, way) == done);
            assert_memory_equal(plain, f->back, sizeof(plain));
            f->beside = NULL;
            check_digest(&rest, bytes, sizeof(bytes));
        }
        refused += !done;
        tried++;
        f->coded.data[at] ^= 4;
    }
    assert_true(refused > tried / 2 && tried > 50);
    ww_sha_release(&sha);
}

/* A context that lost its table is found out, wherever it is met. */
static void a_context_without_symbols_is_refused(void **state)
{
    struct fx *f = *state;
    make(f, 3, MOST, 64);
    encode(f, MOST, WW_LANES_SHORT, VECTORS_512);
    ww_lanes_slots_none(&f->slots[5]);
    f->holes = true;
    for (unsigned way = 0; way < WAYS; way++) {
        assert_false(decode(f, MOST, f->coded.len, WW_LANES_SHORT, way));
    }
    for (size_t i = 0; i < MOST; i++) {
        f->contexts[i] = f->contexts[i] == 5 ? 4 : f->contexts[i];
    }
    encode(f, MOST, WW_LANES_SHORT, VECTORS_512);
    for (unsigned way = 0; way < WAYS; way++) {
        assert_true(decode(f, MOST, f->coded.len, WW_LANES_SHORT, way));
    }
}

/* Words of what an encoder's steps cost: the entropy, a word and a state for each lane.
 */
static void sizes_are_near_the_entropy(void **state)
{
    struct fx *f = *state;
    double bits = 0;
    make(f, 5, MOST, 64);
    encode(f, MOST, WW_LANES_SHORT, VECTORS_512);
    for (size_t i = 0; i < MOST; i++) {
        const unsigned freq = f->tables[f->contexts[i]].freq[f->symbols[i]];
        bits += 12 - log2((double)freq) + f->leads[f->symbols[i]].n_raw;
    }
    assert_true((double)f->coded.len * 8 < bits * 1.001 + 48 * WW_LANES_MOST);
    assert_true((double)f->coded.len * 8 > bits * 0.999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(messages_come_back_all_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_ways_write_the_same_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_hashed_beside_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(cut_and_changed_messages_end_the_same_all_ways,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_context_without_symbols_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(sizes_are_near_the_entropy, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
