/* SPDX-License-Identifier: Apache-2.0 */
/* What a server of a pool did until it was stopped. */
#include "report/object.h"
#include "weightward/report.h"

enum ww_err ww_report_serve_json(const struct ww_serve_report *report, char **out,
                                 struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;

    ww_object_begin(&w, &buf, "evo");
    ww_jw_kstr(&w, "word", "serve");
    ww_jw_ku64(&w, "requests", report->requests);
    ww_jw_ku64(&w, "answers", report->answers);
    ww_jw_ku64(&w, "failures", report->failures);
    ww_jw_ku64(&w, "tokens", report->tokens);
    return ww_object_end(&w, &buf, out, err);
}
