/* SPDX-License-Identifier: Apache-2.0 */
/* WW_CLONES before a function: compiled for AVX2 as well, chosen when the program starts.
 * No flag of it fuses multiply and add, so both versions give the same bits.
 *
 * WW_TARGET_512: compiled for vectors of 512 bits, for who asks ww_has_512 before. */
#ifndef WW_UTIL_CLONES_H
#define WW_UTIL_CLONES_H

#include <stdbool.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) ||               \
    __has_feature(thread_sanitizer)
#define WW_NO_CLONES
#endif
#endif
/* Resolvers of clones run before the sanitizers are set up; musl has no resolvers. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                     \
    !defined(__x86_64__) || !defined(__GLIBC__)
#define WW_NO_CLONES
#endif
#ifdef WW_NO_CLONES
#define WW_CLONES
#else
#define WW_CLONES __attribute__((target_clones("avx2", "default")))
#endif

#define WW_FEATURES_512 "avx512f,avx512bw,avx512vl"
#if defined(__clang__) /* knows no such wish */
#define WW_TARGET_512 __attribute__((target(WW_FEATURES_512)))
#else
#define WW_TARGET_512 __attribute__((target(WW_FEATURES_512 ",prefer-vector-width=512")))
#endif

/** AVX-512 with its forms for bytes, words and shorter vectors? */
static inline bool ww_has_512(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

#endif
