/* SPDX-License-Identifier: Apache-2.0 */
/* A verified chain as JSON: the answer of verify, and one object for each link. */
#include "report/object.h"
#include "weightward/report.h"

static void write_known(struct ww_jw *w, const char *key, const char *value)
{
    if (value[0]) {
        ww_jw_kstr(w, key, value);
    }
}

static void write_link(struct ww_jw *w, const struct ww_chain_link *link)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", link->name);
    ww_jw_kstr(w, "action", link->action);
    write_known(w, "method", link->method);
    write_known(w, "signer", link->signer);
    write_known(w, "evidence_sha256", link->evidence_sha256);
    write_known(w, "root_sha256", link->root_sha256);
    write_known(w, "tensor_root", link->tensor_root);
    write_known(w, "license", link->license);
    ww_jw_ku64(w, "depth", link->depth);
    ww_jw_key(w, "sources");
    ww_jw_array(w);
    for (size_t i = 0; i < link->n_sources; i++) {
        ww_jw_u64(w, link->sources[i]);
    }
    ww_jw_close(w);
    ww_jw_close(w);
}

enum ww_err ww_report_chain_json(const struct ww_chain_report *report, char **out,
                                 struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "verify");
    ww_object_verify(&w, &report->model);
    ww_jw_kbool(&w, "bill_of_materials", report->has_bom);
    ww_object_strings(&w, "chain_not_checked", report->not_checked,
                      report->n_not_checked);
    ww_jw_key(&w, "chain");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_links; i++) {
        write_link(&w, &report->links[i]);
    }
    ww_jw_close(&w);
    return ww_object_end(&w, &buf, out, err);
}
