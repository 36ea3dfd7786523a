/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PEFT folder of one rank, filled up with zeros, without patterns and special scaling:
 * what extraction writes when it is asked for a portable adapter.
 */
#include "json/json.h"
#include "merge/extract_write.h"
#include "rmm/as_factors.h"
#include "util/alloc.h"
#include "util/fail.h"

enum ww_err ww_as_put_pair(struct ww_extracting *x, const char *module, size_t m,
                           size_t d, const struct ww_lowrank *factors,
                           struct ww_error *err)
{
    char *name = ww_asprintf("%s.weight", module);
    const struct ww_tensor t = {.name = name, .rank = 2, .shape = {m, d}};
    enum ww_err rc = name ? ww_extract_put_factors(x, &t, factors, err)
                          : WW_FAIL_MEMORY(err, "a factor");

    ww_free(name);
    return rc;
}

static enum ww_err put_all(struct ww_extracting *x, const struct ww_as *as,
                           const struct ww_as_pairs *pairs, struct ww_error *err)
{
    enum ww_err rc = WW_OK;

    for (uint32_t i = 0; i < pairs->n && !rc; i++) {
        const struct ww_as_pair *pair = &pairs->items[i];
        struct ww_lowrank factors = {.rank = (size_t)pair->a->shape[0]};
        rc = ww_as_pair_read(as->adapter, pair, &factors.a, &factors.b, err);
        if (!rc) {
            rc = ww_as_put_pair(x, pair->module, (size_t)pair->b->shape[0],
                                (size_t)pair->a->shape[1], &factors, err);
        }
        ww_free(factors.a);
        ww_free(factors.b);
    }
    return rc;
}

static enum ww_err write_folder(struct ww_extracting *x, const struct ww_as *as,
                                struct ww_error *err)
{
    const char *base = as->adapter->base ? as->adapter->base
                       : as->base        ? as->base->name
                                         : "";
    char *quoted = NULL;
    char *card = NULL;
    enum ww_err rc = ww_json_quote(base, &quoted, err);

    if (!rc) {
        card = ww_asprintf("---\nbase_model: %s\nbase_model_relation: adapter\n"
                           "library_name: peft\n---\n\n`%s` as a plain LoRA adapter of "
                           "one rank: scaling is in its factors.\n",
                           quoted, as->name);
        rc = card ? WW_OK : WW_FAIL_MEMORY(err, "a card");
    }
    if (!rc) {
        x->card = card;
        rc = ww_extract_write(x, base, as->out_path, NULL, err);
    }
    ww_free(quoted);
    ww_free(card);
    return rc;
}

enum ww_err ww_as_portable(const struct ww_as *as, struct ww_run_report *report,
                           struct ww_error *err)
{
    struct ww_extract_report made = {0};
    struct ww_extracting x = {.report = &made,
                              .run = as->run,
                              .portable = true,
                              .fan_in_fan_out = as->adapter->fan_in_fan_out,
                              .fd = -1};
    struct ww_as_pairs pairs;
    enum ww_err rc = ww_as_pairs_find(as, "portable", &pairs, err);

    if (rc) {
        return rc;
    }
    x.rank = pairs.rank;
    if (!ww_jstr(ww_jget(ww_json_root(as->adapter->config), "task_type"), &x.task)) {
        x.task = NULL;
    }
    rc = ww_extract_scratch(as->out_path, &x.fd, err);
    if (!rc) {
        rc = put_all(&x, as, &pairs, err);
    }
    if (!rc) {
        rc = write_folder(&x, as, err);
    }
    if (!rc) {
        *report = made.run;
    }
    ww_extracting_release(&x);
    ww_extract_report_release(&made);
    ww_as_pairs_release(&pairs);
    return rc;
}
