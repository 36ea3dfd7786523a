/* SPDX-License-Identifier: Apache-2.0 */
/* stdout carries the answer, stderr the talk; an error gives both and the exit status. */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cli_fail(const char *verb, const struct cli_common *common,
             const struct ww_error *err)
{
    cli_progress_done();
    fprintf(stderr, "weightward %s: %s\n", verb, err->text);
    if (common->json) {
        char *json = NULL;
        struct ww_error second = {0};
        if (ww_report_error_json(verb, err, &json, &second) == WW_OK) {
            fputs(json, stdout);
        }
        ww_string_free(json);
    }
    return ww_err_exit_status(err->code);
}

int cli_fail_out(const char *verb, const struct cli_common *common, struct ww_error *err,
                 const char *out, bool resumes)
{
    char partial[PATH_MAX];
    struct stat there;
    size_t len = out ? strlen(out) : 0;
    const size_t used = strlen(err->text);

    while (len > 1 && out[len - 1] == '/') {
        len--;
    }
    snprintf(partial, sizeof partial, "%.*s.partial", (int)len, out ? out : "");
    if (err->code == WW_E_CANCELLED && len > 0 && lstat(partial, &there) == 0) {
        snprintf(err->text + used, sizeof err->text - used,
                 "; what was written is in '%.300s': %s", partial,
                 resumes ? "go on with --resume, or remove it" : "remove it");
    }
    return cli_fail(verb, common, err);
}

int cli_answer_json(const char *verb, const struct cli_common *common, enum ww_err rc,
                    char *json, const struct ww_error *err)
{
    if (rc) {
        return cli_fail(verb, common, err);
    }
    fputs(json, stdout);
    ww_string_free(json);
    return 0;
}

int cli_end(int status)
{
    const int io = ww_err_exit_status(WW_E_IO);

    if (fflush(stdout) == 0 && !ferror(stdout)) {
        return status;
    }
    if (status != io) { /* else it has been said what failed */
        fputs("weightward: cannot write the answer to standard output\n", stderr);
    }
    return status ? status : io;
}

static const char no_report[] =
    "a report is a file of its own, not standard output: give it a name, or './-'";

int cli_report_free(const char *verb, const struct cli_common *common, const char *path)
{
    struct stat there;
    struct ww_error err = {.code = WW_E_EXISTS};
    const char *slash = path ? strrchr(path, '/') : NULL;
    char folder[PATH_MAX];
    if (!path) {
        return 0;
    }
    if (strcmp(path, "-") == 0) {
        return cli_usage(verb, no_report);
    }
    if (lstat(path, &there) == 0) {
        snprintf(err.text, sizeof err.text,
                 "'%.300s' exists already; a report is a new file", path);
        return cli_fail(verb, common, &err);
    }
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1,
             slash ? path : ".");
    if (access(folder, W_OK | X_OK) == 0) {
        return 0;
    }
    err.code = WW_E_IO;
    err.sys_errno = errno;
    snprintf(err.text, sizeof err.text, "cannot write a report into folder '%.300s': %s",
             folder, strerror(errno));
    return cli_fail(verb, common, &err);
}

enum ww_err cli_write_new(const char *path, const char *text, struct ww_error *err)
{
    if (strcmp(path, "-") == 0) {
        err->code = WW_E_USAGE;
        snprintf(err->text, sizeof err->text, "%s", no_report);
        return err->code;
    }
    return ww_report_save(path, text, err);
}

void cli_say(const struct cli_common *common, const char *fmt, ...)
{
    if (common->quiet) {
        return;
    }
    cli_progress_done();
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void cli_warn(const struct cli_common *common, char *const *warnings, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cli_say(common, "warning: %s", warnings[i]);
    }
}

const char *cli_s(uint64_t n)
{
    return n == 1 ? "" : "s";
}

const char *cli_bytes(uint64_t n, char out[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof units / sizeof units[0]) {
        v /= 1024;
        u++;
    }
    snprintf(out, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return out;
}
