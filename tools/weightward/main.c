/* SPDX-License-Identifier: Apache-2.0 */
/* weightward: the table of commands. */
#include "cli.h"
#include "cli_help.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "weightward/run.h"

static const struct command {
    const char *name;
    int (*run)(int argc, const char **argv);
} commands[] = {
    {"inspect", cmd_inspect},
    {"key", cmd_key},
    {"lock", cmd_lock},
    {"unlock", cmd_unlock},
    {"attack", cmd_attack},
    {"merge", cmd_merge},
    {"recipients", cmd_recipients},
    {"extract", cmd_extract},
    {"sign", cmd_sign},
    {"rmm", cmd_rmm},
    {"trace", cmd_trace},
    {"lineage", cmd_lineage},
    {"evo", cmd_evo},
    {"policy", cmd_policy},
    {"verify", cmd_verify},
};

static void print_help(FILE *to)
{
    fputs("usage: weightward COMMAND ...\n\n", to);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        fprintf(to, "  %-10s %s\n", commands[i].name, cli_summary(commands[i].name));
    }
    fputs(
        "\nweightward COMMAND --help lists a command's options; weightward help COMMAND "
        "opens its page\n",
        to);
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Names that share the most leading characters, or contain each other: enough for typing
 * slips among few commands. */
static const char *nearest(const char *word)
{
    const char *best = NULL;
    size_t best_score = 1;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        size_t score = 0;
        while (word[score] && word[score] == commands[i].name[score]) {
            score++;
        }
        if (strstr(word, commands[i].name)) {
            score = strlen(commands[i].name);
        }
        if (score > best_score) {
            best_score = score;
            best = commands[i].name;
        }
    }
    return best;
}

static int unknown(const char *word)
{
    const char *near = nearest(word);
    const char *peer = cli_mergekit_program(word);

    if (peer) {
        return cli_wrong_use(NULL, "'%.60s' is a program of mergekit; %s", word, peer);
    }
    return cli_wrong_use(NULL, "there is no command '%.60s'%s%s%s", word,
                         near ? "; did you mean '" : "; try: weightward --help",
                         near ? near : "", near ? "'?" : "");
}

/* Keys are for the pager, Ctrl-C too: who waits for it must not end before it. */
static bool shows_page(const char *page)
{
    char *const args[] = {(char[]){"man"}, (char *)(uintptr_t)page, NULL};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    posix_spawnattr_t attr;
    sigset_t keys;
    pid_t pid;
    int status = 0;

    sigemptyset(&keys);
    sigaddset(&keys, SIGINT);
    sigaddset(&keys, SIGQUIT);
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGQUIT, &ignore, NULL);
    if (posix_spawnattr_init(&attr) != 0) {
        return false;
    }
    const bool shown = posix_spawnattr_setsigdefault(&attr, &keys) == 0 &&
                       posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF) == 0 &&
                       posix_spawnp(&pid, args[0], NULL, &attr, args, environ) == 0 &&
                       waitpid(pid, &status, 0) == pid && status == 0;
    posix_spawnattr_destroy(&attr);
    return shown;
}

static int help(int argc, const char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return 0;
    }
    const struct command *command = find(argv[1]);
    if (!command) {
        return unknown(argv[1]);
    }
    /* One page has both ways. */
    const char *name = command->run == cmd_unlock ? "lock" : command->name;
    char page[64];
    snprintf(page, sizeof page, "weightward-%.32s", name);
    if (shows_page(page)) {
        return 0;
    }
    fprintf(
        stderr,
        "weightward help: the page '%s' or the program 'man' is not installed; options "
        "and examples: weightward %s --help\n",
        page, argv[1]);
    return ww_err_exit_status(WW_E_NOTFOUND);
}

static int run(int argc, const char **argv)
{
    struct ww_error err = {0};
    ww_run_alone();
    if (ww_process_harden(&err)) {
        fprintf(stderr, "weightward: %s\n", err.text);
        return ww_err_exit_status(err.code);
    }
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("weightward %s\n", ww_version());
        return 0;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "help") == 0) {
        return help(argc - 1, argv + 1);
    }
    const struct command *command = find(argv[1]);
    return !command ? unknown(argv[1]) : command->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    const char **args = (const char **)(void *)argv;
    const struct command *command = argc > 1 ? find(argv[1]) : NULL;

    cli_show_safely();
    const int status = run(argc, args);
    if (status == CLI_USAGE) {
        cli_usage_json(command ? command->name : "usage", argc, args);
    }
    return cli_end(status);
}
