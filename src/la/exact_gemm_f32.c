/* SPDX-License-Identifier: Apache-2.0 */
/* Singles: twice as many in a register, for who fits to numbers of 16 bits. */
#include "la/exact.h"

#define NUMBER float
#define LANES 8
#define PRODUCT ww_exact_gemm_f32
#include "la/exact_product.h"
