/* SPDX-License-Identifier: Apache-2.0 */
#include "util/work_folder.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"

#define MARK ".weightward-work"

/* Without the mark only what a run leaves that was killed while it wrote the mark. */
static enum ww_err remove_old(const char *path, struct ww_error *err)
{
    char *mark = ww_path_join(path, MARK);
    char *partial = ww_path_join(path, MARK ".partial");
    struct stat st;
    enum ww_err rc = mark && partial ? WW_OK : WW_FAIL_MEMORY(err, "a path");

    if (!rc && lstat(mark, &st) == 0 && S_ISREG(st.st_mode)) {
        rc = ww_remove_tree(path, err);
    } else if (!rc) {
        (void)unlink(partial);
        (void)rmdir(path);
    }
    ww_free(partial);
    ww_free(mark);
    return rc;
}

static enum ww_err put_mark(const char *path, struct ww_error *err)
{
    int fd = -1;
    enum ww_err rc = ww_dir_open(path, &fd, err);

    if (!rc) {
        rc = ww_file_write_at(fd, MARK, "", 0, 0644, false, err);
        close(fd);
    }
    return rc;
}

enum ww_err ww_work_folder_make(const char *path, mode_t mode, bool replace,
                                struct ww_error *err)
{
    enum ww_err rc = replace ? remove_old(path, err) : WW_OK;

    if (!rc && mkdir(path, mode) != 0) {
        const int e = errno;
        return e == EEXIST ? WW_FAIL(err, WW_E_EXISTS,
                                     "folder '%s' exists; move or remove it", path)
                           : WW_FAIL_SYS(err, ww_err_from_errno(e), e,
                                         "cannot make folder '%s'", path);
    }
    if (!rc) {
        rc = put_mark(path, err);
        if (rc) { /* without its mark the next run would not know it */
            (void)!ww_remove_tree(path, NULL);
        }
    }
    return rc;
}
