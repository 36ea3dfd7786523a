/* SPDX-License-Identifier: Apache-2.0 */
/* policy_probe TABLE POLICY...: "permit" or "deny REASON" per case, one a line; with
 * --time how long one evaluation takes. Drives the comparison with the Python model. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "policy/table.h"
#include "util/fs.h"

#define MAX_POLICIES 8

static enum ww_err read_policy(const char *path, struct ww_policy *out,
                               struct ww_error *err)
{
    struct ww_buf text;
    ww_buf_init(&text, WW_POLICY_MAX_BYTES);
    enum ww_err rc = ww_file_read(path, &text, err);
    if (!rc) {
        rc = ww_policy_read(text.data, text.len, out, err);
    }
    ww_buf_release(&text);
    return rc;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static enum ww_err run_all(const struct ww_table *table,
                           const struct ww_policy *const *list, size_t n,
                           struct ww_error *err)
{
    const double begin = seconds();
    enum ww_err rc = WW_OK;

    for (size_t i = 0; i < ww_table_count(table) && !rc; i++) {
        struct ww_table_result result;
        rc = ww_table_run(table, i, list, n, &result, err);
        if (!rc) {
            printf("%s %s\n", result.decision.permit ? "permit" : "deny",
                   ww_reason_name(result.decision.reason));
        }
    }
    fprintf(stderr, "%.3f ms a case\n",
            1000 * (seconds() - begin) / (double)ww_table_count(table));
    return rc;
}

int main(int argc, char **argv)
{
    static struct ww_policy policies[MAX_POLICIES];
    const struct ww_policy *list[MAX_POLICIES];
    struct ww_table *table = NULL;
    struct ww_error err = {0};
    struct ww_buf text;
    size_t n = 0;
    enum ww_err rc = WW_OK;

    if (argc < 3 || argc > 2 + MAX_POLICIES) {
        return 2;
    }
    ww_buf_init(&text, (size_t)64 << 20);
    for (int i = 2; i < argc && !rc; i++) {
        rc = read_policy(argv[i], &policies[n], &err);
        list[n] = &policies[n];
        n++;
    }
    if (!rc) {
        rc = ww_file_read(argv[1], &text, &err);
    }
    if (!rc) {
        rc = ww_table_read(text.data, text.len, &table, &err);
    }
    if (!rc) {
        rc = run_all(table, list, n, &err);
    }
    if (rc) {
        fprintf(stderr, "%s\n", err.text);
    }
    ww_table_free(table);
    for (size_t i = 0; i < n; i++) {
        ww_policy_release(&policies[i]);
    }
    ww_buf_release(&text);
    return ww_err_exit_status(rc);
}
