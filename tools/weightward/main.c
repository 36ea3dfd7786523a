/* SPDX-License-Identifier: Apache-2.0 */
/* weightward: the table of commands. */
#include "cli.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weightward/run.h"

static const struct command {
    const char *name;
    int (*run)(int argc, const char **argv);
    const char *summary;
} commands[] = {
    {"inspect", cmd_inspect, "what a model folder holds and what a lock would move"},
    {"key", cmd_key, "make, describe, bind and split keys"},
    {"lock", cmd_lock,
     "transform the weights so that default merging tools fail on them"},
    {"unlock", cmd_unlock, "give the source back, byte for byte"},
    {"attack", cmd_attack, "undo a lock without its key, by the base model or a sibling"},
    {"merge", cmd_merge, "merge models by a mergekit recipe, with a record of it"},
    {"recipients", cmd_recipients, "who may open a sealed model"},
    {"extract", cmd_extract, "write the difference of two models as a LoRA adapter"},
    {"sign", cmd_sign, "sign a folder (OpenSSF Model Signing)"},
    {"rmm", cmd_rmm,
     "packages from which each of several models comes back, byte for byte"},
    {"trace", cmd_trace, "say whose copy a model came from"},
    {"lineage", cmd_lineage, "say which sources a model was made of, in which shares"},
    {"evo", cmd_evo, "pool models behind servers; search merges by their scores"},
    {"policy", cmd_policy, "explain, test, sign and check policies: who may do what"},
    {"verify", cmd_verify, "check a signature and every file under it"},
};

static void print_help(FILE *to)
{
    fputs("usage: weightward COMMAND ...\n\n", to);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
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
    fprintf(stderr, "weightward: there is no command '%.60s'%s%s%s\n", word,
            near ? "; did you mean '" : "; try: weightward --help", near ? near : "",
            near ? "'?" : "");
    return CLI_USAGE;
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
    execlp("man", "man", page, (char *)NULL);
    fprintf(stderr,
            "weightward help: the program 'man' is not installed; try: weightward "
            "%s --help\n",
            argv[1]);
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
    cli_show_safely();
    return cli_end(run(argc, (const char **)(void *)argv));
}
