/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger is whole or refused, each way of spoiling it with words of its own; what a
 * crash leaves behind is a valid beginning. */
#include "trace_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#include "crypto/signkey.h"
#include "trace/ledger_check.h"
#include "util/alloc.h"
#include "util/fault.h"

struct book {
    char *dir, *path;
    struct ww_signkey *key, *other;
    struct ww_signer signer, stranger;
    struct ww_ledger ledger;
    struct ww_error err;
};

static void book_init(struct book *b)
{
    memset(b, 0, sizeof(*b));
    b->dir = ww_test_mkdir();
    b->path = path_in(b->dir, "ledger");
    b->key = fx_signkey(b->dir, "a");
    b->other = fx_signkey(b->dir, "b");
    b->signer.key = b->key;
    b->stranger.key = b->other;
    b->ledger.fd = -1;
}

static void book_free(struct book *b)
{
    ww_ledger_close(&b->ledger);
    ww_signkey_free(b->key);
    ww_signkey_free(b->other);
    free(b->path);
    ww_test_rmdir(b->dir);
}

static void must_be(const struct book *b, enum ww_err rc, enum ww_err want,
                    const char *words)
{
    if (rc != want || (words && !strstr(b->err.text, words))) {
        fail_msg("got %s '%s', want %s '%s'", ww_err_name(rc), b->err.text,
                 ww_err_name(want), words ? words : "");
    }
}

static enum ww_err open_book(struct book *b, bool mend)
{
    ww_ledger_close(&b->ledger);
    ww_error_clear(&b->err);
    return ww_ledger_open(b->path, &b->signer, mend, 1700000000, &b->ledger, &b->err);
}

static enum ww_err read_book(struct book *b)
{
    struct ww_ledger ledger;
    ww_error_clear(&b->err);
    enum ww_err rc = ww_ledger_read(b->path, NULL, &ledger, &b->err);
    ww_ledger_close(&ledger);
    return rc;
}

static enum ww_err add_model(struct book *b)
{
    struct ww_ledger_file file = {.path = "model.safetensors", .size_bytes = 12};
    struct ww_ledger_tensor tensor = {.name = "w", .rank = 2, .shape = {3, 4}};
    int8_t values[6] = {1, -2, 3, 127, -127, 0};
    struct ww_ledger_entry entry = {.kind = WW_LEDGER_MODEL,
                                    .name = "tiny",
                                    .model = {.files = &file,
                                              .n_files = 1,
                                              .tensors = &tensor,
                                              .n_tensors = 1,
                                              .n_coords = 2,
                                              .samples = 3,
                                              .values = values}};
    return ww_ledger_append(&b->ledger, &b->signer, 1700000001, &entry, &b->err);
}

static enum ww_err add_copy(struct book *b, const char *name)
{
    struct ww_ledger_entry entry = {
        .kind = WW_LEDGER_COPY, .name = "tiny", .copy = {.recipient = name, .model = 1}};
    memset(entry.copy.nonce, 5, sizeof(entry.copy.nonce));
    return ww_ledger_append(&b->ledger, &b->signer, 1700000002, &entry, &b->err);
}

/* Head, model, ada, bob, cid: five lines. */
static void fill(struct book *b)
{
    must_be(b, open_book(b, false), WW_OK, NULL);
    must_be(b, add_model(b), WW_OK, NULL);
    must_be(b, add_copy(b, "ada"), WW_OK, NULL);
    must_be(b, add_copy(b, "bob"), WW_OK, NULL);
    must_be(b, add_copy(b, "cid"), WW_OK, NULL);
    ww_ledger_close(&b->ledger);
}

