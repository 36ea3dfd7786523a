/* SPDX-License-Identifier: Apache-2.0 */
/* Answers about what is in a package: numbers that are not known become null. */
#include <math.h>

#include "report/object.h"
#include "util/fail.h"
#include "weightward/report.h"

static void write_rates(struct ww_jw *w, const char *key,
                        const struct ww_inspect_rate *rates, size_t n)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_object(w);
        ww_jw_kdouble(w, "bits", rates[i].bits);
        ww_jw_kdouble(w, "error", rates[i].error);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

static void write_numbers(struct ww_jw *w, const char *key, const double *values,
                          size_t n)
{
    ww_jw_key(w, key);
    ww_jw_array(w);
    for (size_t i = 0; i < n; i++) {
        ww_jw_double(w, values[i]);
    }
    ww_jw_close(w);
}

static void write_member(struct ww_jw *w, const struct ww_inspect_member *m)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", m->name);
    ww_jw_kstr(w, "kind", m->adapter ? "adapter" : "model");
    ww_jw_kstr(w, "why_not", m->why);
    if (!m->why) {
        ww_jw_ku64(w, "numbers", m->numbers);
        ww_jw_kdouble(w, "length", m->length);
        if (isfinite(m->unchanged)) {
            ww_jw_kdouble(w, "unchanged", m->unchanged);
        }
        ww_jw_ku64(w, "matrices", m->matrices);
        ww_jw_ku64(w, "of_matrices", m->of_matrices);
        ww_jw_kdouble(w, "rank_50", m->rank_50);
        ww_jw_kdouble(w, "rank_90", m->rank_90);
        ww_jw_kdouble(w, "rank_99", m->rank_99);
        write_numbers(w, "rank_errors", m->rank_errors, WW_LEN(m->rank_errors));
        write_numbers(w, "spectrum", m->spectrum, m->n_spectrum);
        write_rates(w, m->adapter ? "own" : "dense", m->rates, m->n_rates);
    }
    ww_jw_close(w);
}

static void write_tensor(struct ww_jw *w, const struct ww_inspect_tensor *t, size_t n)
{
    ww_jw_object(w);
    ww_jw_kstr(w, "name", t->name);
    write_numbers(w, "lengths", t->lengths, n);
    write_numbers(w, "cosines", t->cosines, n * n);
    ww_jw_close(w);
}

enum ww_err ww_report_pack_inspect_json(const struct ww_pack_inspection *r, char **out,
                                        struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "rmm");
    ww_jw_kstr(&w, "command", "inspect");
    ww_jw_kstr(&w, "id", r->id);
    ww_jw_ku64(&w, "version", r->version);
    ww_jw_kstr(&w, "base", r->base);
    ww_jw_key(&w, "members");
    ww_jw_array(&w);
    for (size_t i = 0; i < r->n_members; i++) {
        write_member(&w, &r->members[i]);
    }
    ww_jw_close(&w);
    write_numbers(&w, "cosines", r->cosines, r->n_members * r->n_members);
    ww_jw_key(&w, "tensors");
    ww_jw_array(&w);
    for (size_t i = 0; i < r->n_tensors; i++) {
        write_tensor(&w, &r->tensors[i], r->n_members);
    }
    ww_jw_close(&w);
    write_rates(&w, "rows", r->rows, r->n_rows);
    ww_jw_kstr(&w, "no_rows", r->no_rows);
    ww_jw_ku64(&w, "sampled", r->sampled);
    return ww_object_end(&w, &buf, out, err);
}

enum ww_err ww_report_pack_rows_json(const struct ww_pack_rows_report *r, char **out,
                                     struct ww_error *err)
{
    struct ww_buf buf;
    struct ww_jw w;
    ww_object_begin(&w, &buf, "rmm");
    ww_jw_kstr(&w, "command", "rows");
    ww_jw_ku64(&w, "adapters", r->adapters);
    ww_jw_ku64(&w, "directions", r->directions);
    ww_jw_ku64(&w, "bytes", r->bytes);
    ww_jw_ku64(&w, "raw_bytes", r->raw_bytes);
    ww_jw_kdouble(&w, "error", r->error);
    return ww_object_end(&w, &buf, out, err);
}
