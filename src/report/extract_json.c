/* SPDX-License-Identifier: Apache-2.0 */
#include "report/object.h"
#include "weightward/report.h"

enum ww_err ww_report_extract_json(const struct ww_extract_report *report, char **out,
                                   struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "extract");
    ww_jw_ku64(&w, "matrices", report->matrices);
    ww_jw_ku64(&w, "whole", report->whole);
    ww_jw_ku64(&w, "left_out", report->dropped);
    ww_jw_ku64(&w, "unchanged", report->unchanged);
    ww_jw_ku64(&w, "rank", report->rank);
    ww_jw_kdouble(&w, "kept", report->kept);
    ww_jw_kdouble(&w, "worst", report->worst);
    ww_jw_kstr(&w, "worst_name", report->worst_name);
    ww_jw_ku64(&w, "bytes_written", report->run.bytes_written);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    return ww_object_end(&w, &buf, out, err);
}
