/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main for fuzz targets without a fuzzer: every file of the folders given, whole, and
 * small files also cut at every length. Each input lies in a block of exactly its size,
 * so that a sanitizer sees one byte too many.
 */
#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

#define TRUNCATE_BELOW 4096

static void feed(const uint8_t *bytes, size_t n)
{
    uint8_t *exact = malloc(n ? n : 1);
    if (!exact) {
        abort();
    }
    if (n) {
        memcpy(exact, bytes, n);
    }
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
}

static int replay_file(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) != 0) {
        fprintf(stderr, "cannot open '%s'\n", path);
        return 1;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *bytes = malloc(size ? size : 1);
    if (!bytes || fread(bytes, 1, size, f) != size) {
        fprintf(stderr, "cannot read '%s'\n", path);
        fclose(f);
        free(bytes);
        return 1;
    }
    fclose(f);
    feed(bytes, size);
    for (size_t n = 0; size < TRUNCATE_BELOW && n < size; n++) {
        feed(bytes, n);
    }
    free(bytes);
    return 0;
}

static int replay_folder(const char *folder, size_t *n_files)
{
    int failed = 0;
    DIR *dir = opendir(folder);
    if (!dir) {
        fprintf(stderr, "cannot open folder '%s'\n", folder);
        return 1;
    }
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char path[4096];
        if (e->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
        failed |= replay_file(path);
        ++*n_files;
    }
    closedir(dir);
    return failed;
}

int main(int argc, char **argv)
{
    size_t n_files = 0;
    int failed = 0;
    for (int i = 1; i < argc; i++) {
        failed |= replay_folder(argv[i], &n_files);
    }
    if (n_files == 0) {
        fprintf(stderr, "no input was found\n");
        return 1;
    }
    return failed;
}
