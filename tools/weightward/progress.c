/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress line: stderr only, starts after one second, at most four times a second,
 * rate over the last five seconds, nothing when stderr is no terminal or the program is
 * in the background. The library only calls back with numbers; drawing is here.
 */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define START_AFTER_S 1.0
#define REDRAW_S 0.25
#define WINDOW_S 5.0
#define SAMPLES 32

static struct {
    bool always;
    bool shown;
    double start;
    double last_draw;
    struct {
        double at;
        uint64_t done;
    } sample[SAMPLES];
    unsigned n_samples;
    char phase[32];
} line;

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

void cli_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Bytes a second over the window; 0 when nothing is known yet. */
static double rate(double now, uint64_t done)
{
    unsigned slot = line.n_samples++ % SAMPLES;
    line.sample[slot].at = now;
    line.sample[slot].done = done;
    unsigned n = line.n_samples < SAMPLES ? line.n_samples : SAMPLES;
    double oldest = now;
    uint64_t base = done;
    for (unsigned i = 0; i < n; i++) {
        if (now - line.sample[i].at <= WINDOW_S && line.sample[i].at < oldest) {
            oldest = line.sample[i].at;
            base = line.sample[i].done;
        }
    }
    return oldest < now && done > base ? (double)(done - base) / (now - oldest) : 0;
}

/* What phases count that do not count bytes. */
static const char *unit_of(const char *phase, size_t len)
{
    static const struct {
        const char *phase, *unit;
    } counted[] = {
        {"collecting", "items"}, {"evaluating", "trials"}, {"trace", "copies"},
        {"adapters", "tensors"}, {"extract", "tensors"},   {"comparing", "answers"},
        {"check", "blocks"},     {"heads", "parts"},       {"attention", "parts"},
        {"neurons", "parts"},    {"rotation", "parts"},    {"turning back", "parts"},
        {"looking", "tensors"}};
    for (size_t i = 0; i < sizeof counted / sizeof counted[0]; i++) {
        if (strlen(counted[i].phase) == len &&
            strncmp(counted[i].phase, phase, len) == 0) {
            return counted[i].unit;
        }
    }
    return NULL;
}

static void draw(const char *phase, size_t word, uint64_t done, uint64_t total,
                 double now)
{
    double speed = rate(now, done);
    const char *unit = unit_of(phase, word);
    char a[32], b[32];
    FILE *to = cli_terminal();
    fprintf(to, "\r\033[K%.*s", (int)word, phase);
    if (total && unit) {
        fprintf(to, ": %llu of %llu %s", (unsigned long long)done,
                (unsigned long long)total, unit);
    } else if (total) {
        fprintf(to, ": %s, %.0f %%", cli_bytes(done, a),
                100.0 * (double)done / (double)total);
    }
    fputs(phase + word, to); /* what else is known */
    if (speed > 0 && total >= done && !unit) {
        fprintf(to, ", %s/s", cli_bytes((uint64_t)speed, b));
    }
    if (speed > 0 && total >= done) {
        fprintf(to, ", %.0f s left", (double)(total - done) / speed);
    }
    fflush(to);
    line.shown = true;
}

static int on_progress(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)payload;
    if (interrupted) {
        return 1;
    }
    double now = now_s();
    const size_t word = strcspn(phase, ",");
    if (strlen(line.phase) != word || strncmp(line.phase, phase, word) != 0) {
        snprintf(line.phase, sizeof line.phase, "%.*s", (int)word, phase);
        line.n_samples = 0;
    }
    bool foreground = line.always || tcgetpgrp(STDERR_FILENO) == getpgrp();
    if (foreground && now - line.start >= START_AFTER_S &&
        now - line.last_draw >= REDRAW_S) {
        line.last_draw = now;
        draw(phase, word, done, total, now);
    }
    return 0;
}

static int cancel_only(void *payload, const char *phase, uint64_t done, uint64_t total)
{
    (void)payload;
    (void)phase;
    (void)done;
    (void)total;
    return interrupted != 0;
}

void cli_progress_done(void)
{
    if (line.shown) {
        fputs("\r\033[K", cli_terminal());
        line.shown = false;
    }
}

int cli_run_options(const struct cli_common *common, struct ww_run_options *run)
{
    const char *when = common->progress ? common->progress : "auto";
    bool always = strcmp(when, "always") == 0;
    bool never = strcmp(when, "never") == 0;
    if (!always && !never && strcmp(when, "auto") != 0) {
        return cli_choice(NULL, "--progress", "auto, always or never", when);
    }
    if (common->threads < 0 || common->threads > 256) {
        return cli_wrong_use(NULL,
                             "--threads takes 1 to 256, or 0 for one for each CPU, "
                             "not %d",
                             common->threads);
    }
    if (common->memory_mib < 0) {
        return cli_wrong_use(NULL, "--memory takes a number of MiB, not %d",
                             common->memory_mib);
    }
    bool show = always || (!never && !common->quiet && isatty(STDERR_FILENO));
    line.always = always;
    line.start = now_s();
    run->threads = (unsigned)common->threads;
    run->memory_bytes = (uint64_t)common->memory_mib << 20;
    run->direct = common->no_direct ? WW_DIRECT_NEVER : WW_DIRECT_AUTO;
    run->progress = show ? on_progress : cancel_only;
    return 0;
}
