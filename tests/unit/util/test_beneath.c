/* SPDX-License-Identifier: Apache-2.0 */
/* Every case runs against the kernel's resolution and against the walk in user space;
 * both must give the same answer. */
#include "ww_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "util/beneath.h"
#include "util/fail.h"

static char *folder;
static int top = -1;

static void write_file(const char *path, const char *text)
{
    int fd = openat(top, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

/* top/outside and, below top/in, what the cases open. */
static int set_up(void **state)
{
    (void)state;
    folder = ww_test_mkdir();
    top = open(folder, O_RDONLY | O_DIRECTORY);
    assert_true(top >= 0);
    assert_int_equal(mkdirat(top, "in", 0755), 0);
    assert_int_equal(mkdirat(top, "in/sub", 0755), 0);
    write_file("outside", "outside");
    write_file("in/file", "file");
    write_file("in/sub/deep", "deep");
    static const char *const links[][2] = {
        {"file", "in/link"},
        {"../outside", "in/up"},
        {"/etc/passwd", "in/abs"},
        {"loop", "in/loop"},
        {"sub", "in/dirlink"},
        {"../file", "in/sub/back"},
        {"../../outside", "in/sub/up2"},
        {"sub/../link", "in/twice"},
        {"gone", "in/dangling"},
        {"./sub//deep", "in/odd"},
        {"sub/", "in/slash"},
        {"..", "in/dots"},
        {"sub/../../in/file", "in/out_and_in"},
    };
    for (size_t i = 0; i < WW_LEN(links); i++) {
        assert_int_equal(symlinkat(links[i][0], top, links[i][1]), 0);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(top);
    ww_test_rmdir(folder);
    return 0;
}

typedef int (*open_fn)(int dirfd, const char *path, int flags, bool follow);

static const struct {
    const char *path;
    bool follow;
    const char *text; /* NULL: fails with the number beside it */
    int sys_errno;
} cases[] = {
    {"file", false, "file", 0},          {"sub/deep", false, "deep", 0},
    {"link", false, NULL, ELOOP},        {"dirlink/deep", false, NULL, ELOOP},
    {"up", false, NULL, ELOOP},          {"link", true, "file", 0},
    {"dirlink/deep", true, "deep", 0},   {"slash/deep", true, "deep", 0},
    {"sub/back", true, "file", 0},       {"dirlink/back", true, "file", 0},
    {"twice", true, "file", 0},          {"odd", true, "deep", 0},
    {"up", true, NULL, EXDEV},           {"abs", true, NULL, EXDEV},
    {"sub/up2", true, NULL, EXDEV},      {"dots/outside", true, NULL, EXDEV},
    {"out_and_in", true, NULL, EXDEV},   {"..", true, NULL, EXDEV},
    {"../outside", false, NULL, EXDEV},  {"sub/../../outside", false, NULL, EXDEV},
    {"/etc/passwd", false, NULL, EXDEV}, {"loop", true, NULL, ELOOP},
    {"dangling", true, NULL, ENOENT},    {"gone", false, NULL, ENOENT},
    {"gone/deep", false, NULL, ENOENT},  {"file/deep", false, NULL, ENOTDIR},
};

static void check_case(size_t i, open_fn open_it, const char *which)
{
    char text[16] = "";
    int dirfd = openat(top, "in", O_RDONLY | O_DIRECTORY);
    int fd = open_it(dirfd, cases[i].path, O_RDONLY, cases[i].follow);
    if (cases[i].text) {
        if (fd < 0) {
            fail_msg("%s: '%s': %s", which, cases[i].path, strerror(-fd));
        }
        assert_true(read(fd, text, sizeof(text) - 1) > 0);
        assert_string_equal(text, cases[i].text);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        close(fd);
    } else if (fd != -cases[i].sys_errno) {
        fail_msg("%s: '%s': got %d, want -%d", which, cases[i].path, fd,
                 cases[i].sys_errno);
    }
    close(dirfd);
}

static void kernel_and_walk_agree(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        check_case(i, ww_open_beneath, "kernel");
        check_case(i, ww_open_beneath_walk, "walk");
    }
}

static void link_as_a_folder_is_still_a_link(void **state)
{
    (void)state;
    static const open_fn both[] = {ww_open_beneath, ww_open_beneath_walk};
    for (size_t i = 0; i < WW_LEN(both); i++) {
        int flags = O_RDONLY | O_DIRECTORY;
        assert_int_equal(both[i](top, "in/dirlink", flags, false), -ELOOP);
        assert_int_equal(both[i](top, "in/file", flags, false), -ENOTDIR);
        int fd = both[i](top, "in/dirlink", flags, true);
        assert_true(fd >= 0);
        close(fd);
    }
}

static void walk_leaks_no_descriptor(void **state)
{
    (void)state;
    int before = dup(top);
    close(before);
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        check_case(i, ww_open_beneath_walk, "walk");
    }
    int after = dup(top);
    close(after);
    assert_int_equal(before, after);
}

static void walk_opens_the_folder_itself(void **state)
{
    (void)state;
    int fd = ww_open_beneath_walk(top, ".", O_RDONLY | O_DIRECTORY, false);
    assert_true(fd >= 0);
    close(fd);
    fd = ww_open_beneath_walk(top, "in/sub/..", O_RDONLY | O_DIRECTORY, true);
    assert_true(fd >= 0);
    struct stat a;
    struct stat b;
    assert_int_equal(fstat(fd, &a), 0);
    assert_int_equal(fstatat(top, "in", &b, 0), 0);
    assert_true(a.st_ino == b.st_ino);
    close(fd);
}

static void walk_limits_its_depth(void **state)
{
    (void)state;
    char path[256] = "";
    for (size_t i = 0; i < 70; i++) {
        size_t n = strlen(path);
        snprintf(path + n, sizeof(path) - n, "%sd", n ? "/" : "");
        assert_int_equal(mkdirat(top, path, 0755), 0);
    }
    int fd = ww_open_beneath_walk(top, path, O_RDONLY | O_DIRECTORY, false);
    assert_int_equal(fd, -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_and_walk_agree),
        cmocka_unit_test(link_as_a_folder_is_still_a_link),
        cmocka_unit_test(walk_leaks_no_descriptor),
        cmocka_unit_test(walk_opens_the_folder_itself),
        cmocka_unit_test(walk_limits_its_depth),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
