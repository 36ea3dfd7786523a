/* SPDX-License-Identifier: Apache-2.0 */
/* WW_CLONES before a function: compiled for AVX2 as well, chosen when the program starts.
 * No flag of it fuses multiply and add, so both versions give the same bits. */
#ifndef WW_UTIL_CLONES_H
#define WW_UTIL_CLONES_H

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

#endif
