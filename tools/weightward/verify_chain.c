/* SPDX-License-Identifier: Apache-2.0 */
/* weightward verify --chain: from the model to the models it was made of. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli_chain.h"

static void tell_link(const struct ww_chain_report *report, const struct ww_chain_link *link)
{
    printf("  %*s%s '%s'", (int)(2 * (link->depth < 20 ? link->depth : 20)), "",
           link->action, link->name);
    if (link->method[0]) {
        printf(" (%s)", link->method);
    }
    for (size_t i = 0; i < link->n_sources; i++) {
        printf("%s'%s'", i ? ", " : " of ", report->links[link->sources[i]].name);
    }
    printf("%s%s\n", link->signer[0] ? ", by " : "", link->signer);
}

static void tell(const struct ww_chain_report *report, const char *model)
{
    const struct ww_verify_report *m = &report->model;
    const size_t n = m->n_not_checked + report->n_not_checked;

    printf("OK: '%s' is signed by %s\n", model, m->signer);
    printf("checked: %" PRIu64 " files%s; %zu ancestors, each statement by its signature and "
           "against the digests of what was used\n",
           m->files_checked, m->locked ? "; the model is locked" : "", report->n_links - 1);
    printf("not checked: ");
    for (size_t i = 0; i < m->n_not_checked; i++) {
        printf("%s%s", i ? "; " : "", m->not_checked[i]);
    }
    for (size_t i = 0; i < report->n_not_checked; i++) {
        printf("%s%s", i || m->n_not_checked ? "; " : "", report->not_checked[i]);
    }
    printf("%s\n", n ? "" : "nothing was left out");
    for (size_t i = 0; i < report->n_links; i++) {
        tell_link(report, &report->links[i]);
    }
}

int cli_verify_chain(const struct cli_chain *opt, const char *verb, const char *model)
{
    struct ww_chain_report report = {0};
    struct ww_error err = {0};
    char *json = NULL;
    int status = 0;
    enum ww_err rc = ww_verify_chain(model, &opt->options, &report, &err);

    cli_progress_done();
    if (rc) {
        status = cli_fail(verb, opt->common, &err);
        if (!opt->common->json && ww_err_class_of(rc) == WW_CLASS_REFUSED) {
            printf("REFUSED: '%s'\n", model);
        }
        goto out;
    }
    if (!opt->common->json) {
        tell(&report, model);
        goto out;
    }
    rc = ww_report_chain_json(&report, &json, &err);
    status = cli_answer_json(verb, opt->common, rc, json, &err);
out:
    ww_chain_report_release(&report);
    return status;
}
