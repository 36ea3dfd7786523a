/* SPDX-License-Identifier: Apache-2.0 */
/* weightward rmm rows: reversible model merging as published, to compare with. */
#include "cli_rmm.h"

#include <stdio.h>

int cli_rmm_rows(const struct cli_rmm *opt, const char *const *args)
{
    struct ww_error err = {0};
    struct ww_unsealer unsealer = {0};
    struct ww_pack_rows_report report = {0};
    struct ww_pack_rows_options options = {.names = args[2] ? args + 2 : NULL,
                                           .directions = (size_t)opt->directions,
                                           .bytes = (uint64_t)opt->budget,
                                           .unsealer = &unsealer,
                                           .public_key = opt->signed_by};
    char *json = NULL;
    if ((opt->directions > 0) == (opt->budget > 0) || opt->directions < 0 ||
        opt->budget < 0) {
        return cli_usage(
            "rmm", "say --directions P, or --budget BYTES for all factors together");
    }
    int status = cli_run_options(&opt->common, &options.run);
    if (status) {
        return status;
    }
    while (args[2 + options.n_names] && args[2]) {
        options.n_names++;
    }
    cli_catch_signals();
    enum ww_err rc = cli_rmm_unsealer(opt, &unsealer, &err);
    if (rc == WW_OK) {
        rc = ww_pack_rows(args[0], args[1], &options, &report, &err);
    }
    ww_secret_free(unsealer.recipient_passphrase);
    if (rc) {
        return cli_fail("rmm", &opt->common, &err);
    }
    cli_say(&opt->common,
            "wrote %zu adapters below '%s' as %zu direction%s give%s them back: %llu "
            "of %llu bytes (%.1f %%), error %.3f",
            report.adapters, args[1], report.directions, cli_s(report.directions),
            report.directions == 1 ? "s" : "", (unsigned long long)report.bytes,
            (unsigned long long)report.raw_bytes,
            100.0 * (double)report.bytes / (double)report.raw_bytes, report.error);
    if (opt->common.json) {
        rc = ww_report_pack_rows_json(&report, &json, &err);
        return cli_answer_json("rmm", &opt->common, rc, json, &err);
    }
    return 0;
}
