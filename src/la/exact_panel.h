/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One panel of a product, included by exact_product.h once for each width of registers:
 * TARGET is the attribute, NAME(x) the name. A compiler splits wide vectors before it
 * inlines, so every function needs the attribute itself. A tile of c stays in registers
 * over the panel.
 */
TARGET static void NAME(full_tile)(const struct tile *t)
{
    lanes sum[ROWS][2];
    lanes left;
    lanes right;
#pragma GCC unroll 4
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(&sum[i][0], t->c + i * t->ldc, sizeof(lanes));
        memcpy(&sum[i][1], t->c + i * t->ldc + LANES, sizeof(lanes));
    }
    for (size_t p = 0; p < t->k; p++) {
        memcpy(&left, t->b + p * COLS, sizeof(lanes));
        memcpy(&right, t->b + p * COLS + LANES, sizeof(lanes));
#pragma GCC unroll 4
        for (size_t i = 0; i < ROWS; i++) {
            const NUMBER factor = t->a[i * t->lda + p];
            sum[i][0] += factor * left;
            sum[i][1] += factor * right;
        }
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < ROWS; i++) {
        memcpy(t->c + i * t->ldc, &sum[i][0], sizeof(lanes));
        memcpy(t->c + i * t->ldc + LANES, &sum[i][1], sizeof(lanes));
    }
}

/* Beside c, where the last columns have room. */
TARGET static void NAME(narrow_tile)(const struct tile *t, size_t cols)
{
    NUMBER room[ROWS * COLS] = {0};
    struct tile wide = *t;

    copy_tile(room, COLS, t->c, t->ldc, cols);
    wide.c = room;
    wide.ldc = COLS;
    NAME(full_tile)(&wide);
    copy_tile(t->c, t->ldc, room, COLS, cols);
}

/* c += a b for the columns of c that one packed tile of b gives. */
TARGET static void NAME(column)(size_t m, size_t cols, const struct tile *first)
{
    for (size_t i = 0; i < m; i += ROWS) {
        const size_t rows = m - i < ROWS ? m - i : ROWS;
        struct tile t = *first;
        t.a += i * t.lda;
        t.c += i * t.ldc;
        if (rows < ROWS) {
            few_rows(&t, rows, cols);
        } else if (cols < COLS) {
            NAME(narrow_tile)(&t, cols);
        } else {
            NAME(full_tile)(&t);
        }
    }
}

/* c += a b for k rows of b, which are not packed yet in whole. */
TARGET static void NAME(panel)(size_t m, size_t n, const struct tile *whole, size_t ldb)
{
    NUMBER packed[AT_ONCE * INNER * COLS];
    for (size_t j = 0; j < n; j += AT_ONCE * COLS) {
        const size_t some = n - j < AT_ONCE * COLS ? n - j : AT_ONCE * COLS;
        pack(whole->b + j, ldb, whole->k, some, packed);
        for (size_t at = 0; at < some; at += COLS) {
            const struct tile t = {whole->k,          whole->a,
                                   whole->lda,        packed + at * INNER,
                                   whole->c + j + at, whole->ldc};
            NAME(column)(m, some - at < COLS ? some - at : COLS, &t);
        }
    }
}
