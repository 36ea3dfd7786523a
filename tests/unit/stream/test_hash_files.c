/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of many files at once: every size, every number of threads, every failure. */
#include "stream_fixture.h"
#include "util/fault.h"

#define MIB ((uint64_t)1 << 20)
#define FILES 9

struct files {
    char *dir;
    struct ww_hash_job jobs[FILES];
    uint8_t *data[FILES];
};

static const uint64_t sizes[FILES] = {0,       1,           4095,    4096, 2 * MIB - 1,
                                      2 * MIB, 2 * MIB + 1, 9 * MIB, 37};

static void files_make(struct files *s)
{
    uint64_t seed = 8;
    char *path = NULL;

    s->dir = ww_test_mkdir();
    for (size_t i = 0; i < FILES; i++) {
        s->data[i] = malloc(sizes[i] + 1);
        fx_fill(&seed, s->data[i], sizes[i]);
        assert_true(asprintf(&path, "%s/%zu", s->dir, i) > 0);
        int fd = open(path, O_RDWR | O_CREAT, 0644);
        assert_int_equal(write(fd, s->data[i], sizes[i]), sizes[i]);
        s->jobs[i] = (struct ww_hash_job){.fd = fd, .name = "x", .size_bytes = sizes[i]};
        free(path);
    }
}

static void files_free(struct files *s)
{
    for (size_t i = 0; i < FILES; i++) {
        close(s->jobs[i].fd);
        free(s->data[i]);
    }
    ww_test_rmdir(s->dir);
}

static void files_check(struct files *s, const struct ww_run_options *options,
                        const char *algorithm)
{
    struct ww_error err = {0};
    struct ww_digest *d = NULL;
    uint8_t want[WW_DIGEST_MAX_BYTES];

    for (size_t i = 0; i < FILES; i++) {
        memset(s->jobs[i].digest, 0, WW_DIGEST_MAX_BYTES);
    }
    OK(ww_hash_files(s->jobs, FILES, algorithm, "hash", options, &err));
    OK(ww_digest_new(algorithm, &d, &err));
    for (size_t i = 0; i < FILES; i++) {
        ww_digest_reset(d);
        ww_digest_update(d, s->data[i], sizes[i]);
        size_t n = ww_digest_final(d, want);
        assert_memory_equal(s->jobs[i].digest, want, n);
    }
    ww_digest_free(d);
}

static void hash_files_gives_digests(void **state)
{
    (void)state;
    struct files s;
    static const unsigned threads[] = {0, 1, 2, 3, 16, 100};

    files_make(&s);
    for (size_t i = 0; i < sizeof(threads) / sizeof(threads[0]); i++) {
        struct ww_run_options options = {.threads = threads[i]};
        files_check(&s, &options, "sha256");
        files_check(&s, &options, "blake2b");
    }
    struct ww_run_options tight = {.memory_bytes = 1, .direct = WW_DIRECT_NEVER};
    files_check(&s, &tight, "sha256");
    for (size_t i = 0; i < FILES; i++) { /* cold, so direct */
        assert_int_equal(fsync(s.jobs[i].fd), 0);
        posix_fadvise(s.jobs[i].fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    files_check(&s, NULL, "sha256");
    files_free(&s);
}

static void hash_files_of_nothing(void **state)
{
    (void)state;
    struct ww_error err = {0};
    OK(ww_hash_files(NULL, 0, "sha256", "hash", NULL, &err));
}

static void hash_files_fails_clearly(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct files s;
    struct ww_run_options options = {.threads = 2};

    files_make(&s);
    FAILS(ww_hash_files(s.jobs, FILES, "blake3", "hash", &options, &err),
          WW_E_UNSUPPORTED);
    s.jobs[7].size_bytes++;
    FAILS(ww_hash_files(s.jobs, FILES, "sha256", "hash", &options, &err), WW_E_CHANGED);
    s.jobs[7].size_bytes--;
    int fd = s.jobs[3].fd;
    s.jobs[3].fd = -1;
    FAILS(ww_hash_files(s.jobs, FILES, "sha256", "hash", &options, &err), WW_E_IO);
    s.jobs[3].fd = fd;
    files_free(&s);
}

static void torture(struct files *s, enum ww_fault kind, enum ww_err want)
{
    struct ww_run_options options = {.threads = 2};
    unsigned failures = 0;
    bool done = false;

    for (unsigned long n = 1; !done; n++) {
        struct ww_error err = {0};
        ww_fault_arm(kind, n);
        enum ww_err rc = ww_hash_files(s->jobs, FILES, "sha256", "hash", &options, &err);
        done = ww_fault_seen(kind) < n;
        ww_fault_arm(kind, 0);
        assert_int_equal(rc, done ? WW_OK : want);
        failures += rc ? 1 : 0;
    }
    assert_true(failures > 2);
}

static void hash_files_survives_faults(void **state)
{
    (void)state;
    struct files s;
    files_make(&s);
    torture(&s, WW_FAULT_READ, WW_E_IO);
    torture(&s, WW_FAULT_ALLOC, WW_E_NOMEM);
    files_free(&s);
}

static int cancel(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)payload;
    assert_string_equal(phase, "hash");
    assert_true(done <= total);
    return 1;
}

static void hash_files_can_be_cancelled(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct ww_run_options options = {.progress = cancel, .threads = 1};
    char *dir = ww_test_mkdir();
    char *path = NULL;

    /* A hole is read fast, yet not as fast as it is hashed here: 100 ms are over. */
    assert_true(asprintf(&path, "%s/hole", dir) > 0);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    assert_int_equal(ftruncate(fd, (off_t)(3072 * MIB)), 0);
    struct ww_hash_job job = {.fd = fd, .name = "hole", .size_bytes = 3072 * MIB};
    FAILS(ww_hash_files(&job, 1, "sha256", "hash", &options, &err), WW_E_CANCELLED);
    close(fd);
    free(path);
    ww_test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_files_gives_digests),
        cmocka_unit_test(hash_files_of_nothing),
        cmocka_unit_test(hash_files_fails_clearly),
        cmocka_unit_test(hash_files_survives_faults),
        cmocka_unit_test(hash_files_can_be_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
