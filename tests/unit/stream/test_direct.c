/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing past the page cache, through it, and where it is refused. */
#include "stream/direct.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "stream/arena.h"
#include "stream_fixture.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fault.h"

#define N (5 * WW_IO_PAGE + 123)

static const char *const places[] = {NULL, "/dev/shm"};

static void source_reads_what_is_there(const char *where, bool direct, bool cached)
{
    struct ww_error err = {0};
    struct fx *f = fx_new(where, 4);
    uint32_t in = fx_input(f, N, false);
    struct ww_source source;
    uint8_t *buf = ww_alloc_aligned(WW_IO_PAGE, 8 * WW_IO_PAGE);

    if (!cached) {
        assert_int_equal(fsync(f->inputs[in].fd), 0);
        posix_fadvise(f->inputs[in].fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    OK(ww_source_open(&source, "in", f->inputs[in].fd, N, direct, &err));
    OK(ww_source_read(&source, buf, 0, N, 6 * WW_IO_PAGE, &err));
    assert_memory_equal(buf, f->data[in], N);
    OK(ww_source_read(&source, buf, WW_IO_PAGE, 77, WW_IO_PAGE, &err));
    assert_memory_equal(buf, f->data[in] + WW_IO_PAGE, 77);
    OK(ww_source_read_any(&source, buf, 4097, 5000, &err));
    assert_memory_equal(buf, f->data[in] + 4097, 5000);
    FAILS(ww_source_read(&source, buf, 5 * WW_IO_PAGE, 124, WW_IO_PAGE, &err),
          WW_E_CHANGED);
    OK(ww_source_unchanged(&source, &err));
    assert_int_equal(ftruncate(f->inputs[in].fd, N - 1), 0);
    FAILS(ww_source_unchanged(&source, &err), WW_E_CHANGED);
    FAILS(ww_source_read(&source, buf, 0, N, 6 * WW_IO_PAGE, &err), WW_E_CHANGED);
    ww_source_close(&source);
    ww_source_close(&source);
    FAILS(ww_source_open(&source, "in", f->inputs[in].fd, N, direct, &err), WW_E_CHANGED);
    FAILS(ww_source_open(&source, "in", -1, N, direct, &err), WW_E_IO);
    ww_free(buf);
    fx_free(f);
}

static void source_reads_everywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        if (places[i] && access(places[i], W_OK) != 0) {
            continue;
        }
        source_reads_what_is_there(places[i], true, true);
        source_reads_what_is_there(places[i], true, false);
        source_reads_what_is_there(places[i], false, true);
    }
}

static void sink_round(const char *where, bool direct)
{
    struct ww_error err = {0};
    struct fx *f = fx_new(where, 4);
    int dir = open(f->dir, O_RDONLY | O_DIRECTORY);
    struct ww_sink sink = {.fd = -1};
    uint8_t *buf = ww_alloc_aligned(WW_IO_PAGE, 6 * WW_IO_PAGE);
    uint8_t *back = ww_alloc_aligned(WW_IO_PAGE, 6 * WW_IO_PAGE);
    uint8_t *scratch = ww_alloc_aligned(WW_IO_PAGE, WW_SINK_SCRATCH);
    bool kept = true;

    fx_fill(&f->seed, buf, N);
    OK(ww_sink_open(&sink, dir, "x", N, direct, false, &err));
    OK(ww_sink_write(&sink, buf + 2 * WW_IO_PAGE, 4 * WW_IO_PAGE, 2 * WW_IO_PAGE, scratch,
                     &kept, &err));
    assert_false(kept);
    OK(ww_sink_write(&sink, buf, 2 * WW_IO_PAGE, 0, scratch, &kept, &err));
    OK(ww_sink_finish(&sink, N, &err));
    assert_int_equal(sink.fd, -1);
    int fd = openat(dir, "x", O_RDWR);
    assert_int_equal(read(fd, back, 6 * WW_IO_PAGE), N);
    assert_memory_equal(back, buf, N);
    FAILS(ww_sink_open(&sink, dir, "x", N, direct, false, &err), WW_E_EXISTS);

    /* Continued: what is there stays, what is not is written. */
    assert_int_equal(pwrite(fd, "!", 1, 3 * WW_IO_PAGE), 1);
    close(fd);
    OK(ww_sink_open(&sink, dir, "x", N, direct, true, &err));
    OK(ww_sink_write(&sink, buf, 2 * WW_IO_PAGE, 0, scratch, &kept, &err));
    assert_true(kept);
    OK(ww_sink_write(&sink, buf + 2 * WW_IO_PAGE, 2 * WW_IO_PAGE, 2 * WW_IO_PAGE, scratch,
                     &kept, &err));
    assert_false(kept);
    OK(ww_sink_finish(&sink, N, &err));
    fd = openat(dir, "x", O_RDONLY);
    assert_int_equal(read(fd, back, 6 * WW_IO_PAGE), N);
    assert_memory_equal(back, buf, N);
    close(fd);
    ww_sink_close(&sink);
    close(dir);
    ww_free(buf);
    ww_free(back);
    ww_free(scratch);
    fx_free(f);
}

