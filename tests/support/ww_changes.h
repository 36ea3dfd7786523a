/* SPDX-License-Identifier: Apache-2.0 */
/* A signed file with any one bit changed, and each beginning of it, must be refused. */
#ifndef WW_CHANGES_H
#define WW_CHANGES_H

#include <fcntl.h>
#include <unistd.h>

#include "ww_test.h"

/** Does the file's own reader take these bytes? */
typedef bool (*ww_accepts_fn)(void *payload, const uint8_t *bytes, size_t len);

/** step 1: every bit and every length. 9: a bit of each byte, for readers that take long
 * of files whose signature is checked bit by bit elsewhere. */
static inline void refuses_changes(ww_accepts_fn accepts, void *payload, uint8_t *bytes,
                                   size_t len, size_t step)
{
    assert_true(accepts(payload, bytes, len));
    for (size_t bit = 0; bit < 8 * len; bit += step) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (accepts(payload, bytes, len)) {
            fail_msg("bit %zu of byte %zu of %zu changed and accepted", bit % 8, bit / 8,
                     len);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    const size_t cut = step > 3 ? step : 1;
    for (size_t n = 0; n < len; n += cut) {
        if (accepts(payload, bytes, n)) {
            fail_msg("cut to %zu bytes of %zu and accepted", n, len);
        }
    }
}

/* Every bit; under a sanitizer, which is after reads beyond the end and not after
 * verdicts, every third one. Every length in both. */
#ifdef __SANITIZE_ADDRESS__
#define WW_CHANGES_STEP 3
#else
#define WW_CHANGES_STEP 1
#endif
static inline void refuses_every_change(ww_accepts_fn accepts, void *payload,
                                        uint8_t *bytes, size_t len)
{
    refuses_changes(accepts, payload, bytes, len, WW_CHANGES_STEP);
}

/** Without the syncs of a durable write, and without those of a file system that takes a
 *  file cut to nothing for a careless one: tens of thousands of them take minutes. */
static inline void write_quickly(const char *path, const uint8_t *bytes, size_t len)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, 0), (ssize_t)len);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

#endif
