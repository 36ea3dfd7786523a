/* SPDX-License-Identifier: Apache-2.0 */
/* Doubles. */
#include "la/exact.h"

#define NUMBER double
#define LANES 4
#define PRODUCT ww_exact_gemm
#include "la/exact_product.h"
