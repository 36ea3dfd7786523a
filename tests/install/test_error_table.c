/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Codes are promised for ever: scripts branch on the exit status and logs keep the
 * numbers. The whole table is compared with tests/vectors/errors.txt, so that any change
 * is a line in a diff. After adding a code: test_error_table print >
 * tests/vectors/errors.txt
 */
#include "ww_test.h"

#define TABLE_BYTES 16384

static const enum ww_err codes[] = {WW_OK,
#define ROW(name, number, text) name,
                                    WW_ERR_LIST(ROW)
#undef ROW
};

static void write_table(char *out)
{
    size_t used = (size_t)snprintf(out, TABLE_BYTES, "# number name class exit\n");
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        used += (size_t)snprintf(out + used, TABLE_BYTES - used, "%u %s %s %d\n",
                                 (unsigned)codes[i], ww_err_name(codes[i]),
                                 ww_err_class_name(ww_err_class_of(codes[i])),
                                 ww_err_exit_status(codes[i]));
        assert_true(used < TABLE_BYTES);
    }
}

static void table_is_as_recorded(void **state)
{
    (void)state;
    char got[TABLE_BYTES];
    char want[TABLE_BYTES];
    FILE *f = fopen(WW_VECTORS "/errors.txt", "r");
    assert_non_null(f);
    size_t n = fread(want, 1, sizeof(want) - 1, f);
    fclose(f);
    want[n] = '\0';
    write_table(got);

    /* Line by line, so that a failure shows the row and not the table. */
    const char *g = got;
    const char *w = want;
    while (*g || *w) {
        size_t g_len = strcspn(g, "\n");
        size_t w_len = strcspn(w, "\n");
        if (g_len != w_len || memcmp(g, w, g_len) != 0) {
            fail_msg("library: '%.*s', recorded: '%.*s'", (int)g_len, g, (int)w_len, w);
        }
        g += g_len + (g[g_len] == '\n');
        w += w_len + (w[w_len] == '\n');
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_as_recorded),
    };
    if (argc == 2 && strcmp(argv[1], "print") == 0) {
        char table[TABLE_BYTES];
        write_table(table);
        fputs(table, stdout);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
