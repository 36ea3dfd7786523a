/* SPDX-License-Identifier: Apache-2.0 */
#include "ww_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

static char *cache;
static int top = -1;   /* the cache: models--x */
static int model = -1; /* models--x/snapshots/REV */

static void put_file(int dirfd, const char *path)
{
    int fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, path, strlen(path)), strlen(path));
    close(fd);
}

static void put_link(const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, model, path), 0);
}

static int set_up(void **state)
{
    (void)state;
    static const char *const folders[] = {
        "blobs",         "blobs/dir",         "snapshots",
        "snapshots/REV", "snapshots/REV/sub", "snapshots/other"};
    cache = ww_test_mkdir();
    top = open(cache, O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < WW_LEN(folders); i++) {
        assert_int_equal(mkdirat(top, folders[i], 0755), 0);
    }
    model = openat(top, "snapshots/REV", O_RDONLY | O_DIRECTORY);
    put_file(top, "blobs/aa11");
    put_file(top, "blobs/dir/file");
    put_file(top, "secret");
    put_file(top, "snapshots/other/blob");
    assert_int_equal(symlinkat("../secret", top, "blobs/evil"), 0);
    put_file(model, "plain");
    put_file(model, "sub/plain");
    put_link("../../blobs/aa11", "hub");
    put_link("../../../blobs/aa11", "sub/hub");
    put_link("../../blobs/evil", "hub_to_link");
    put_link("../../blobs/dir/file", "hub_deeper");
    put_link("../../blobs/gone", "hub_gone");
    put_link("../../blobs/dir", "hub_folder");
    put_link("../../blobs/../secret", "hub_climbs");
    put_link("../../secret", "to_secret");
    put_link("../other/blob", "to_sibling");
    put_link("/etc/passwd", "to_passwd");
    put_link("../../../../blobs/aa11", "too_far");
    put_link("../../blobs/aa11", "sub/too_near");
    put_link("plain", "inside");
    put_link("hub", "to_hub");
    put_link("sub", "subfolder");
    assert_int_equal(mkfifoat(model, "fifo", 0644), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(top);
    close(model);
    ww_test_rmdir(cache);
    return 0;
}

static const struct {
    const char *path;
    enum ww_links links;
    enum ww_err want;
} cases[] = {
    {"plain", WW_LINKS_REFUSE, WW_OK},
    {"sub/plain", WW_LINKS_REFUSE, WW_OK},
    {"inside", WW_LINKS_REFUSE, WW_E_PATH},
    {"subfolder/plain", WW_LINKS_REFUSE, WW_E_PATH},
    {"hub", WW_LINKS_REFUSE, WW_E_PATH},
    {"inside", WW_LINKS_INSIDE, WW_OK},
    {"subfolder/plain", WW_LINKS_INSIDE, WW_OK},
    {"hub", WW_LINKS_INSIDE, WW_E_PATH},
    {"to_secret", WW_LINKS_INSIDE, WW_E_PATH},
    {"plain", WW_LINKS_HUB, WW_OK},
    {"inside", WW_LINKS_HUB, WW_OK},
    {"hub", WW_LINKS_HUB, WW_OK},
    {"sub/hub", WW_LINKS_HUB, WW_OK},
    {"hub_to_link", WW_LINKS_HUB, WW_E_PATH},
    {"hub_deeper", WW_LINKS_HUB, WW_E_PATH},
    {"hub_gone", WW_LINKS_HUB, WW_E_NOTFOUND},
    {"hub_folder", WW_LINKS_HUB, WW_E_PATH},
    {"hub_climbs", WW_LINKS_HUB, WW_E_PATH},
    {"to_secret", WW_LINKS_HUB, WW_E_PATH},
    {"to_sibling", WW_LINKS_HUB, WW_E_PATH},
    {"to_passwd", WW_LINKS_HUB, WW_E_PATH},
    {"too_far", WW_LINKS_HUB, WW_E_PATH},
    {"sub/too_near", WW_LINKS_HUB, WW_E_PATH},
    {"subfolder/hub", WW_LINKS_HUB, WW_E_PATH},
    {"to_hub", WW_LINKS_HUB, WW_E_PATH},
    {"gone", WW_LINKS_HUB, WW_E_NOTFOUND},
    {"plain/x", WW_LINKS_REFUSE, WW_E_NOTFOUND},
    {"sub", WW_LINKS_REFUSE, WW_E_PATH},
    {"fifo", WW_LINKS_REFUSE, WW_E_PATH},
    {"../../secret", WW_LINKS_HUB, WW_E_PATH},
    {"/etc/passwd", WW_LINKS_HUB, WW_E_PATH},
    {"sub/../plain", WW_LINKS_HUB, WW_E_PATH},
    {"", WW_LINKS_HUB, WW_E_PATH},
};

static void links_are_followed_as_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < WW_LEN(cases); i++) {
        struct ww_error err = {0};
        struct stat st;
        int fd = 99;
        enum ww_err rc =
            ww_file_open_at(model, cases[i].path, cases[i].links, &fd, &st, &err);
        if (rc != cases[i].want) {
            fail_msg("'%s' with %d: got %s (%s), want %s", cases[i].path,
                     (int)cases[i].links, ww_err_name(rc), err.text,
                     ww_err_name(cases[i].want));
        }
        assert_int_equal(fd < 0, rc != WW_OK);
        if (rc == WW_OK) {
            assert_true(S_ISREG(st.st_mode));
            assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
            close(fd);
        }
    }
}

