/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole catalogue with bytes changed, searched and added to. The input is a list of
 * changes: where (three bytes), how many bytes less one, and those bytes. Pages are of 1
 * KiB, so that trees have branches and blobs are chains of pages.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "lineage/catalogue_search.h"
#include "util/alloc.h"

#define N_TENSORS 3
#define N_ROWS 40
#define N_SPECTRA 8

/* What prints point at. */
struct room {
    struct ww_print print;
    struct ww_print_tensor tensors[N_TENSORS];
    uint64_t rows[N_TENSORS][N_ROWS];
    float coarse[WW_SKETCH_COARSE];
    float gram[WW_PRINT_GRAM];
    float spectra[N_SPECTRA];
    float chance[N_SPECTRA];
};

static struct room rooms[4]; /* root, two members, suspect */
static char path[64];
static uint8_t *good;
static uint8_t *changed;
static size_t good_size;

static float drawn(uint64_t seed)
{
    return (float)(ww_mix64(seed) >> 40) / (float)(1 << 24) - 0.5F;
}

/* Members are a tenth of the root's length away; the suspect is half of the first. */
static void fill_room(unsigned which)
{
    static const char *const names[] = {"embed_tokens.weight", "layers.0.q",
                                        "layers.1.q"};
    struct room *r = &rooms[which];
    struct ww_print *p = &r->print;

    for (size_t i = 0; i < WW_SKETCH_COARSE; i++) {
        const unsigned from = which == 3 ? 1 : which;
        const float times = which == 3 ? 0.05F : which == 0 ? 0 : 0.1F;
        r->coarse[i] = drawn(i) + times * drawn((uint64_t)from << 32 | i);
    }
    for (size_t i = 0; i < WW_PRINT_GRAM; i++) {
        r->gram[i] = 1 + drawn(i);
    }
    for (size_t i = 0; i < N_SPECTRA; i++) {
        r->spectra[i] = 2 + drawn(i) + 0.01F * drawn((uint64_t)which << 32 | i);
    }
    for (uint32_t k = 0; k < N_TENSORS; k++) {
        r->tensors[k] = (struct ww_print_tensor){.name = names[k],
                                                 .index = k,
                                                 .layer = k ? k - 1 : WW_NONE,
                                                 .rows = N_ROWS,
                                                 .row_hashes = r->rows[k],
                                                 .n_row_hashes = N_ROWS};
        memset(r->tensors[k].sha256, (int)(which == 3 && k ? 16 + k : 16 * which + k),
               WW_SHA256_BYTES);
        for (uint64_t i = 0; i < N_ROWS; i++) {
            r->rows[k][i] = ww_mix64(i + 1000 * (which == 3 ? 2 : which));
        }
    }
    *p = (struct ww_print){.tensors = r->tensors,
                           .n_tensors = N_TENSORS,
                           .body = 1e6,
                           .coarse = r->coarse,
                           .gram = which % 3 ? NULL : r->gram,
                           .spectra = r->spectra,
                           .chance = r->chance,
                           .n_spectra = N_SPECTRA};
    memset(p->digest, (int)which, sizeof(p->digest));
}

static void add(struct ww_db *db, unsigned which)
{
    static const char *const names[] = {"root", "one", "two"};
    const struct ww_store_model who = {
        .name = names[which], .place = "/nowhere", .root = which == 0};
    struct ww_error err = {0};
    char *known = NULL;

    FUZZ_CHECK(!ww_store_add(db, &who, &rooms[which].print, &known, &err));
    FUZZ_CHECK(!known);
}

static void run(struct ww_db *db, const char *sql)
{
    struct ww_error err = {0};
    FUZZ_CHECK(!ww_db_run(db, sql, NULL, 0, NULL, NULL, &err));
}

static void remove_file(void)
{
    (void)unlink(path);
}

static void make_good(void)
{
    bool sampled = false;
    struct ww_db *db = NULL;
    struct ww_error err = {0};
    int fd = -1;

    /* In memory where that is to be had: every commit waits for its file. */
    (void)snprintf(path, sizeof(path), "%s/ww-fuzz-catalogue-%ld.db",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (long)getpid());
    (void)unlink(path);
    FUZZ_CHECK(atexit(remove_file) == 0);
    for (unsigned i = 0; i < 4; i++) {
        fill_room(i);
    }
    FUZZ_CHECK(!ww_store_open(path, WW_DB_WRITE, &sampled, &db, &err));
    for (unsigned i = 0; i < 3; i++) {
        add(db, i);
    }
    run(db, "PRAGMA page_size = 1024");
    run(db, "VACUUM");
    ww_db_close(db);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(fd >= 0);
    good_size = (size_t)lseek(fd, 0, SEEK_END);
    good = malloc(good_size);
    changed = malloc(good_size);
    FUZZ_CHECK(good && changed && good_size > 65536);
    FUZZ_CHECK(pread(fd, good, good_size, 0) == (ssize_t)good_size);
    close(fd);
}

static void change(const uint8_t *data, size_t size)
{
    int fd = -1;

    memcpy(changed, good, good_size);
    while (size > 4) {
        const size_t at =
            ((size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % good_size;
        size_t n = (size_t)data[3] + 1;
        data += 4;
        size -= 4;
        n = n < size ? n : size;
        n = n < good_size - at ? n : good_size - at;
        memcpy(changed + at, data, n);
        data += n;
        size -= n;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(write(fd, changed, good_size) == (ssize_t)good_size);
    close(fd);
}

/* rounded: as a suspect whose weights were rounded in blocks. */
static enum ww_err search(struct ww_db *db, bool rounded, struct ww_find_report *report,
                          struct ww_error *err)
{
    struct ww_print print = rooms[3].print;
    struct ww_lookup s = {.db = db, .print = &print, .threads = 1, .report = report};
    enum ww_err rc = WW_OK;

    print.noise = rounded ? 0.01 : 0;
    rc = ww_lookup_run(&s, err);
    ww_lookup_release(&s);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_find_report report = {.unexplained = -1};
    struct ww_error err = {0};
    struct ww_error write_err = {0};
    struct ww_db *db = NULL;
    bool sampled = false;
    bool fine = false;
    enum ww_err rc = WW_OK;

    if (!good) {
        make_good();
    }
    change(data, size);
    rc = ww_store_open(path, WW_DB_READ, &sampled, &db, &err);
    rc = rc ? rc : ww_store_has_fine(db, &fine, &err);
    rc = rc ? rc : search(db, size % 2, &report, &err);
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    FUZZ_CHECK(size > 4 || (report.root && report.n_matches > 0));
    ww_find_report_release(&report);
    ww_db_close(db);

    db = NULL;
    sampled = false;
    rc = ww_store_open(path, WW_DB_WRITE, &sampled, &db, &write_err);
    if (!rc) {
        const struct ww_store_model who = {.name = "new", .place = "/new"};
        char *known = NULL;
        rc = ww_store_add(db, &who, &rooms[3].print, &known, &write_err);
        ww_free(known);
    }
    FUZZ_CHECK((rc == WW_OK) == (write_err.text[0] == '\0'));
    ww_db_close(db);
    return 0;
}
