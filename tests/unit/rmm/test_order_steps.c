/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of the form order are the same numbers in every set of instructions that they
 * are compiled for. */
#include "ww_test.h"

#include "rmm/chunk_forms.h"
#include "util/clones.h"
#include "util/fail.h"
#include "ww_random.h"

struct steps {
    uint32_t (*largest)(struct ww_chunk_type type, const uint8_t *prediction, size_t n);
    uint32_t (*contexts)(struct ww_chunk_type type, uint32_t largest,
                         const uint8_t *prediction, size_t n, uint8_t *contexts);
    void (*fold)(const uint8_t *bytes, const uint8_t *prediction, size_t n,
                 uint32_t *folded);
    void (*unfold)(const uint32_t *folded, const uint8_t *prediction, size_t n,
                   uint8_t *out);
};

#define NUMBER uint16_t
#define SIGN 0x8000u
#define TARGET
#define NAME(x) x##_plain
#include "rmm/chunk_order_steps.h"
#if defined(__x86_64__) && defined(__GNUC__)
#undef TARGET
#undef NAME
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_256
#include "rmm/chunk_order_steps.h"
#undef TARGET
#undef NAME
#define TARGET WW_TARGET_512
#define NAME(x) x##_512
#include "rmm/chunk_order_steps.h"
#endif

#define N 5000

static void check(const struct steps *steps, const uint8_t *bytes, const uint8_t *base)
{
    static const struct ww_chunk_type types[] = {{2, 7, 0xff}, {2, 10, 0x1f}};
    static uint8_t contexts[2][N];
    static uint32_t folded[2][N];
    static uint8_t back[2 * N];

    for (size_t i = 0; i < WW_LEN(types); i++) {
        for (size_t n = N - 70; n <= N; n++) {
            const uint32_t largest = steps_plain.largest(types[i], base, n);
            assert_int_equal(steps->largest(types[i], base, n), largest);
            assert_int_equal(
                steps->contexts(types[i], largest, base, n, contexts[0]),
                steps_plain.contexts(types[i], largest, base, n, contexts[1]));
            assert_memory_equal(contexts[0], contexts[1], n);
            steps->fold(bytes, base, n, folded[0]);
            steps_plain.fold(bytes, base, n, folded[1]);
            assert_memory_equal(folded[0], folded[1], n * sizeof(**folded));
            steps->unfold(folded[0], base, n, back);
            assert_memory_equal(back, bytes, 2 * n);
        }
    }
}

static void all_sets_of_instructions_give_the_same(void **state)
{
    static uint8_t bytes[2 * N];
    static uint8_t base[2 * N];
    uint64_t seed = 8;
    (void)state;

    fx_fill(&seed, bytes, sizeof(bytes));
    fx_fill(&seed, base, sizeof(base));
    check(&steps_plain, bytes, base);
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) {
        check(&steps_256, bytes, base);
    }
    if (ww_has_512()) {
        check(&steps_512, bytes, base);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_sets_of_instructions_give_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
