/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A product whose bits do not depend on the machine, of one type of number: NUMBER, LANES
 * (of 32 bytes) and PRODUCT, the function's name, are the includer's. Every element of c
 * is one sum in ascending order of the inner index; vectors run along the columns of c,
 * so that their width changes nothing in any sum. Blocks of the inner index keep a packed
 * panel of b in the cache; the partial sum waits in c, which is exact. The same C code is
 * compiled for wider registers where the processor has them: multiply and add stay two
 * roundings (-ffp-contract=off), so the bits are those of the narrow version; tests
 * compare them. No guard: included once for each type.
 */
#include <stdbool.h>
#include <string.h>

#define ROWS 4 /* of c in registers: ROWS x COLS */
#define COLS ((size_t)2 * LANES)
#define INNER 64   /* rows of b per panel */
#define AT_ONCE 4  /* tiles that are packed together */
#define HEIGHT 256 /* rows of a at a time */

typedef NUMBER lanes __attribute__((vector_size(LANES * sizeof(NUMBER))));

struct tile {
    size_t k;
    const NUMBER *a;
    size_t lda;
    const NUMBER *b; /* packed: COLS per row */
    NUMBER *c;
    size_t ldc;
};

typedef void (*panel_fn)(size_t m, size_t n, const struct tile *whole, size_t ldb);

static void few_rows(const struct tile *t, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i++) {
        NUMBER *out = t->c + i * t->ldc;
        for (size_t p = 0; p < t->k; p++) {
            const NUMBER factor = t->a[i * t->lda + p];
            const NUMBER *row = t->b + p * COLS;
            for (size_t j = 0; j < cols; j++) {
                out[j] += factor * row[j];
            }
        }
    }
}

/* Tiles side by side, row by row: a row of b is read along, since rows may lie where the
 * cache has few places for all of them. Columns behind the last are zero. */
static void pack(const NUMBER *b, size_t ldb, size_t k, size_t cols, NUMBER *packed)
{
    const size_t whole = cols / COLS * COLS;

    for (size_t p = 0; p < k; p++) {
        const NUMBER *row = b + p * ldb;
        NUMBER *to = packed + p * COLS;
        for (size_t at = 0; at < whole; at += COLS) {
            memcpy(to + at * INNER, row + at, COLS * sizeof(*to));
        }
        for (size_t j = 0; whole < cols && j < COLS; j++) {
            to[whole * INNER + j] = whole + j < cols ? row[whole + j] : 0;
        }
    }
}

static void copy_tile(NUMBER *to, size_t ldto, const NUMBER *from, size_t ldfrom,
                      size_t cols)
{
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(to + i * ldto, from + i * ldfrom, cols * sizeof(*to));
    }
}

#define TARGET
#define NAME(x) x##_any
#include "la/exact_panel.h"
#undef TARGET
#undef NAME

#if defined(__x86_64__) && defined(__GNUC__)
#define TARGET __attribute__((target("avx2")))
#define NAME(x) x##_avx2
#include "la/exact_panel.h"

static panel_fn panel_of_this_machine(void)
{
    return __builtin_cpu_supports("avx2") ? panel_avx2 : panel_any;
}
#else
static panel_fn panel_of_this_machine(void)
{
    return panel_any;
}
#endif

void PRODUCT(size_t m, size_t n, size_t k, const NUMBER *a, size_t lda, const NUMBER *b,
             size_t ldb, int add, NUMBER *c, size_t ldc)
{
    const panel_fn run = panel_of_this_machine();
    for (size_t i = 0; !add && i < m; i++) {
        memset(c + i * ldc, 0, n * sizeof(*c));
    }
    for (size_t p = 0; p < k; p += INNER) {
        for (size_t i = 0; i < m; i += HEIGHT) {
            const struct tile whole = {
                .k = k - p < INNER ? k - p : INNER,
                .a = a + i * lda + p,
                .lda = lda,
                .b = b + p * ldb,
                .c = c + i * ldc,
                .ldc = ldc,
            };
            run(m - i < HEIGHT ? m - i : HEIGHT, n, &whole, ldb);
        }
    }
}
