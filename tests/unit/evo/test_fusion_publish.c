/* SPDX-License-Identifier: Apache-2.0 */
/* A signed recipe appears with its provenance or not at all: at every failing call, and
 * wherever the process is killed. */
#include "ww_test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crypto/hash.h"
#include "crypto/signkey.h"
#include "evidence/beside.h"
#include "evo/fusion.h"
#include "util/alloc.h"
#include "util/fault.h"
#include "util/fs.h"

#define KILLS 16

static struct {
    char *folder, *key, *recipe, *evidence, *tasks;
} at;

static struct ww_error err;

static int begins(void **state)
{
    (void)state;
    at.folder = ww_test_mkdir();
    char *base = ww_path_join(at.folder, "mine");
    at.key = ww_path_join(at.folder, "mine.key");
    at.recipe = ww_path_join(at.folder, "recipe.json");
    at.evidence = ww_path_join(at.folder, "recipe.json.evidence");
    at.tasks = ww_path_join(at.folder, "tasks.jsonl");
    OK(ww_signkey_create(base, WW_CURVE_P256, NULL, &err));
    OK(ww_file_write(at.tasks, "{}\n", 3, 0644, false, &err));
    ww_free(base);
    return 0;
}

static int ends(void **state)
{
    (void)state;
    ww_test_rmdir(at.folder);
    ww_free(at.key);
    ww_free(at.recipe);
    ww_free(at.evidence);
    ww_free(at.tasks);
    return 0;
}

static enum ww_err publish(void)
{
    static struct ww_fusion_member member = {
        .name = "one", .url = "http://127.0.0.1:9", .dialect = "completions"};
    const struct ww_fusion fusion = {.rule = {.id = WW_RULE_BEST_SINGLE, .k = 1},
                                     .top = 20,
                                     .vocabulary = 100,
                                     .k = 1,
                                     .member = &member,
                                     .tool = "test"};
    const struct ww_fusion_paths paths = {at.recipe, at.tasks, NULL};
    struct ww_signkey *key = NULL;
    enum ww_err rc = ww_signkey_load(at.key, NULL, &key, &err);
    rc = rc ? rc : ww_fusion_publish(&fusion, &paths, key, &err);
    ww_signkey_free(key);
    return rc;
}

/* Is the recipe there? Then what lies beside it speaks of it. */
static bool is_whole(void)
{
    uint8_t digest[WW_SHA256_BYTES];
    uint64_t bytes = 0;
    int dir = -1;
    if (access(at.recipe, F_OK) != 0) {
        return false;
    }
    OK(ww_file_sha256(at.recipe, digest, &bytes, &err));
    OK(ww_dir_open(at.evidence, &dir, &err));
    assert_true(ww_evidence_speaks_of(dir, digest));
    close(dir);
    return true;
}

static void clear(void)
{
    int dir = -1;
    OK(ww_dir_open(at.folder, &dir, &err));
    OK(ww_remove_tree_at(dir, "recipe.json", &err));
    OK(ww_remove_tree_at(dir, "recipe.json.partial", &err));
    OK(ww_remove_tree_at(dir, "recipe.json.evidence", &err));
    close(dir);
}

static void a_failing_call_leaves_a_whole_recipe_or_nothing(void **state)
{
    (void)state;
    static const enum ww_fault kinds[] = {WW_FAULT_WRITE, WW_FAULT_FSYNC,
                                          WW_FAULT_RENAME};
    size_t failed = 0;
    for (size_t k = 0; k < 3; k++) {
        for (unsigned long n = 1;; n++) {
            ww_fault_arm(kinds[k], n);
            const enum ww_err rc = publish();
            ww_fault_arm(kinds[k], 0);
            const bool whole = is_whole();
            assert_true(whole || rc != WW_OK);
            assert_true((access(at.evidence, F_OK) == 0) == whole);
            clear();
            if (rc == WW_OK) {
                break;
            }
            failed += !whole; /* all but a folder that is not flushed behind the rename */
        }
    }
    assert_true(failed >= 6);
}

/* Of a recipe that was moved, perhaps; a run that succeeds takes its place. */
static void evidence_that_was_there_stays_when_a_run_fails(void **state)
{
    (void)state;
    static const enum ww_fault kinds[] = {WW_FAULT_WRITE, WW_FAULT_FSYNC,
                                          WW_FAULT_RENAME};
    for (size_t k = 0; k < 3; k++) {
        OK(publish());
        assert_int_equal(unlink(at.recipe), 0);
        ww_fault_arm(kinds[k], 1);
        assert_int_not_equal(publish(), WW_OK);
        ww_fault_arm(kinds[k], 0);
        assert_int_not_equal(access(at.recipe, F_OK), 0);
        assert_int_equal(access(at.evidence, F_OK), 0);
        OK(publish());
        assert_true(is_whole());
        clear();
    }
}

/* The child is killed when the evidence is there, a little later each time; more of them
 * where the machine is so busy that all were faster than their killer. */
static void a_killed_run_leaves_a_whole_recipe_or_none(void **state)
{
    (void)state;
    unsigned none = 0;
    for (unsigned i = 0; i < KILLS || (none == 0 && i < 20 * KILLS); i++) {
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            _exit(publish() == WW_OK ? 0 : 1);
        }
        int status = 0;
        while (access(at.evidence, F_OK) != 0 && waitpid(child, &status, WNOHANG) == 0) {
        }
        usleep(100 * (i % KILLS));
        kill(child, SIGKILL);
        (void)waitpid(child, &status, 0);
        if (!is_whole()) {
            none++;
            OK(publish());
            assert_true(is_whole());
        }
        FAILS(publish(), WW_E_EXISTS); /* and the evidence of what is there stays */
        assert_true(is_whole());
        clear();
    }
    assert_true(none > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_call_leaves_a_whole_recipe_or_nothing),
        cmocka_unit_test(evidence_that_was_there_stays_when_a_run_fails),
        cmocka_unit_test(a_killed_run_leaves_a_whole_recipe_or_none),
    };
    return cmocka_run_group_tests(tests, begins, ends);
}
