/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per path given: "OK", or the name of the error and its text. With a folder it
 * opens a model, with a file a single safetensors file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/st_file.h"
#include "weightward/model.h"

static enum ww_err probe_file(const char *path, struct ww_error *err)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    struct ww_st_file file;
    snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) : 1,
             slash ? path : ".");
    int dirfd = open(folder, O_RDONLY | O_DIRECTORY);
    if (dirfd < 0) {
        err->code = WW_E_NOTFOUND;
        snprintf(err->text, sizeof(err->text), "no folder");
        return WW_E_NOTFOUND;
    }
    enum ww_err rc = ww_st_file_open(dirfd, slash ? slash + 1 : path, &file, err);
    ww_st_file_close(&file);
    close(dirfd);
    return rc;
}

static enum ww_err probe_folder(const char *path, struct ww_error *err)
{
    struct ww_model *model = NULL;
    enum ww_err rc = ww_model_open(path, &model, err);
    ww_model_close(model);
    return rc;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct ww_error err = {0};
        struct stat st;
        bool is_folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        enum ww_err rc = (is_folder ? probe_folder : probe_file)(argv[i], &err);
        if (rc) {
            printf("%s %s\n", ww_err_name(rc), err.text);
        } else {
            printf("OK\n");
        }
    }
    return 0;
}
