/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a journal: one writer, one write and one flush per line. */
#include "evo/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "evo/journal_int.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/fs.h"
#include "util/num.h"

#define MAX_BYTES ((size_t)1 << 30)

void ww_journal_close(struct ww_journal *journal)
{
    if (!journal) {
        return;
    }
    for (uint32_t i = 0; i < journal->room; i++) {
        ww_free(journal->entry[i].scores);
        ww_free(journal->entry[i].why);
    }
    if (journal->fd >= 0) {
        close(journal->fd);
    }
    ww_free(journal->entry);
    ww_free(journal->path);
    ww_free(journal);
}

size_t ww_journal_count(const struct ww_journal *journal)
{
    return journal->n;
}

const struct ww_journal_entry *ww_journal_find(const struct ww_journal *journal,
                                               uint32_t trial)
{
    bool known = trial < journal->room && journal->entry[trial].known;
    return known ? &journal->entry[trial] : NULL;
}

static enum ww_err make_room(struct ww_journal *journal, uint32_t trial,
                             struct ww_error *err)
{
    if (trial < journal->room) {
        return WW_OK;
    }
    uint32_t room = (uint32_t)ww_max_u64(64, 2 * (uint64_t)trial);
    struct ww_journal_entry *more = ww_realloc_array(journal->entry, room, sizeof(*more));
    if (!more) {
        return WW_FAIL_MEMORY(err, "a journal");
    }
    memset(more + journal->room, 0, (room - journal->room) * sizeof(*more));
    journal->entry = more;
    journal->room = room;
    return WW_OK;
}

enum ww_err ww_journal_keep(struct ww_journal *journal, uint32_t trial,
                            const struct ww_journal_entry *entry, struct ww_error *err)
{
    struct ww_journal_entry copy = *entry;
    enum ww_err rc = make_room(journal, trial, err);
    if (rc) {
        return rc;
    }
    copy.known = true;
    copy.scores = entry->n ? ww_calloc(entry->n, sizeof(*copy.scores)) : NULL;
    copy.why = entry->why ? ww_strdup(entry->why) : NULL;
    if ((entry->n && !copy.scores) || (entry->why && !copy.why)) {
        ww_free(copy.scores);
        ww_free(copy.why);
        return WW_FAIL_MEMORY(err, "a journal");
    }
    if (entry->n) {
        memcpy(copy.scores, entry->scores, entry->n * sizeof(*copy.scores));
    }
    journal->entry[trial] = copy;
    journal->n++;
    return WW_OK;
}

/* What could not be written whole is taken back, as far as that can be. */
static enum ww_err append(struct ww_journal *journal, const struct ww_buf *line,
                          struct ww_error *err)
{
    enum ww_err rc = ww_pwrite_full(journal->fd, line->data, line->len,
                                    journal->size_bytes, journal->path, err);
    if (!rc) {
        rc = ww_fsync(journal->fd, journal->path, err);
    }
    if (rc) {
        (void)!ftruncate(journal->fd, (off_t)journal->size_bytes);
        return rc;
    }
    memcpy(journal->check, line->data, WW_JOURNAL_CHECK);
    journal->size_bytes += line->len;
    return WW_OK;
}

enum ww_err ww_journal_add(struct ww_journal *journal, uint32_t trial,
                           const struct ww_journal_entry *entry, struct ww_error *err)
{
    struct ww_buf line;
    enum ww_err rc = WW_OK;
    ww_buf_init(&line, MAX_BYTES);
    if (trial >= WW_JOURNAL_MAX_TRIALS || ww_journal_find(journal, trial)) {
        rc = WW_FAIL(err, WW_E_USAGE, "trial %u is in journal '%s' or too many", trial,
                     journal->path);
        goto out;
    }
    rc = ww_journal_line(journal, trial, entry, NULL, &line, err);
    if (!rc) {
        rc = append(journal, &line, err);
    }
    if (!rc) {
        rc = ww_journal_keep(journal, trial, entry, err);
    }
out:
    ww_buf_release(&line);
    return rc;
}

static enum ww_err open_locked(struct ww_journal *journal, struct stat *st,
                               struct ww_error *err)
{
    journal->fd =
        open(journal->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (journal->fd < 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, ww_err_from_errno(e), e, "cannot open journal '%s'",
                           journal->path);
    }
    if (flock(journal->fd, LOCK_EX | LOCK_NB) != 0) {
        const int e = errno;
        return WW_FAIL_SYS(err, WW_E_IO, e == EWOULDBLOCK ? 0 : e,
                           "journal '%s' is being written by another run; wait for its "
                           "end",
                           journal->path);
    }
    if (fstat(journal->fd, st) != 0 || !S_ISREG(st->st_mode)) {
        return WW_FAIL(err, WW_E_IO, "journal '%s' is no regular file", journal->path);
    }
    if ((uint64_t)st->st_size > MAX_BYTES) {
        return WW_FAIL(err, WW_E_LIMIT, "journal '%s' is larger than 1 GiB",
                       journal->path);
    }
    return WW_OK;
}

/* What is there is read; an unfinished line is cut off; a head is written where none is.
 */
static enum ww_err begin(struct ww_journal *journal, size_t len, const uint8_t run[32],
                         struct ww_error *err)
{
    struct ww_buf text;
    enum ww_err rc = WW_OK;
    ww_buf_init(&text, MAX_BYTES);
    rc = ww_buf_reserve(&text, len + 1, err);
    if (!rc) {
        rc = ww_pread_full(journal->fd, text.data, len, 0, journal->path, err);
    }
    if (!rc) {
        rc = ww_journal_read(journal, text.data, len, run, err);
    }
    if (!rc && journal->size_bytes < len &&
        ftruncate(journal->fd, (off_t)journal->size_bytes) != 0) {
        rc = WW_FAIL_SYS(err, WW_E_IO, errno, "cannot shorten journal '%s'",
                         journal->path);
    }
    ww_buf_clear(&text);
    if (!rc && journal->size_bytes == 0) {
        rc = ww_journal_line(journal, 0, NULL, run, &text, err);
        if (!rc) {
            rc = append(journal, &text, err);
        }
        if (!rc) {
            rc = ww_fsync_folder_of(journal->path, err);
        }
    }
    ww_buf_release(&text);
    return rc;
}

enum ww_err ww_journal_open(const char *path, const uint8_t run[32],
                            struct ww_journal **out, struct ww_error *err)
{
    struct stat st;
    enum ww_err rc = WW_OK;
    struct ww_journal *journal = ww_calloc(1, sizeof(*journal));
    *out = NULL;
    if (!journal) {
        return WW_FAIL_MEMORY(err, "a journal");
    }
    journal->fd = -1;
    journal->path = ww_strdup(path);
    if (!journal->path) {
        rc = WW_FAIL_MEMORY(err, "a journal");
        goto out;
    }
    rc = open_locked(journal, &st, err);
    if (!rc) {
        rc = begin(journal, (size_t)st.st_size, run, err);
    }
    if (!rc) {
        *out = journal;
        journal = NULL;
    }
out:
    ww_journal_close(journal);
    return rc;
}
