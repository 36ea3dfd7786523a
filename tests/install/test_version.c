/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version is read from project() in CMakeLists.txt itself, not from what the build
 * passed on, so that a second copy of the number anywhere in between would show.
 */
#include <ctype.h>

#include "ww_test.h"
#include "weightward/report.h"

static void read_text(const char *path, char *out, size_t out_bytes)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(out, 1, out_bytes - 1, f);
    assert_true(n > 0);
    out[n] = '\0';
    fclose(f);
}

/* The word that follows mark in text. */
static void word_after(const char *text, const char *mark, char *out, size_t out_bytes)
{
    const char *at = strstr(text, mark);
    assert_non_null(at);
    at += strlen(mark);
    size_t n = 0;
    while (n + 1 < out_bytes && at[n] && !isspace((unsigned char)at[n])) {
        out[n] = at[n];
        n++;
    }
    out[n] = '\0';
}

static void version_is_the_project_version(void **state)
{
    (void)state;
    char text[4096];
    char want[32];
    read_text(WW_SOURCE_DIR "/CMakeLists.txt", text, sizeof(text));
    word_after(text, "project(weightward VERSION ", want, sizeof(want));
    assert_string_equal(ww_version(), want);
}

static void change_log_opens_with_the_version(void **state)
{
    (void)state;
    char text[4096];
    char want[32];
    read_text(WW_SOURCE_DIR "/CHANGELOG.md", text, sizeof(text));
    word_after(text, "\n## ", want, sizeof(want));
    assert_string_equal(ww_version(), want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_is_the_project_version),
        cmocka_unit_test(change_log_opens_with_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
