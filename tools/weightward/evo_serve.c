/* SPDX-License-Identifier: Apache-2.0 */
/* weightward evo serve: a pool as one model, until a signal stops it. */
#include "cli_evo.h"

#include <stdio.h>

#include "weightward/serve.h"

struct serve {
    struct cli_common common;
    char *key;
    char *listen;
    char *keys;
    char *pool;
    char *model;
    int answers;
    double canary;
};

static bool stop(void *payload)
{
    (void)payload;
    return cli_interrupted();
}

static void ready(void *payload, const char *address)
{
    const struct serve *opt = payload;
    cli_say(&opt->common, "listening at http://%s/v1", address);
}

static void say(void *payload, const char *line)
{
    const struct serve *opt = payload;
    cli_say(&opt->common, "failed: %s", line);
}

static int run_serve(const void *given, const char *verb, const char *const *args)
{
    const struct serve *opt = given;
    struct serve own = *opt;
    struct ww_serve_report report = {0};
    struct ww_error err = {0};
    const struct ww_serve_options o = {
        .recipe = args[0],
        .public_key = opt->key,
        .listen = opt->listen,
        .keys = opt->keys,
        .pool = opt->pool,
        .model = opt->model,
        .answers = (unsigned)opt->answers,
        .canary_seconds = opt->canary,
        .stop = stop,
        .ready = ready,
        .say = say,
        .payload = &own,
    };
    if (!opt->key) {
        return cli_usage(verb, "--key PUB is needed: who signed the recipe");
    }
    if (opt->answers < 0) {
        return cli_usage(verb, "--answers is not negative");
    }
    cli_catch_signals();
    enum ww_err rc = ww_serve(&o, &report, &err);
    if (rc) {
        return cli_fail(CLI_EVO, &opt->common, &err);
    }
    if (opt->common.json) {
        char *json = NULL;
        rc = ww_report_serve_json(&report, &json, &err);
        return cli_answer_json(CLI_EVO, &opt->common, rc, json, &err);
    }
    printf("%llu answers of %llu tokens to %llu requests, %llu failed\n",
           (unsigned long long)report.answers, (unsigned long long)report.tokens,
           (unsigned long long)report.requests, (unsigned long long)report.failures);
    return 0;
}

int evo_serve(int argc, const char **argv)
{
    struct serve opt = {0};
    const struct poptOption table[] = {
        {"key", 0, POPT_ARG_STRING, &opt.key, 0, "public key of the recipe's signer",
         "PUB"},
        {"listen", 0, POPT_ARG_STRING, &opt.listen, 0,
         "where (127.0.0.1:8600); other machines need --keys", "HOST:PORT"},
        {"keys", 0, POPT_ARG_STRING, &opt.keys, 0,
         "keys of clients, one a line, in a file of mode 600", "FILE"},
        {"pool", 0, POPT_ARG_STRING, &opt.pool, 0,
         "members' keys, certificates and permits; chat template", "POOL"},
        {"model", 0, POPT_ARG_STRING, &opt.model, 0, "name that clients ask for (fusion)",
         "NAME"},
        {"answers", 0, POPT_ARG_INT, &opt.answers, 0, "at once (64)", "N"},
        {"canary", 0, POPT_ARG_DOUBLE, &opt.canary, 0,
         "between two looks at the members (60); negative: none", "SECONDS"},
        {NULL, 0, POPT_ARG_INCLUDE_TABLE,
         (void *)(uintptr_t)cli_common_table(&opt.common), 0, "Common options:", NULL},
        POPT_TABLEEND,
    };
    return cli_run(argc, argv, table, "RECIPE --key PUB", 1, 1, run_serve, &opt);
}
