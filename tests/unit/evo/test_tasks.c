/* SPDX-License-Identifier: Apache-2.0 */
/* Task files and pool files: what is read, what is refused. */
#include "ww_test.h"

#include "evo/members.h"
#include "evo/tasks.h"
#include "util/buf.h"

static enum ww_err parse(const char *text, struct ww_tasks *out, struct ww_error *err)
{
    return ww_tasks_parse((const uint8_t *)text, strlen(text), out, err);
}

static void items_are_read_in_order(void **state)
{
    (void)state;
    struct ww_tasks t;
    struct ww_error err = {0};
    assert_int_equal(parse("{\"prompt\":\"a\",\"answer\":\"b\"}\n\n"
                           "{\"prompt\":\"a\",\"answer\":\"c\",\"weight\":2.5,"
                           "\"task\":\"t\",\"options\":[\"c\",\"d\"],\"id\":7}",
                           &t, &err),
                     WW_OK);
    assert_int_equal(t.n, 2);
    assert_memory_equal(t.item[1].answer.data, "c", 1);
    assert_true(t.item[0].weight == 1 && t.item[1].weight == 2.5);
    assert_string_equal(t.item[1].task, "t");
    assert_int_equal(t.item[1].n_options, 2);
    ww_tasks_release(&t);
}

static void wrong_items_are_refused_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"", "no item"},
        {"{\"prompt\":\"\",\"answer\":\"b\"}", "line 1: 'prompt'"},
        {"\n{\"prompt\":\"a\"}", "line 2: 'answer'"},
        {"{\"prompt\":\"a\",\"answer\":\"b\",\"weight\":0}", "'weight'"},
        {"{\"prompt\":\"a\",\"answer\":\"b\",\"wieght\":1}", "wieght"},
        {"{\"prompt\":\"a\",\"answer\":\"b\",\"options\":[\"x\",\"y\"]}", "not among"},
        {"{\"prompt\":\"a\",\"answer\":\"b\",\"options\":[\"b\",\"b\"]}", "twice"},
        {"{\"prompt\":\"a\",\"answer\":\"b\"}\n{\"answer\":\"b\",\"prompt\":\"a\"}",
         "items 1 and 2"},
        {"[1]", "line 1"},
        {"{\"prompt\":\"a\",\"answer\":\"b\"", "line 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_tasks t;
        struct ww_error err = {0};
        assert_int_not_equal(parse(cases[i].text, &t, &err), WW_OK);
        if (!strstr(err.text, cases[i].says)) {
            fail_msg("no '%s' in '%s'", cases[i].says, err.text);
        }
    }
}

static void shared_items_are_found(void **state)
{
    (void)state;
    struct ww_tasks a;
    struct ww_tasks b;
    struct ww_error err = {0};
    size_t at = 0;
    assert_int_equal(parse("{\"prompt\":\"ab\",\"answer\":\"c\"}\n"
                           "{\"prompt\":\"x\",\"answer\":\"y\"}",
                           &a, &err),
                     WW_OK);
    assert_int_equal(parse("{\"prompt\":\"a\",\"answer\":\"bc\"}\n"
                           "{\"prompt\":\"x\",\"answer\":\"y\"}",
                           &b, &err),
                     WW_OK);
    assert_int_equal(ww_tasks_shared(&a, &b, &at, &err), WW_OK);
    assert_int_equal(at, 1); /* "ab" + "c" is not "a" + "bc" */
    b.n = 1;
    assert_int_equal(ww_tasks_shared(&a, &b, &at, &err), WW_OK);
    assert_int_equal(at, 2);
    b.n = 2;
    ww_tasks_release(&a);
    ww_tasks_release(&b);
}

static enum ww_err pool(const char *text, struct ww_members *out, struct ww_error *err)
{
    return ww_members_parse((const uint8_t *)text, strlen(text), "pool", out, err);
}

static void a_pool_is_read(void **state)
{
    (void)state;
    struct ww_members m;
    struct ww_error err = {0};
    assert_int_equal(
        pool("members:\n- {name: a, url: https://h/v1, model: x, price_call: 0.5}\n"
             "- {name: b, url: http://127.0.0.1:9, model: y, dialect: vllm, end: </s>}\n",
             &m, &err),
        WW_OK);
    assert_int_equal(m.k, 2);
    assert_string_equal(m.member[0].dialect, "auto");
    assert_string_equal(m.member[1].end, "</s>");
    assert_true(m.member[0].price_call == 0.5);
    ww_members_release(&m);
}

