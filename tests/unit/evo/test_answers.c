/* SPDX-License-Identifier: Apache-2.0 */
/* Caches, what is walked over them, and what limits asking. */
#include "ww_test.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "evo/account.h"
#include "evo/answers.h"
#include "evo/collect.h"
#include "evo/meter.h"
#include "util/fault.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/ww_answers_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static void path_of(char out[128])
{
    (void)snprintf(out, 128, "%s/answers.wwa", dir);
}

static int remove_dir(void **state)
{
    char path[128];
    (void)state;
    path_of(path);
    (void)unlink(path);
    return rmdir(dir);
}

static void key_of(uint8_t n, uint8_t key[32])
{
    for (int i = 0; i < 32; i++) {
        key[i] = (uint8_t)(n * 7 + i);
    }
}

static void put(struct ww_answer_cache *c, uint8_t n, const char *value)
{
    uint8_t key[32];
    struct ww_error err = {0};
    key_of(n, key);
    assert_int_equal(
        ww_answer_cache_put(c, key, (const uint8_t *)value, strlen(value), &err), WW_OK);
}

static bool has(struct ww_answer_cache *c, uint8_t n, const char *value)
{
    uint8_t key[32];
    struct ww_buf got;
    bool found = false;
    struct ww_error err = {0};
    key_of(n, key);
    assert_int_equal(ww_answer_cache_get(c, key, &found, &got, &err), WW_OK);
    found = found && strcmp(ww_buf_cstr(&got), value) == 0;
    ww_buf_release(&got);
    return found;
}

static struct ww_answer_cache *open_cache(bool write)
{
    struct ww_answer_cache *c = NULL;
    struct ww_error err = {0};
    if (ww_answer_cache_open(dir, write, &c, &err)) {
        fail_msg("%s", err.text);
    }
    return c;
}

static void a_cache_keeps_records_and_one_writer(void **state)
{
    (void)state;
    struct ww_answer_cache *other = NULL;
    struct ww_error err = {0};
    struct ww_answer_cache *c = open_cache(true);
    for (uint8_t i = 0; i < 200; i++) {
        put(c, i, i % 2 ? "odd" : "even");
    }
    put(c, 3, "another");
    assert_int_equal(ww_answer_cache_open(dir, true, &other, &err), WW_E_EXISTS);
    ww_answer_cache_close(c);
    c = open_cache(false);
    assert_int_equal(ww_answer_cache_count(c), 200);
    assert_true(has(c, 3, "odd") && has(c, 198, "even") && !has(c, 201, "odd"));
    assert_int_equal(ww_answer_cache_damaged(c), 0);
    ww_answer_cache_close(c);
}

/* Every byte of the file, one after the other, is changed: no more than one record is
 * lost, unless it is the file's own head. */
static void a_changed_byte_costs_one_record(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    struct ww_answer_cache *c = open_cache(true);
    put(c, 1, "one");
    put(c, 2, "two");
    put(c, 3, "three");
    ww_answer_cache_close(c);
    path_of(path);
    const int fd = open(path, O_RDWR);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 12; at < st.st_size; at++) {
        uint8_t byte = 0;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        c = open_cache(false);
        const int left = has(c, 1, "one") + has(c, 2, "two") + has(c, 3, "three");
        assert_int_equal(left, at < 16 ? 3 : 2);
        ww_answer_cache_close(c);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    (void)close(fd);
}

static void a_torn_end_is_cut_off(void **state)
{
    (void)state;
    char path[128];
    struct stat st;
    path_of(path);
    struct ww_answer_cache *c = open_cache(true);
    put(c, 1, "one");
    ww_answer_cache_close(c);
    assert_int_equal(stat(path, &st), 0);
    const off_t one = st.st_size;
    c = open_cache(true);
    put(c, 2, "two");
    ww_answer_cache_close(c);
    assert_int_equal(stat(path, &st), 0);
    for (off_t size = st.st_size - 1; size > one; size--) {
        assert_int_equal(truncate(path, size), 0);
        c = open_cache(false);
        assert_true(has(c, 1, "one") && !has(c, 2, "two"));
        ww_answer_cache_close(c);
    }
    c = open_cache(true);
    put(c, 3, "three");
    ww_answer_cache_close(c);
    c = open_cache(false);
    assert_true(has(c, 1, "one") && has(c, 3, "three"));
    assert_int_equal(ww_answer_cache_damaged(c), 0);
    ww_answer_cache_close(c);
}