static void entries_come_back_as_written(void **state)
{
    (void)state;
    struct book b;
    struct stat st;
    book_init(&b);
    fill(&b);
    assert_int_equal(stat(b.path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    assert_int_equal(b.ledger.n, 5);
    const struct ww_ledger_entry *model = &b.ledger.entries[1];
    assert_int_equal(model->kind, WW_LEDGER_MODEL);
    assert_string_equal(model->name, "tiny");
    assert_string_equal(model->date, "2023-11-14T22:13:21Z");
    assert_int_equal(model->model.n_coords, 2);
    assert_int_equal(model->model.values[3], 127);
    assert_int_equal(model->model.values[4], -127);
    assert_int_equal(model->model.tensors[0].shape[1], 4);
    const struct ww_ledger_entry *bob = ww_ledger_find(&b.ledger, "bob");
    assert_non_null(bob);
    assert_int_equal(bob->seq, 3);
    assert_int_equal(bob->copy.nonce[31], 5);
    assert_null(ww_ledger_find(&b.ledger, "dan"));
    must_be(&b, add_copy(&b, "dan"), WW_OK, NULL);
    must_be(&b, read_book(&b), WW_OK, NULL);
    book_free(&b);
}

static char *line_of(char *text, int number)
{
    for (int i = 0; i < number; i++) {
        text = strchr(text, '\n') + 1;
    }
    return text;
}

/* Lines in the given order, digits of a format like "0 1 3 2". */
static void rearrange(const struct book *b, const char *order)
{
    size_t len = 0;
    char *text = slurp(b->path, &len);
    FILE *f = fopen(b->path, "wb");
    assert_non_null(f);
    for (; *order; order++) {
        const char *line = line_of(text, *order - '0');
        fwrite(line, 1, (size_t)(strchr(line, '\n') + 1 - line), f);
    }
    assert_int_equal(fclose(f), 0);
    free(text);
}

static void lines_that_were_moved_or_cut_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *order;
        const char *words;
        enum ww_err code;
    } cases[] = {
        {"01324", "line 3: it holds entry 3 where entry 2 belongs: lines were moved",
         WW_E_TAMPERED},
        {"0124", "line 4: it holds entry 4 where entry 3 is missing: lines were cut out",
         WW_E_TAMPERED},
        {"012234", "moved or repeated", WW_E_TAMPERED},
        {"1234", "line 1: it is no head", WW_E_LEDGER},
        {"0123", NULL, WW_OK}, /* a cut end looks like a shorter ledger */
        {"", "holds no entry", WW_E_LEDGER},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct book b;
        book_init(&b);
        fill(&b);
        rearrange(&b, cases[i].order);
        must_be(&b, read_book(&b), cases[i].code, cases[i].words);
        book_free(&b);
    }
}

static void change_after(const struct book *b, int line, const char *mark, size_t skip)
{
    size_t len = 0;
    char *text = slurp(b->path, &len);
    char *at = strstr(line_of(text, line), mark);
    assert_non_null(at);
    at += strlen(mark) + skip;
    *at = *at == 'A' ? 'B' : 'A';
    spill(b->path, text, len);
    free(text);
}

static void changed_lines_are_refused(void **state)
{
    (void)state;
    struct book b;
    book_init(&b);
    fill(&b);
    change_after(&b, 3, "\"payload\":\"", 60);
    must_be(&b, read_book(&b), WW_E_TAMPERED,
            "line 4: it was changed after it was signed");
    must_be(&b, open_book(&b, true), WW_E_TAMPERED, "line 4");
    book_free(&b);

    book_init(&b);
    fill(&b);
    change_after(&b, 0, "\"payload\":\"", 60);
    assert_int_not_equal(read_book(&b), WW_OK);
    book_free(&b);

    book_init(&b);
    fill(&b);
    change_after(&b, 2, "\"mediaType\":", 0);
    must_be(&b, read_book(&b), WW_E_LEDGER, "line 3: ");
    book_free(&b);
}

/* In memory: all three entries, and no line that was not finished. */
static bool accepts_ledger(const struct book *b, const uint8_t *bytes, size_t len)
{
    struct ww_error err = {0};
    struct ww_ledger ledger = {.fd = -1, .path = ww_strdup(b->path)};
    OK(ww_signkey_public(b->key, &ledger.key, &err));
    const bool is_whole = ww_ledger_check(&ledger, bytes, len, &err) == WW_OK;
    const bool has_all = ledger.n == 3 && ledger.torn_bytes == 0;
    ww_ledger_close(&ledger);
    return is_whole && has_all;
}

/* Every line is signed. One bit of each byte and each 16th length: a line is a bundle,
 * and all bits of those count elsewhere. */
static void every_byte_of_a_ledger_counts(void **state)
{
    (void)state;
    struct book b;
    size_t len = 0;
    book_init(&b);
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    must_be(&b, add_model(&b), WW_OK, NULL);
    must_be(&b, add_copy(&b, "ada"), WW_OK, NULL);
    ww_ledger_close(&b.ledger);
    uint8_t *text = (uint8_t *)slurp(b.path, &len);
    assert_true(accepts_ledger(&b, text, len));
    for (size_t at = 0; at < len; at++) {
        text[at] ^= (uint8_t)(1u << at % 8);
        if (accepts_ledger(&b, text, len)) {
            fail_msg("byte %zu of %zu changed and accepted", at, len);
        }
        text[at] ^= (uint8_t)(1u << at % 8);
        assert_false(at % 16 == 15 && accepts_ledger(&b, text, at));
    }
    assert_false(accepts_ledger(&b, text, len - 1));
    free(text);
    book_free(&b);
}

