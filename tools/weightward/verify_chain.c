/* SPDX-License-Identifier: Apache-2.0 */
/* weightward verify --chain: from the model to the models it was made of. */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli_chain.h"

static void tell_link(const struct ww_chain_report *report,
                      const struct ww_chain_link *link)
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
    printf("checked: %" PRIu64
           " file%s%s; %zu ancestor%s, each statement by its signature and "
           "against the digests of what was used%s\n",
           m->files_checked, cli_s(m->files_checked),
           m->locked ? "; the model is locked" : "", report->n_links - 1,
           cli_s(report->n_links - 1),
           report->has_bom ? "; the signed bill of materials, against this chain" : "");
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

/* Returns 0, or the status to exit with. */
static int write_text(const struct cli_chain *opt, const char *verb, const char *path,
                      char *text)
{
    struct ww_error err = {0};
    const enum ww_err rc = cli_write_new(path, text, &err);

    ww_string_free(text);
    return rc ? cli_fail(verb, opt->common, &err) : 0;
}

/* The picture is drawn of a chain that broke as well: that is when it is wanted. */
static int write_page(const struct cli_chain *opt, const char *verb,
                      const struct ww_chain_report *report,
                      const struct ww_error *failure)
{
    struct ww_error err = {0};
    char *text = NULL;

    if (!opt->page) {
        return 0;
    }
    if (ww_report_chain_html(report, failure, &text, &err)) {
        return cli_fail(verb, opt->common, &err);
    }
    return write_text(opt, verb, opt->page, text);
}

static int write_bom(const struct cli_chain *opt, const char *verb,
                     const struct ww_chain_report *report)
{
    struct ww_error err = {0};
    char *text = NULL;

    if (!opt->bom) {
        return 0;
    }
    if (ww_chain_bom(report, &text, &err)) {
        return cli_fail(verb, opt->common, &err);
    }
    return write_text(opt, verb, opt->bom, text);
}

/* What a chain that does not hold leaves: the page, then the refusal. */
static int refuse(const struct cli_chain *opt, const char *verb, const char *model,
                  const struct ww_chain_report *report, const struct ww_error *err)
{
    struct cli_chain quiet = *opt;
    struct cli_common talk = *opt->common;
    int status = 0;

    talk.json = 0; /* one object alone, and it is the refusal's */
    quiet.common = &talk;
    if (ww_err_class_of(err->code) == WW_CLASS_REFUSED ||
        ww_err_class_of(err->code) == WW_CLASS_SYSTEM) {
        (void)write_page(&quiet, verb, report, err);
    }
    status = cli_fail(verb, opt->common, err);
    if (!opt->common->json && ww_err_class_of(err->code) == WW_CLASS_REFUSED) {
        printf("REFUSED: '%s'\n", model);
    }
    return status;
}

int cli_verify_chain(const struct cli_chain *opt, const char *verb, const char *model)
{
    struct ww_chain_report report = {0};
    struct ww_error err = {0};
    char *json = NULL;
    int status = cli_report_free(verb, opt->common, opt->page);

    if (!status) {
        status = cli_report_free(verb, opt->common, opt->bom);
    }
    if (status) {
        return status;
    }
    enum ww_err rc =
        opt->trust.n_roots > 0
            ? ww_verify_chain_under(model, &opt->trust, &opt->options, &report, &err)
            : ww_verify_chain(model, &opt->options, &report, &err);

    cli_progress_done();
    if (rc) {
        status = refuse(opt, verb, model, &report, &err);
        goto out;
    }
    status = write_page(opt, verb, &report, NULL);
    if (!status) {
        status = write_bom(opt, verb, &report);
    }
    if (status) {
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
