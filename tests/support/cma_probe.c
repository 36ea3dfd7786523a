/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cma_probe N SIGMA SEED FORM[,LAMBDA] START...: a search by lines. Each generation is
 * printed as a line with its size and a line of numbers for each candidate; one line of
 * values for all of them is read. Ends with the input, or with a line of the reason.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evo/cma.h"

static int generation(struct ww_cma *cma, unsigned n, double *values)
{
    const double *x = ww_cma_ask(cma);
    const uint32_t lambda = ww_cma_lambda(cma);
    printf("%u\n", lambda);
    for (uint32_t k = 0; k < lambda; k++) {
        for (unsigned i = 0; i < n; i++) {
            printf("%a%c", x[k * n + i], i + 1 < n ? ' ' : '\n');
        }
    }
    fflush(stdout);
    for (uint32_t k = 0; k < lambda; k++) {
        if (scanf("%lf", &values[k]) != 1) {
            return 0;
        }
    }
    ww_cma_tell(cma, values);
    return 1;
}

int main(int argc, char **argv)
{
    static double start[WW_CMA_MAX_VARIABLES], values[65536];
    struct ww_error err = {0};
    struct ww_cma *cma = NULL;
    if (argc < 6) {
        return 2;
    }
    const unsigned n = (unsigned)strtoul(argv[1], NULL, 10);
    if (n > WW_CMA_MAX_VARIABLES || argc != (int)n + 5) {
        return 2;
    }
    for (unsigned i = 0; i < n; i++) {
        start[i] = strtod(argv[5 + i], NULL);
    }
    const char *comma = strchr(argv[4], ',');
    struct ww_cma_options o = {.n = n,
                               .start = start,
                               .sigma = strtod(argv[2], NULL),
                               .lambda = comma ? (unsigned)strtoul(comma + 1, NULL, 10)
                                               : 4 + (unsigned)(3 * log(n)),
                               .seed = strtoull(argv[3], NULL, 10),
                               .form = strncmp(argv[4], "diagonal", 8) == 0
                                           ? WW_CMA_DIAGONAL
                                           : WW_CMA_COVARIANCE};
    if (ww_cma_new(&o, &cma, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    while (!ww_cma_stopped(cma) && generation(cma, n, values)) {
    }
    printf("%s\n", ww_cma_stopped(cma) ? ww_cma_stopped(cma) : "end of input");
    ww_cma_free(cma);
    return 0;
}
