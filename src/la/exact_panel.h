/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One panel of a product, included by exact_gemm.c once for each width of registers:
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
            const double factor = t->a[i * t->lda + p];
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

/* c += a b for k rows of b, which are not packed yet in whole. */
TARGET static void NAME(panel)(size_t m, size_t n, const struct tile *whole, size_t ldb)
{
    double packed[INNER * COLS];
    for (size_t j = 0; j < n; j += COLS) {
        const size_t cols = n - j < COLS ? n - j : COLS;
        pack(whole->b + j, ldb, whole->k, cols, packed);
        for (size_t i = 0; i < m; i += ROWS) {
            const size_t rows = m - i < ROWS ? m - i : ROWS;
            const struct tile t = {whole->k, whole->a + i * whole->lda,     whole->lda,
                                   packed,   whole->c + i * whole->ldc + j, whole->ldc};
            if (rows == ROWS && cols == COLS) {
                NAME(full_tile)(&t);
            } else {
                part_tile(&t, rows, cols);
            }
        }
    }
}