static void a_root_is_of_the_set(void **state)
{
    (void)state;
    uint8_t keys[6][32];
    uint8_t root[2][32];
    struct ww_error err = {0};
    struct ww_answer_cache *c = open_cache(true);
    for (uint8_t i = 0; i < 5; i++) {
        put(c, i, "value");
    }
    for (int order = 0; order < 2; order++) {
        for (uint8_t i = 0; i < 5; i++) {
            key_of(order ? (uint8_t)(4 - i) : i, keys[i]);
        }
        key_of(2, keys[5]); /* twice */
        assert_int_equal(ww_answer_cache_root(c, keys, 6, root[order], &err), WW_OK);
    }
    assert_memory_equal(root[0], root[1], 32);
    key_of(0, keys[0]);
    assert_int_equal(ww_answer_cache_root(c, keys, 1, root[1], &err), WW_OK);
    assert_memory_not_equal(root[0], root[1], 32);
    key_of(9, keys[0]);
    assert_int_equal(ww_answer_cache_root(c, keys, 1, root[1], &err), WW_E_NOTFOUND);
    ww_answer_cache_close(c);
}

static void limits_hold_calls_under_way(void **state)
{
    (void)state;
    struct ww_spending s;
    struct ww_error err = {0};
    const struct ww_member m = {.name = "a", .price_call = 1, .price_ktoken = 10};
    const struct ww_budget b = {.calls = 10, .tokens = 250, .cost = -1, .seconds = -1};
    ww_spending_init(&s, &b, NULL);
    const struct ww_meter meter = ww_spending_meter(&s);
    assert_int_equal(meter.start(&s, &m, 100, &err), WW_OK);
    assert_int_equal(meter.start(&s, &m, 100, &err), WW_OK);
    assert_int_equal(meter.start(&s, &m, 100, &err), WW_E_LIMIT);
    assert_true(s.stopped);
    meter.end(&s, &m, 100, 20);
    assert_int_equal(meter.start(&s, &m, 100, NULL), WW_OK);
    meter.end(&s, &m, 100, 0); /* refused by the server */
    meter.end(&s, &m, 100, 100);
    assert_int_equal(s.calls, 3);
    assert_int_equal(s.tokens, 120);
    assert_true(fabs(s.cost - (1 + 0.2 + 1 + 1)) < 1e-12);
    ww_spending_release(&s);
}

/* A call goes out when the disk has it: one that cannot be flushed is not sent. */
static void what_is_spent_is_flushed_before_a_call(void **state)
{
    struct ww_spending s;
    struct ww_account account;
    struct ww_spent spent;
    struct ww_error err = {0};
    const struct ww_run_options run = {0};
    const struct ww_member m = {.name = "a", .price_call = 1};
    const struct ww_budget none = {-1, -1, -1, -1};
    (void)state;
    ww_fault_arm(WW_FAULT_FSYNC, 2); /* 1: of the folder, when the file is new */
    assert_int_equal(ww_account_open(dir, &run, &account, &spent, &err), WW_OK);
    assert_int_equal(ww_fault_seen(WW_FAULT_FSYNC), 1);
    ww_spending_init(&s, &none, &spent);
    s.account = &account;
    const struct ww_meter meter = ww_spending_meter(&s);
    assert_int_equal(meter.start(&s, &m, 100, &err), WW_E_IO);
    assert_int_equal(meter.start(&s, &m, 100, &err), WW_OK);
    meter.end(&s, &m, 100, 20);
    assert_int_equal(ww_fault_seen(WW_FAULT_FSYNC), 3);
    ww_fault_arm(WW_FAULT_FSYNC, 0);
    ww_spending_release(&s);
    ww_account_close(&account);
    assert_int_equal(ww_account_open(dir, &run, &account, &spent, &err), WW_OK);
    assert_int_equal(spent.calls, 2);
    assert_int_equal(spent.tokens, 120); /* what was held stays */
    (void)unlink(account.path);
    ww_account_close(&account);
}

/* Another connection may have heard it: it is starting again then, and what is asked of
 * it is not answered by silence. */
