/* SPDX-License-Identifier: Apache-2.0 */
#include "report/object.h"
#include "weightward/report.h"

/* What rmm unmerge takes beside the merge. */
static void write_needed(struct ww_jw *w, const struct ww_pack_entry *m)
{
    ww_jw_key(w, "needed");
    ww_jw_array(w);
    for (size_t i = 0; i < m->n_needed; i++) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", m->needed[i].name);
        ww_jw_kstr(w, "tensor_tree", m->needed[i].tensor_tree);
        ww_jw_kdouble(w, "weight", m->needed[i].weight);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_member(struct ww_jw *w, const struct ww_pack_entry *m)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", m->name);
    ww_jw_kstr(w, "kind", m->basis ? "basis" : m->adapter ? "adapter" : "model");
    if (m->basis) {
        ww_jw_kstr(w, "shared_by", m->codec);
        ww_jw_ku64(w, "directions", m->directions);
    }
    ww_jw_kstr(w, "mode", m->bounded ? "bounded" : "exact");
    ww_jw_ku64(w, "bytes", m->bytes);
    ww_jw_ku64(w, "files", m->files);
    ww_jw_ku64(w, "files_bytes", m->files_bytes);
    ww_jw_kbool(w, "sealed", m->sealed);
    if (!m->sealed) {
        ww_jw_key(w, "codec");
        ww_jw_object(w);
        for (unsigned f = 0; f < WW_PACK_FORMS; f++) {
            ww_jw_ku64(w, ww_pack_form_name((enum ww_pack_form)f), m->coded[f]);
        }
        ww_jw_close(w);
    }
    ww_jw_kdouble(w, "error", m->error);
    ww_jw_kstr(w, "commitment", m->commitment);
    ww_jw_key(w, "recipients");
    ww_jw_array(w);
    for (size_t i = 0; i < m->n_recipients; i++) {
        ww_jw_str(w, m->recipients[i]);
    }
    ww_jw_close(w);
    if (m->parent) {
        ww_jw_kstr(w, "parent", m->parent);
        ww_jw_kstr(w, "leak", m->shares ? "shared" : "parent");
    }
    if (m->n_needed > 0) {
        write_needed(w, m);
    }
    ww_jw_close(w);
}

enum ww_err ww_report_pack_json(const char *word, const struct ww_pack_report *report,
                                char **out, struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "rmm");
    ww_jw_kstr(&w, "command", word);
    ww_jw_kstr(&w, "id", report->id);
    ww_jw_ku64(&w, "version", report->version);
    ww_jw_kstr(&w, "base", report->base);
    ww_jw_ku64(&w, "base_tensors", report->base_tensors);
    ww_jw_kbool(&w, "signed", report->is_signed);
    ww_jw_kstr(&w, "manifest_sha256", report->manifest_sha256);
    ww_jw_kstr(&w, "signer", report->signer[0] ? report->signer : NULL);
    ww_jw_key(&w, "members");
    ww_jw_array(&w);
    for (size_t i = 0; i < report->n_members; i++) {
        write_member(&w, &report->members[i]);
    }
    ww_jw_close(&w);
    ww_jw_ku64(&w, "bytes", report->bytes);
    ww_jw_kdouble(
        &w, "ratio",
        report->files_bytes ? (double)report->bytes / (double)report->files_bytes : 0);
    ww_jw_key(&w, "compared");
    ww_jw_object(&w);
    ww_jw_ku64(&w, "raw", report->files_bytes);
    ww_jw_close(&w);
    ww_jw_ku64(&w, "restored", report->restored);
    ww_jw_kbool(&w, "base_unknown", report->base_unknown);
    ww_jw_ku64(&w, "foreign", report->n_foreign);
    ww_object_strings(&w, "warnings", report->warnings, report->n_warnings);
    ww_jw_ku64(&w, "bytes_read", report->run.bytes_read);
    ww_jw_ku64(&w, "bytes_written", report->run.bytes_written);
    ww_jw_kdouble(&w, "seconds", report->run.seconds);
    return ww_object_end(&w, &buf, out, err);
}
