/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_evaluator MODE PATH PART SEED: scores for the tests of searches. The recipe has a
 * line "x: NUMBER" or "x: [NUMBER, ...]"; the best x is 0.3, 0.6, 0.9, ... Modes that
 * misbehave do so where the first number is above 0.5, "early" in every re-test.
 */
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 64
#define ITEMS 20

static double x[MOST];
static int n;
static uint64_t seed;

static double uniform(uint64_t at)
{
    uint64_t z = seed * 1000003 + at * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static bool read_numbers(const char *path)
{
    char text[8192] = {0};
    FILE *file = fopen(path, "r");
    if (!file) {
        return false;
    }
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    const char *at = len > 0 ? strstr(text, "x: ") : NULL;
    at = at ? at + 3 : text;
    while (n < MOST && *at && *at != '\n') {
        char *end = NULL;
        double v = strtod(at, &end);
        if (end == at) {
            at++;
        } else {
            x[n++] = v;
            at = end;
        }
    }
    return n > 0;
}

static double quadratic(double shift)
{
    double sum = 0;
    for (int i = 0; i < n; i++) {
        double d = x[i] - 0.3 * (i + 1) - shift;
        sum -= d * d;
    }
    return sum;
}

static int good(void)
{
    printf("{\"score\": %.17g}\n", quadratic(0));
    return 0;
}

static int items(void)
{
    for (uint64_t i = 0; i < ITEMS; i++) {
        printf("%s%.17g", i == 0 ? "{\"scores\": [" : ", ",
               quadratic(0.2 * (uniform(i) - 0.5)));
    }
    printf("]}\n");
    return 0;
}

static int two(void)
{
    double rest = 0;
    for (int i = 1; i < n; i++) {
        rest += x[i] * x[i];
    }
    printf("{\"scores\": {\"loss\": %.17g, \"gain\": %.17g}}\n", x[0] * x[0] + rest,
           -(x[0] - 1) * (x[0] - 1) - rest);
    return 0;
}

/* The first two numbers help, up to 0.6; every other one harms. */
static int few(void)
{
    for (uint64_t i = 0; i < ITEMS; i++) {
        double sum = 0.4 * (uniform(i) - 0.5);
        for (int k = 0; k < n; k++) {
            const double d = x[k] - (k < 2 ? 0.6 : 0) - 0.2 * (uniform(100 + i) - 0.5);
            sum -= d * d;
        }
        printf("%s%.17g", i == 0 ? "{\"scores\": [" : ", ", sum);
    }
    printf("]}\n");
    return 0;
}

/* The same, and the third number does what the first one does, for all the harm. */
static int repeats(void)
{
    x[0] += n > 2 ? x[2] : 0;
    return few();
}

/* The first three numbers are each for items of one kind; the fourth does a little of it
 * for all, and harms beside them; the others do next to nothing. */
static int kinds(void)
{
    for (uint64_t i = 0; i < ITEMS; i++) {
        const double d = x[i % 3] + 0.2 * x[3] - 0.6;
        const double harm = 0.5 * x[3] * (x[0] + x[1] + x[2]);
        const double chance = 0.02 * (uniform(i) - 0.5) * (x[4] - x[5]);
        printf("%s%.17g", i == 0 ? "{\"scores\": [" : ", ", chance - d * d - harm);
    }
    printf("]}\n");
    return 0;
}

/* Every number is for items of its own, which can be done or not. */
static int tasks(void)
{
    for (int i = 0; i < ITEMS; i++) {
        const double d = x[i % n] - 0.6;
        const double score = 1 - d * d;
        printf("%s%.17g", i == 0 ? "{\"scores\": [" : ", ", score > 0 ? score : 0);
    }
    printf("]}\n");
    return 0;
}

static int noise(void)
{
    uint64_t bits = 0;
    memcpy(&bits, &x[0], sizeof(bits));
    printf("{\"score\": %.17g}\n", uniform(bits));
    return 0;
}

/* Fails the first time that it sees a path. */
static int flaky(const char *path)
{
    char mark[4096];
    snprintf(mark, sizeof(mark), "%s.seen", path);
    if (access(mark, F_OK) != 0) {
        FILE *file = fopen(mark, "w");
        return file && fclose(file) == 0 ? 9 : 8;
    }
    remove(mark);
    return good();
}

int main(int argc, char **argv)
{
    if (argc != 5 || !read_numbers(argv[2])) {
        return 64;
    }
    const char *mode = argv[1];
    const bool bad = x[0] > 0.5;
    seed = strtoull(argv[4], NULL, 10) + (unsigned char)argv[3][0];
    if (strcmp(mode, "items") == 0) {
        return items();
    }
    if (strcmp(mode, "two") == 0) {
        return two();
    }
    if (strcmp(mode, "few") == 0) {
        return few();
    }
    if (strcmp(mode, "repeats") == 0) {
        return repeats();
    }
    if (strcmp(mode, "kinds") == 0) {
        return kinds();
    }
    if (strcmp(mode, "tasks") == 0) {
        return tasks();
    }
    if (strcmp(mode, "noise") == 0) {
        return noise();
    }
    if (strcmp(mode, "flaky") == 0) {
        return flaky(argv[2]);
    }
    if (strcmp(mode, "early") == 0 && strcmp(argv[3], "search") != 0) {
        return 3;
    }
    if (strcmp(mode, "dead") == 0 || (bad && strcmp(mode, "fails") == 0)) {
        return 3;
    }
    if (bad && strcmp(mode, "garbage") == 0) {
        printf("it went well\n");
        return 0;
    }
    if (bad && strcmp(mode, "nan") == 0) {
        printf("{\"score\": null}\n");
        return 0;
    }
    if (bad && strcmp(mode, "killed") == 0) {
        raise(SIGKILL);
    }
    while (bad && strcmp(mode, "hangs") == 0) {
        pause();
    }
    return good();
}
