/* SPDX-License-Identifier: Apache-2.0 */
/* weightward rmm inspect: what the members of a package are like. */
#include "cli_rmm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void show_rates(const char *what, const struct ww_inspect_rate *rates, size_t n)
{
    printf("  %s, bits and error:", what);
    for (size_t i = 0; i < n; i++) {
        printf("%s %.2f %.3f", i ? "," : "", rates[i].bits, rates[i].error);
    }
    printf("\n");
}

static void show_member(const struct ww_inspect_member *m)
{
    printf("%-24s %s", m->name, m->adapter ? "adapter" : "model");
    if (m->why) {
        printf(": not looked into: %s\n", m->why);
        return;
    }
    printf(", %llu numbers, length of the change %.4g", (unsigned long long)m->numbers,
           m->length);
    if (!isnan(m->unchanged)) {
        printf(", %.1f %% unchanged", 100 * m->unchanged);
    }
    printf("\n");
    if (m->matrices > 0) {
        printf("  half, 90 %% and 99 %% of a matrix lie in %.1f, %.1f and %.1f singular "
               "values\n",
               m->rank_50, m->rank_90, m->rank_99);
        if (m->matrices < m->of_matrices) {
            printf("  standard errors of these: %.1f, %.1f and %.1f, from %llu of %llu "
                   "matrices\n",
                   m->rank_errors[0], m->rank_errors[1], m->rank_errors[2],
                   (unsigned long long)m->matrices, (unsigned long long)m->of_matrices);
        }
    }
    if (m->n_rates > 0) {
        show_rates(m->adapter ? "codec own" : "codec dense", m->rates, m->n_rates);
    }
}

static void show(const struct ww_pack_inspection *r)
{
    printf("package %s, version %llu; base %s\n", r->id, (unsigned long long)r->version,
           r->base ? r->base : "none");
    for (size_t i = 0; i < r->n_members; i++) {
        show_member(&r->members[i]);
    }
    for (size_t i = 0; i < r->n_members; i++) {
        for (size_t j = 0; j < i; j++) {
            const double cosine = r->cosines[i * r->n_members + j];
            if (!isnan(cosine)) {
                printf("cosine of %s and %s %.3f\n", r->members[j].name,
                       r->members[i].name, cosine);
            }
        }
    }
    if (r->n_rows > 0) {
        printf("all adapters by rows (arXiv 2510.14163)\n");
        show_rates("1, 2, ... directions", r->rows, r->n_rows);
    }
}

static enum ww_err write_page(const char *path, const struct ww_pack_inspection *r,
                              struct ww_error *err)
{
    char *html = NULL;
    enum ww_err rc = ww_report_pack_inspect_html(r, &html, err);
    if (rc == WW_OK) {
        rc = cli_write_new(path, html, err);
    }
    ww_string_free(html);
    return rc;
}

static int answer(const struct cli_rmm *opt, const struct ww_pack_inspection *r)
{
    struct ww_error err = {0};
    char *json = NULL;
    enum ww_err rc = opt->report ? write_page(opt->report, r, &err) : WW_OK;
    if (rc) {
        return cli_fail("rmm", &opt->common, &err);
    }
    if (opt->common.json) {
        rc = ww_report_pack_inspect_json(r, &json, &err);
        return cli_answer_json("rmm", &opt->common, rc, json, &err);
    }
    show(r);
    return 0;
}

int cli_rmm_inspect(const struct cli_rmm *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_unsealer unsealer = {0};
    struct ww_pack_inspection found = {0};
    struct ww_pack_inspect_options options = {.base = opt->base,
                                              .names = args[1] ? args + 1 : NULL,
                                              .unsealer = &unsealer,
                                              .public_key = opt->signed_by};
    int status = cli_report_free("rmm", &opt->common, opt->report);
    if (status == 0) {
        status = cli_run_options(&opt->common, &options.run);
    }
    if (status) {
        return status;
    }
    while (args[1 + options.n_names]) {
        options.n_names++;
    }
    cli_catch_signals();
    enum ww_err rc = cli_rmm_unsealer(opt, &unsealer, &err);
    if (rc == WW_OK) {
        rc = ww_pack_inspect(args[0], &options, &found, &err);
    }
    status = rc ? cli_fail("rmm", &opt->common, &err) : answer(opt, &found);
    ww_secret_free(unsealer.recipient_passphrase);
    ww_pack_inspection_release(&found);
    return status;
}