/* Two ledgers that share a beginning: a line of one does not fit into the other. */
static void exchanged_lines_are_refused(void **state)
{
    (void)state;
    struct book b;
    book_init(&b);
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    must_be(&b, add_model(&b), WW_OK, NULL);
    ww_ledger_close(&b.ledger);
    shell("cp '%s' '%s.fork'", b.path, b.path);
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    must_be(&b, add_copy(&b, "ada"), WW_OK, NULL);
    must_be(&b, add_copy(&b, "bob"), WW_OK, NULL);
    ww_ledger_close(&b.ledger);
    shell("mv '%s' '%s.first' && mv '%s.fork' '%s'", b.path, b.path, b.path, b.path);
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    must_be(&b, add_copy(&b, "eve"), WW_OK, NULL);
    ww_ledger_close(&b.ledger);
    shell("tail -n 1 '%s.first' >> '%s'", b.path, b.path);
    must_be(&b, read_book(&b), WW_E_TAMPERED,
            "line 4: it does not follow the line before");
    book_free(&b);
}

static void another_signer_is_refused(void **state)
{
    (void)state;
    struct book b;
    struct ww_ledger ledger;
    book_init(&b);
    fill(&b);
    char *pub = path_in(b.dir, "b.pub");
    char *own = path_in(b.dir, "a.pub");
    ww_error_clear(&b.err);
    must_be(&b, ww_ledger_read(b.path, pub, &ledger, &b.err), WW_E_UNTRUSTED, "line 1");
    must_be(&b, ww_ledger_read(b.path, own, &ledger, &b.err), WW_OK, NULL);
    ww_ledger_close(&ledger);
    must_be(&b, ww_ledger_open(b.path, &b.stranger, false, 0, &ledger, &b.err),
            WW_E_UNTRUSTED, "signed by key");
    /* A line of another key in the right place. */
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    struct ww_ledger_entry entry = {.kind = WW_LEDGER_COPY,
                                    .name = "tiny",
                                    .copy = {.recipient = "mallory", .model = 1}};
    must_be(&b, ww_ledger_append(&b.ledger, &b.stranger, 1, &entry, &b.err), WW_OK, NULL);
    must_be(&b, read_book(&b), WW_E_UNTRUSTED, "line 6: signed by key");
    free(pub);
    free(own);
    book_free(&b);
}

static void names_are_there_once(void **state)
{
    (void)state;
    struct book b;
    book_init(&b);
    fill(&b);
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    must_be(&b, add_copy(&b, "bob"), WW_OK, NULL); /* the caller looks, not the append */
    must_be(&b, read_book(&b), WW_E_LEDGER,
            "line 6: recipient 'bob' has entry 3 already");
    book_free(&b);
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    struct book b;
    struct ww_ledger second;
    book_init(&b);
    must_be(&b, open_book(&b, false), WW_OK, NULL);
    must_be(&b, ww_ledger_open(b.path, &b.signer, false, 0, &second, &b.err), WW_E_IO,
            "is being written by another run");
    must_be(&b, read_book(&b), WW_OK, NULL); /* readers need not wait */
    book_free(&b);
}

static void a_torn_end_is_mended_on_request_only(void **state)
{
    (void)state;
    struct book b;
    size_t len = 0;
    book_init(&b);
    fill(&b);
    char *text = slurp(b.path, &len);
    const size_t whole = (size_t)(line_of(text, 4) - text);
    for (size_t cut = 1; cut < len - whole; cut += 97) {
        spill(b.path, text, len - cut);
        must_be(&b, open_book(&b, false), WW_E_LEDGER, "bytes of an unfinished line");
        struct ww_ledger ledger;
        ww_error_clear(&b.err);
        must_be(&b, ww_ledger_read(b.path, NULL, &ledger, &b.err), WW_OK, NULL);
        assert_int_equal(ledger.n, 4);
        assert_int_equal(ledger.torn_bytes, len - cut - whole);
        ww_ledger_close(&ledger);
        must_be(&b, open_book(&b, true), WW_OK, NULL);
        assert_int_equal(b.ledger.n, 4);
        must_be(&b, add_copy(&b, "dan"), WW_OK, NULL);
        must_be(&b, read_book(&b), WW_OK, NULL);
    }
    free(text);
    book_free(&b);
}