static void sink_writes_everywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        if (places[i] && access(places[i], W_OK) != 0) {
            continue;
        }
        sink_round(places[i], true);
        sink_round(places[i], false);
    }
}

/* A file system that takes the flag and then refuses the write: an odd buffer address is
 * refused the same way. */
static void sink_leaves_direct_when_refused(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_new(NULL, 4);
    int dir = open(f->dir, O_RDONLY | O_DIRECTORY);
    struct ww_sink sink = {.fd = -1};
    uint8_t *buf = ww_alloc_aligned(WW_IO_PAGE, 3 * WW_IO_PAGE);
    uint8_t back[WW_IO_PAGE];
    bool kept = true;

    fx_fill(&f->seed, buf, 3 * WW_IO_PAGE);
    OK(ww_sink_open(&sink, dir, "x", WW_IO_PAGE, true, false, &err));
    OK(ww_sink_write(&sink, buf + 1, WW_IO_PAGE, 0, NULL, &kept, &err));
    assert_int_equal(pread(sink.fd, back, 1, 0), 1);
    OK(ww_sink_finish(&sink, WW_IO_PAGE, &err));
    int fd = openat(dir, "x", O_RDONLY);
    assert_int_equal(read(fd, back, WW_IO_PAGE), WW_IO_PAGE);
    assert_memory_equal(back, buf + 1, WW_IO_PAGE);
    close(fd);
    close(dir);
    ww_free(buf);
    fx_free(f);
}

/* fsync at the end does not say again what the disk refused on the way. */
static void sink_tells_what_did_not_reach_the_disk(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_new(NULL, 4);
    int dir = open(f->dir, O_RDONLY | O_DIRECTORY);
    struct ww_sink sink = {.fd = -1};
    uint8_t bytes[WW_IO_PAGE] = {1};
    bool kept = true;

    OK(ww_sink_open(&sink, dir, "x", WW_IO_PAGE, false, false, &err));
    ww_fault_arm(WW_FAULT_FSYNC, 1);
    FAILS(ww_sink_write(&sink, bytes, WW_IO_PAGE, 0, NULL, &kept, &err), WW_E_IO);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    ww_sink_close(&sink);
    close(dir);
    fx_free(f);
}

/* Where a filter of system calls refuses this one, as sandboxes do. */
static int write_without_sync_file_range(int dir)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sync_file_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog filter = {WW_LEN(code), code};
    struct ww_sink sink = {.fd = -1};
    uint8_t bytes[WW_IO_PAGE] = {1};
    struct ww_error err = {0};
    bool kept = true;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        return 77; /* not here */
    }
    return ww_sink_open(&sink, dir, "x", WW_IO_PAGE, false, false, &err) ||
           ww_sink_write(&sink, bytes, WW_IO_PAGE, 0, NULL, &kept, &err) ||
           ww_sink_finish(&sink, WW_IO_PAGE, &err);
}

static void sink_writes_in_a_sandbox(void **state)
{
    (void)state;
    struct fx *f = fx_new(NULL, 4);
    const int dir = open(f->dir, O_RDONLY | O_DIRECTORY);
    const pid_t pid = fork();
    int status = 0;

    if (pid == 0) {
        _exit(write_without_sync_file_range(dir));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77);
    close(dir);
    fx_free(f);
}

static void sink_follows_no_link(void **state)
{
    (void)state;
    struct ww_error err = {0};
    struct fx *f = fx_new(NULL, 4);
    int dir = open(f->dir, O_RDONLY | O_DIRECTORY);
    struct ww_sink sink = {.fd = -1};

    assert_int_equal(symlinkat("elsewhere", dir, "x"), 0);
    FAILS(ww_sink_open(&sink, dir, "x", 1, true, true, &err), WW_E_IO);
    assert_int_equal(sink.fd, -1);
    close(dir);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(source_reads_everywhere),
        cmocka_unit_test(sink_writes_everywhere),
        cmocka_unit_test(sink_leaves_direct_when_refused),
        cmocka_unit_test(sink_tells_what_did_not_reach_the_disk),
        cmocka_unit_test(sink_writes_in_a_sandbox),
        cmocka_unit_test(sink_follows_no_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