static void hub_link_reaches_its_blob(void **state)
{
    (void)state;
    struct ww_error err;
    struct ww_buf buf;
    ww_buf_init(&buf, 100);
    OK(ww_file_read_at(model, "sub/hub", WW_LINKS_HUB, &buf, &err));
    assert_string_equal(ww_buf_cstr(&buf), "blobs/aa11");
    ww_buf_release(&buf);
}

static void blobs_that_is_a_link_is_not_entered(void **state)
{
    (void)state;
    struct ww_error err;
    int fd = -1;
    assert_int_equal(renameat(top, "blobs", top, "moved"), 0);
    assert_int_equal(symlinkat("moved", top, "blobs"), 0);
    FAILS(ww_file_open_at(model, "hub", WW_LINKS_HUB, &fd, NULL, &err), WW_E_PATH);
    assert_int_equal(unlinkat(top, "blobs", 0), 0);
    assert_int_equal(renameat(top, "moved", top, "blobs"), 0);
}

static void socket_is_no_file(void **state)
{
    (void)state;
    struct ww_error err;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/snapshots/REV/socket",
             cache);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    FAILS(ww_file_open_at(model, "socket", WW_LINKS_REFUSE, &fd, NULL, &err), WW_E_PATH);
}

static void user_path_may_be_a_link(void **state)
{
    (void)state;
    struct ww_error err;
    int fd = -1;
    char *path = ww_path_join(cache, "snapshots/REV/to_secret");
    OK(ww_file_open(path, &fd, NULL, &err));
    close(fd);
    ww_free(path);
    FAILS(ww_file_open("/nonexistent/x", &fd, NULL, &err), WW_E_NOTFOUND);
    FAILS(ww_file_open("/dev/null", &fd, NULL, &err), WW_E_PATH);
    FAILS(ww_file_open(cache, &fd, NULL, &err), WW_E_PATH);
}

static void only_a_folder_opens_as_one(void **state)
{
    (void)state;
    struct ww_error err;
    int fd = -1;
    OK(ww_dir_open(cache, &fd, &err));
    close(fd);
    FAILS(ww_dir_open("/nonexistent", &fd, &err), WW_E_NOTFOUND);
    assert_int_equal(fd, -1);
    FAILS(ww_dir_open("/dev/null", &fd, &err), WW_E_IO);
    assert_non_null(strstr(err.text, "cannot open folder '/dev/null'"));

    char *file = ww_path_join(cache, "secret");
    FAILS(ww_dir_open(file, &fd, &err), WW_E_IO);
    assert_non_null(strstr(err.text, "it is a file; give the folder that holds it"));
    OK(ww_dir_open_of(file, &fd, &err));
    close(fd);
    ww_free(file);
}

static void errno_maps_to_a_code(void **state)
{
    (void)state;
    assert_int_equal(ww_err_from_errno(ENOSPC), WW_E_NOSPACE);
    assert_int_equal(ww_err_from_errno(EDQUOT), WW_E_NOSPACE);
    assert_int_equal(ww_err_from_errno(ENOENT), WW_E_NOTFOUND);
    assert_int_equal(ww_err_from_errno(EEXIST), WW_E_EXISTS);
    assert_int_equal(ww_err_from_errno(ENOMEM), WW_E_NOMEM);
    assert_int_equal(ww_err_from_errno(EACCES), WW_E_IO);
    assert_int_equal(ww_err_from_errno(0), WW_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_are_followed_as_told),
        cmocka_unit_test(hub_link_reaches_its_blob),
        cmocka_unit_test(blobs_that_is_a_link_is_not_entered),
        cmocka_unit_test(socket_is_no_file),
        cmocka_unit_test(user_path_may_be_a_link),
        cmocka_unit_test(only_a_folder_opens_as_one),
        cmocka_unit_test(errno_maps_to_a_code),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
