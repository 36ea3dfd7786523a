/* SPDX-License-Identifier: Apache-2.0 */
/* docs/architectures.md has a row for every model type that is served, and one for every
 * type that is refused, with the same reason; no type is on both lists. */
#include <stdio.h>

#include "arch/catalogue.h"
#include "arch/descriptor.h"
#include "arch/refused.h"
#include "util/buf.h"
#include "util/fs.h"
#include "ww_test.h"

#define MAX_PAGE_BYTES ((size_t)1 << 20)

static struct ww_buf page;

static int read_page(void **state)
{
    struct ww_error err = {0};

    (void)state;
    ww_buf_init(&page, MAX_PAGE_BYTES);
    OK(ww_file_read(WW_SOURCE_DIR "/docs/architectures.md", &page, &err));
    return 0;
}

static int free_page(void **state)
{
    (void)state;
    ww_buf_release(&page);
    return 0;
}

static size_t times_on_page(const char *text)
{
    size_t n = 0;

    for (const char *at = ww_buf_cstr(&page); (at = strstr(at, text)) != NULL; at++) {
        n++;
    }
    return n;
}

static struct ww_descriptor *parse(size_t i)
{
    struct ww_error err = {0};
    struct ww_descriptor *d = NULL;

    OK(ww_descriptor_parse(ww_embedded[i].bytes, ww_embedded[i].len, ww_embedded[i].id,
                           &d, &err));
    return d;
}

static void every_served_type_has_its_row(void **state)
{
    char row[160];

    (void)state;
    for (size_t i = 0; i < ww_n_embedded; i++) {
        struct ww_descriptor *d = parse(i);
        for (const struct ww_jnode *n = ww_jfirst(d->model_types); n; n = ww_jnext(n)) {
            const char *type = NULL;
            assert_true(ww_jstr(n, &type));
            (void)snprintf(row, sizeof(row), "\n| `%s` | %s |", type, d->id);
            if (times_on_page(row) != 1) {
                fail_msg("docs/architectures.md has no row '%s'", row + 1);
            }
            assert_null(ww_refused_reason(type));
        }
        ww_descriptor_free(d);
    }
}

static void every_refused_type_has_its_reason(void **state)
{
    char row[240];

    (void)state;
    for (size_t i = 0; i < ww_n_refused; i++) {
        (void)snprintf(row, sizeof(row), "\n| `%s` | %s |\n", ww_refused[i].model_type,
                       ww_refused[i].reason);
        if (times_on_page(row) != 1) {
            fail_msg("docs/architectures.md has no row '%s'", row + 1);
        }
    }
}

static void page_has_no_row_beside_these(void **state)
{
    size_t n = ww_n_refused;

    (void)state;
    for (size_t i = 0; i < ww_n_embedded; i++) {
        struct ww_descriptor *d = parse(i);
        for (const struct ww_jnode *t = ww_jfirst(d->model_types); t; t = ww_jnext(t)) {
            n++;
        }
        ww_descriptor_free(d);
    }
    assert_int_equal(times_on_page("\n| `"), n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_served_type_has_its_row),
        cmocka_unit_test(every_refused_type_has_its_reason),
        cmocka_unit_test(page_has_no_row_beside_these),
    };
    return cmocka_run_group_tests(tests, read_page, free_page);
}
