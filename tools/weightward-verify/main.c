/* SPDX-License-Identifier: Apache-2.0 */
/* weightward-verify MODEL --key PUB: the verifier alone, small enough to be read. */
#include "cli.h"

#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char **args = (const char **)(void *)argv;

    cli_show_safely();
    if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
        printf("weightward-verify %s\n", ww_version());
        return cli_end(0);
    }
    /* The word may be there, so that scripts can swap the two programs. */
    if (argc >= 2 && strcmp(argv[1], "verify") == 0) {
        args++;
        argc--;
    }
    args[0] = "verify";
    const int status = cmd_verify(argc, args);
    if (status == CLI_USAGE) {
        cli_usage_json("verify", argc, args);
    }
    return cli_end(status);
}