static void wrong_pools_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *says;
    } cases[] = {
        {"members: []", "1 to 64"},
        {"members: [{name: a, url: https://h}]", "'model'"},
        {"members: [{name: a, url: https://u:p@h, model: x}]", "key_file"},
        {"members: [{name: a, url: https://h/?k=1, model: x}]", "key_file"},
        {"members: [{name: a, url: https://h, model: x, keyfile: f}]", "keyfile"},
        {"members: [{name: a, url: https://h, model: x, dialect: tgj}]", "tgj"},
        {"members: [{name: a, url: https://h, model: x, price_call: -1}]", "price_call"},
        {"members: [{name: a, url: https://h, model: x, allow_plain: 3}]", "allow_plain"},
        {"members: [{name: a, url: https://h, model: x, exact: 1}]", "'exact'"},
        {"members: [{name: a, url: https://h, model: x, adapters: 1}]", "'adapters'"},
        {"members: [{name: a, url: https://h, model: x, adapters: [1, 1001]}]",
         "from -1000 to 1000"},
        {"members: [{name: a, url: https://h, model: x, adapters: [.nan]}]",
         "from -1000 to 1000"},
        {"members: [{name: a, url: https://h, model: x}, {name: A, url: https://h, "
         "model: "
         "x}]",
         "two members"},
        {"member: []", "member"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct ww_members m;
        struct ww_error err = {0};
        assert_int_not_equal(pool(cases[i].text, &m, &err), WW_OK);
        if (!strstr(err.text, cases[i].says) || strstr(err.text, "u:p")) {
            fail_msg("no '%s' in '%s'", cases[i].says, err.text);
        }
    }
}

static void many(struct ww_tasks *t)
{
    struct ww_buf text;
    struct ww_error err = {0};
    char line[64];
    ww_buf_init(&text, 1 << 16);
    for (int i = 0; i < 200; i++) {
        snprintf(line, sizeof(line), "{\"prompt\":\"p%d\",\"answer\":\"a\"}\n", i);
        OK(ww_buf_add_str(&text, line, &err));
    }
    OK(parse(ww_buf_cstr(&text), t, &err));
    ww_buf_release(&text);
}

static void parts_are_apart_and_drawings_repeat(void **state)
{
    (void)state;
    static const char *const parts[] = {"search", "again", "final"};
    struct ww_error err = {0};
    size_t sum = 0;
    size_t shared = 0;
    struct ww_tasks whole[3];
    for (size_t i = 0; i < 3; i++) {
        struct ww_tasks some, same, other;
        many(&whole[i]);
        many(&some);
        many(&same);
        many(&other);
        OK(ww_tasks_draw(&whole[i], parts[i], 1, 0, &err));
        OK(ww_tasks_draw(&some, parts[i], 7, 10, &err));
        OK(ww_tasks_draw(&same, parts[i], 7, 10, &err));
        OK(ww_tasks_draw(&other, parts[i], 8, 10, &err));
        sum += whole[i].n;
        assert_int_equal(some.n, 10);
        size_t equal = 0;
        for (size_t n = 0; n < 10; n++) {
            assert_memory_equal(some.item[n].hash, same.item[n].hash, 32);
            equal += memcmp(some.item[n].hash, other.item[n].hash, 32) == 0;
        }
        assert_true(equal < 10);
        OK(ww_tasks_shared(&some, &whole[i], &shared, &err));
        assert_int_equal(shared, 0); /* of the part */
        ww_tasks_release(&some);
        ww_tasks_release(&same);
        ww_tasks_release(&other);
    }
    assert_int_equal(sum, 200);
    for (size_t i = 0; i < 3; i++) {
        OK(ww_tasks_shared(&whole[i], &whole[(i + 1) % 3], &shared, &err));
        assert_int_equal(shared, whole[i].n); /* none */
    }
    assert_int_equal(ww_tasks_draw(&whole[0], "third", 1, 0, &err), WW_E_USAGE);
    ww_error_clear(&err);
    assert_int_equal(ww_tasks_draw(&whole[0], "final", 1, 0, &err), WW_E_USAGE);
    for (size_t i = 0; i < 3; i++) {
        ww_tasks_release(&whole[i]);
    }
}

static void scales_of_a_member_are_read(void **state)
{
    (void)state;
    struct ww_members m;
    struct ww_error err = {0};
    OK(pool("members: [{name: a, url: \"http://127.0.0.1:9\", model: m, exact: true, "
            "adapters: [0.5, -1, 0]}]",
            &m, &err));
    assert_int_equal(m.member[0].n_adapters, 3);
    assert_true(m.member[0].adapters[1] == -1 && m.member[0].exact);
    ww_members_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_are_read_in_order),
        cmocka_unit_test(wrong_items_are_refused_with_their_line),
        cmocka_unit_test(shared_items_are_found),
        cmocka_unit_test(a_pool_is_read),
        cmocka_unit_test(wrong_pools_are_refused),
        cmocka_unit_test(parts_are_apart_and_drawings_repeat),
        cmocka_unit_test(scales_of_a_member_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