static void a_failed_write_leaves_the_ledger_as_it_was(void **state)
{
    (void)state;
    static const enum ww_fault kinds[] = {WW_FAULT_WRITE, WW_FAULT_FSYNC};
    for (size_t i = 0; i < 2; i++) {
        struct book b;
        size_t before = 0, after = 0;
        book_init(&b);
        fill(&b);
        must_be(&b, open_book(&b, false), WW_OK, NULL);
        free(slurp(b.path, &before));
        ww_fault_arm(kinds[i], 1);
        assert_int_not_equal(add_copy(&b, "dan"), WW_OK);
        ww_fault_arm(kinds[i], 0);
        free(slurp(b.path, &after));
        assert_int_equal(before, after);
        ww_error_clear(&b.err);
        must_be(&b, add_copy(&b, "dan"), WW_OK, NULL);
        must_be(&b, read_book(&b), WW_OK, NULL);
        book_free(&b);
    }
}

/* A writer is killed at whatever moment: what it left opens, if need be mended, and holds
 * every entry that it said was written. */
static void a_killed_writer_leaves_a_valid_beginning(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        struct book b;
        int said[2];
        book_init(&b);
        fill(&b);
        assert_int_equal(pipe(said), 0);
        const pid_t child = fork();
        if (child == 0) {
            struct ww_ledger ledger;
            if (ww_ledger_open(b.path, &b.signer, false, 1, &ledger, NULL)) {
                _exit(1);
            }
            for (unsigned i = 0;; i++) {
                char name[20];
                struct ww_ledger_entry entry = {.kind = WW_LEDGER_COPY,
                                                .name = "tiny",
                                                .copy = {.recipient = name, .model = 1}};
                snprintf(name, sizeof(name), "r%u", i);
                if (ww_ledger_append(&ledger, &b.signer, 1, &entry, NULL) ||
                    write(said[1], "x", 1) != 1) {
                    _exit(1);
                }
            }
        }
        assert_true(child > 0);
        close(said[1]);
        char c = 0;
        size_t heard = 0;
        while (heard < 3 + round && read(said[0], &c, 1) == 1) {
            heard++;
        }
        usleep(200 * round);
        kill(child, SIGKILL);
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        while (read(said[0], &c, 1) == 1) {
            heard++;
        }
        close(said[0]);
        must_be(&b, open_book(&b, true), WW_OK, NULL);
        assert_true(b.ledger.n >= 5 + heard);
        assert_true(b.ledger.n <= 5 + heard + 1);
        book_free(&b);
    }
}

static void entries_of_another_schema_or_with_more_members_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        enum ww_err code;
    } cases[] = {
        {"weightward.ledger/1", "weightward.ledger/2", WW_E_VERSION},
        {"\"kind\":\"copy\"", "\"kind\":\"cope\"", WW_E_LEDGER},
        {"\"scale\":", "\"skale\":", WW_E_LEDGER},
        {"\"model\":1", "\"model\":9", WW_E_LEDGER},
        {"\"recipient\":\"ada\"", "\"recipient\":\"\\n\\n\"", WW_E_LEDGER},
        {"\"nonce\":\"00", "\"nonce\":\"0x", WW_E_LEDGER},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_error err = {0};
        struct ww_ledger_entry entry = {.kind = WW_LEDGER_COPY,
                                        .name = "tiny",
                                        .seq = 2,
                                        .date = "2023-11-14T22:13:21Z",
                                        .copy = {.recipient = "ada", .model = 1}};
        struct ww_ledger_entry back;
        struct ww_buf text;
        ww_buf_init(&text, 1 << 16);
        OK(ww_ledger_entry_write(&entry, &text, &err));
        OK(ww_ledger_entry_read(text.data, text.len, &back, &err));
        ww_ledger_entry_release(&back);
        char *all = strdup(ww_buf_cstr(&text));
        char *at = strstr(all, cases[i].from);
        assert_non_null(at);
        ww_buf_clear(&text);
        OK(ww_buf_add(&text, all, (size_t)(at - all), &err));
        OK(ww_buf_add_str(&text, cases[i].to, &err));
        OK(ww_buf_add_str(&text, at + strlen(cases[i].from), &err));
        FAILS(ww_ledger_entry_read(text.data, text.len, &back, &err), cases[i].code);
        free(all);
        ww_buf_release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back_as_written),
        cmocka_unit_test(lines_that_were_moved_or_cut_are_told_apart),
        cmocka_unit_test(changed_lines_are_refused),
        cmocka_unit_test(every_byte_of_a_ledger_counts),
        cmocka_unit_test(exchanged_lines_are_refused),
        cmocka_unit_test(another_signer_is_refused),
        cmocka_unit_test(names_are_there_once),
        cmocka_unit_test(one_writer_at_a_time),
        cmocka_unit_test(a_torn_end_is_mended_on_request_only),
        cmocka_unit_test(a_failed_write_leaves_the_ledger_as_it_was),
        cmocka_unit_test(a_killed_writer_leaves_a_valid_beginning),
        cmocka_unit_test(entries_of_another_schema_or_with_more_members_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