static void a_member_that_was_heard_is_tried_to_the_end(void **state)
{
    (void)state;
    static const char pool[] =
        "members: [{name: a, url: 'http://127.0.0.1:1', model: m}]";
    struct ww_members members;
    struct ww_endpoint *e = NULL;
    struct ww_json *json = NULL;
    struct ww_error err = {0};
    atomic_bool heard = true;
    const struct ww_endpoint_options o = {.heard = &heard, .longest_wait_s = 0.001};
    assert_int_equal(
        ww_members_parse((const uint8_t *)pool, strlen(pool), "p", &members, &err),
        WW_OK);
    assert_int_equal(ww_endpoint_open(&members.member[0], &o, &e, &err), WW_OK);
    assert_int_equal(ww_endpoint_get(e, "/v1/models", &json, &err), WW_E_IO);
    assert_non_null(strstr(err.text, "no answer in 6 tries"));
    ww_endpoint_free(e);
    ww_members_release(&members);
}

/* A pool of one member that scores, answers of its cache, and back as numbers. */
static void answers_come_from_the_cache_alone(void **state)
{
    (void)state;
    static const char pool[] = "members: [{name: a, url: https://h, model: m}]";
    static const char items[] = "{\"prompt\":\"ab\",\"answer\":\"cd\"}";
    static const char body[] =
        "{\"choices\":[{\"logprobs\":{\"tokens\":[\"ab\",\"c\",\"d\"],\"token_logprobs\":"
        "[null,-0.5,-7],\"top_logprobs\":[null,{\"c\":-0.5,\"q\":-1.5},{\"q\":-0.1,\"r\":"
        "-3}"
        "],\"text_offset\":[0,2,3]}}]}";
    struct ww_members members;
    struct ww_tasks tasks;
    struct ww_answers answers;
    struct ww_scored said;
    struct ww_error err = {0};
    const struct ww_answers_view two = {.top = 2};
    uint8_t key[32];
    struct ww_member_facts facts = {.dialect = ww_dialect_named("openai-completions"),
                                    .scores_prompts = true,
                                    .top = 2};
    assert_int_equal(
        ww_members_parse((const uint8_t *)pool, strlen(pool), "p", &members, &err),
        WW_OK);
    assert_int_equal(ww_tasks_parse((const uint8_t *)items, strlen(items), &tasks, &err),
                     WW_OK);
    const struct ww_ask ask = {.score = true,
                               .prompt = tasks.item[0].prompt,
                               .answer = tasks.item[0].answer,
                               .end = "",
                               .model = "m",
                               .top = 2};
    assert_int_equal(ww_dialect_read(facts.dialect, &ask, (const uint8_t *)body,
                                     strlen(body), &said, &err),
                     WW_OK);
    struct ww_answer_cache *c = open_cache(true);
    assert_int_equal(ww_answers_load(&members, &tasks, dir, &two, &answers, &err),
                     WW_E_NOTFOUND);
    assert_int_equal(ww_scored_read(said.bytes.data, said.bytes.len, &facts.canary, NULL),
                     WW_OK);
    assert_int_equal(ww_keep_facts(c, &members.member[0], 2, &facts, NULL), WW_OK);
    assert_int_equal(ww_answers_load(&members, &tasks, dir, &two, &answers, NULL),
                     WW_E_NOTFOUND);
    assert_int_equal(ww_answer_key(&members.member[0], facts.dialect->name,
                                   facts.dialect->version, &ask, key, NULL),
                     WW_OK);
    assert_int_equal(ww_answer_cache_put(c, key, said.bytes.data, said.bytes.len, NULL),
                     WW_OK);
    assert_int_equal(ww_answers_load(&members, &tasks, dir, &two, &answers, NULL), WW_OK);
    assert_true(answers.k == 1 && answers.n == 1 && answers.item[0].n == 2);
    /* c 0, q 1, d 2, r 3 */
    assert_true(answers.tokens == 4 && answers.item[0].gold[1] == 2);
    assert_true(answers.item[0].at[1].gold == -7 && answers.item[0].at[1].top.n == 2);
    assert_true(answers.item[0].at[1].top.token[0] == 1 &&
                answers.item[0].at[1].top.token[1] == 3);
    ww_answers_release(&answers);
    ww_answer_cache_close(c);
    ww_member_facts_release(&facts);
    ww_scored_release(&said);
    ww_tasks_release(&tasks);
    ww_members_release(&members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_cache_keeps_records_and_one_writer, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_changed_byte_costs_one_record, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_torn_end_is_cut_off, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_root_is_of_the_set, make_dir, remove_dir),
        cmocka_unit_test(limits_hold_calls_under_way),
        cmocka_unit_test(what_is_spent_is_flushed_before_a_call),
        cmocka_unit_test(a_member_that_was_heard_is_tried_to_the_end),
        cmocka_unit_test_setup_teardown(answers_come_from_the_cache_alone, make_dir,
                                        remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
